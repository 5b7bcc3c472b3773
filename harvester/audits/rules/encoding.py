"""Rules on encoding: offset tables, transfer syntaxes, and dual-personality DICOM-TIFF files."""

from typing import ClassVar, Final, Literal

from pydantic import Field, field_validator

from harvester.audits.rules.base import AuditContext, QueryRule, Texts, joined
from harvester.audits.rules.instances import CasesRule, not_in
from harvester.audits.vocabulary import Severity, uid_of, uids
from harvester.catalog.database import literal

# PS3.5 A.4.5, A.4.6, A.4.8: a video is one stream; an offset table cannot list its frames.
_VIDEO: Final = "'^1\\.2\\.840\\.10008\\.1\\.2\\.4\\.10[0-8](\\.1)?$'"

Table = Literal["extended", "basic", "tiff"]
_TABLES: Final[dict[Table, str]] = {
    "extended": "extended_offset_table",
    "basic": "basic_offset_table",
    "tiff": "preamble = 'tiff'",
}


class OffsetTable(CasesRule):
    """A compressed multi-frame object has an offset table, so that one frame can be read without the others.

    `accept` lists what is sufficient: `extended`, `basic` (PS3.5 A.4), and `tiff`, the TIFF directory of a
    dual-personality file. The default is `extended` and `basic`. Videos are not checked.
    """

    kind: ClassVar[str] = "offset_table"
    columns: ClassVar[tuple[str, ...]] = (
        "SOPInstanceUID",
        "NumberOfFrames",
        "TransferSyntaxUID",
        "preamble",
        "instance_size",
    )

    severity: Severity = "warning"
    accept: tuple[Table, ...] = Field(default=("extended", "basic"), strict=False, min_length=1)

    def rule_condition(self) -> str:
        """Encapsulated pixel data of more than one frame."""
        return (
            "encapsulated AND NumberOfFrames > 1 "
            f"AND NOT COALESCE(regexp_matches(TransferSyntaxUID, {_VIDEO}), false)"
        )

    def cases(self) -> list[tuple[str, str]]:
        """No accepted table; whether there is a TIFF directory."""
        accepted = " OR ".join(f"COALESCE({_TABLES[one]}, false)" for one in self.accept)
        text = "'no offset table' || CASE preamble WHEN 'tiff' THEN ', but a TIFF directory' ELSE '' END"
        return [(f"NOT ({accepted})", text)]


class TransferSyntax(CasesRule):
    """Every object has an allowed transfer syntax.

    `allowed` lists UIDs or their keywords (`JPEGBaseline8Bit`, `RLELossless`). The default is all that
    PS3.6 lists as not retired.
    """

    kind: ClassVar[str] = "transfer_syntax"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "TransferSyntaxUID")

    severity: Severity = "warning"
    allowed: Texts = ()

    @field_validator("allowed")
    @classmethod
    def _check_allowed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(uid_of(one, "Transfer Syntax") for one in value)

    def cases(self) -> list[tuple[str, str]]:
        """The transfer syntax that is not allowed."""
        allowed = self.allowed or tuple(uids("Transfer Syntax", retired=False).values())
        names = ", ".join(f"{literal(uid)}: {literal(name)}" for name, uid in uids("Transfer Syntax").items())
        named = f"MAP {{{names}}}[TransferSyntaxUID]"
        return [
            ("TransferSyntaxUID IS NULL", "'missing'"),
            (
                not_in("TransferSyntaxUID", map(literal, allowed)),
                f"left(TransferSyntaxUID, 64) || COALESCE(' (' || {named} || ')', '')",
            ),
        ]


# Compression codes of TIFF 6.0 and of files as in PS3.10 7.1, with the transfer syntaxes they stand for.
_COMPRESSIONS: Final = {
    1: ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"),
    7: (
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.57",
        "1.2.840.10008.1.2.4.70",
    ),
    32773: ("1.2.840.10008.1.2.5",),
    **dict.fromkeys((33003, 33004, 33005, 34712), tuple(f"1.2.840.10008.1.2.4.9{n}" for n in range(4))),
}
_COLOURS: Final = {
    0: ("MONOCHROME1",),
    1: ("MONOCHROME2",),
    2: ("RGB", "YBR_ICT", "YBR_RCT"),
    3: ("PALETTE COLOR",),
    6: ("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"),
}


class DualPersonality(QueryRule):
    """A dual-personality file describes its pixels alike in DICOM and in TIFF (PS3.10 7.1).

    Width, height, tile size, bits, samples per pixel, compression and colour of a TIFF directory are
    compared with the DICOM header; one directory must agree. The directories are not in the dataset:
    they are read from the objects, with two small requests each, of at most `sample` objects (0: of all).
    """

    kind: ClassVar[str] = "dual_personality"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "TransferSyntaxUID", "instance_size")

    severity: Severity = "warning"
    sample: int = Field(default=1000, ge=0)

    def skip_reason(self, context: AuditContext) -> str | None:
        """Skipped if the directories could not be read."""
        return context.unread_directories

    def rule_condition(self) -> str:
        """Objects whose directories were read."""
        return "preamble = 'tiff' AND instance_url IN (SELECT instance_url FROM tiff_directories)"

    def checked(self) -> str:
        """The objects in its scope."""
        return f"SELECT count(*) FROM instances WHERE {self.scope()}"

    def query(self) -> str:
        """The objects without a directory that agrees."""
        width, height = (
            "COALESCE(i.TotalPixelMatrixColumns, i.Columns)",
            "COALESCE(i.TotalPixelMatrixRows, i.Rows)",
        )
        tile_width, tile_length = "COALESCE(t.tile_width, t.width)", "COALESCE(t.tile_length, i.Rows)"
        cases = [
            ("t.error IS NOT NULL", "t.error"),
            *_unequal("width", "t.width", width),
            *_unequal("height", "t.length", height),
            *_unequal("tile width", tile_width, "i.Columns"),
            *_unequal("tile height", tile_length, "i.Rows"),
            *_unequal("bits per sample", "t.bits", "i.BitsAllocated"),
            *_unequal("samples per pixel", "t.samples", "i.SamplesPerPixel"),
            *_mismatched("compression", "t.compression", "i.TransferSyntaxUID", _COMPRESSIONS),
            *_mismatched("colour", "t.photometric", "i.PhotometricInterpretation", _COLOURS),
        ]
        names = ", ".join(f"i.{name}" for name in self.columns)
        fields = ", ".join(f"{literal(name)}: {name}" for name in self.columns)
        return f"""
            SELECT instance_url AS subject, problem, SeriesInstanceUID, collection_id, Modality, instance_url,
                   1 AS instances, CAST(to_json({{{fields}}}) AS VARCHAR) AS shown
            FROM (SELECT {names}, i.SeriesInstanceUID, i.collection_id, i.Modality, i.instance_url,
                         {joined(cases)} AS problem
                  FROM (SELECT * FROM instances WHERE {self.scope()}) AS i
                  JOIN tiff_directories AS t ON i.instance_url = t.instance_url)
            QUALIFY row_number() OVER (PARTITION BY instance_url
                                       ORDER BY problem IS NOT NULL, len(string_split(problem, '; ')),
                                                problem) = 1
                AND problem IS NOT NULL"""


def _unequal(what: str, tiff: str, dicom: str) -> list[tuple[str, str]]:
    return [(f"{tiff} <> {dicom}", f"'{what}: TIFF ' || {tiff} || ', DICOM ' || {dicom}")]


def _mismatched(what: str, tiff: str, dicom: str, codes: dict[int, tuple[str, ...]]) -> list[tuple[str, str]]:
    cases = " ".join(
        f"WHEN {code} THEN {dicom} NOT IN ({', '.join(map(literal, texts))})" for code, texts in codes.items()
    )
    return [
        (
            f"CASE {tiff} {cases} ELSE {tiff} IS NOT NULL END",
            f"'{what}: TIFF ' || {tiff} || ', DICOM ' || {dicom}",
        )
    ]
