"""Rules on how objects are encoded: frames can be found, readers know the syntax, two faces agree."""

from typing import ClassVar, Final, Literal

from pydantic import Field, field_validator

from harvester.audits.rules.base import AuditContext, InstanceRule, Severity, Texts, joined
from harvester.audits.vocabulary import uid_of, uids
from harvester.catalog.database import literal

# PS3.5 A.4.5, A.4.6, A.4.8: a video is one stream, whose frames no table can name.
_VIDEO: Final = "'^1\\.2\\.840\\.10008\\.1\\.2\\.4\\.10[0-8](\\.1)?$'"

Table = Literal["extended", "basic", "tiff"]
_TABLES: Final[dict[Table, str]] = {
    "extended": "extended_offset_table",
    "basic": "basic_offset_table",
    "tiff": "preamble = 'tiff'",
}


class OffsetTable(InstanceRule):
    """A compressed object of many frames says where each lies, so that one can be read without the rest.

    `accept` lists what will do: `extended`, `basic` (PS3.5 A.4), and `tiff`, the directory of a file that
    is a TIFF file as well. Without it, DICOM's own two. Videos are not looked at.
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

    def applies(self) -> str:
        """It is about encapsulated pixel data of more than one frame."""
        return (
            "encapsulated AND NumberOfFrames > 1 "
            f"AND NOT COALESCE(regexp_matches(TransferSyntaxUID, {_VIDEO}), false)"
        )

    def problem(self) -> str:
        """What there is instead."""
        accepted = " OR ".join(f"COALESCE({_TABLES[one]}, false)" for one in self.accept)
        text = "'no offset table' || CASE preamble WHEN 'tiff' THEN ', but a TIFF directory' ELSE '' END"
        return f"CASE WHEN NOT ({accepted}) THEN {text} END"


class TransferSyntax(InstanceRule):
    """Objects have a transfer syntax that is allowed.

    `allowed` lists UIDs or their keywords (`JPEGBaseline8Bit`, `RLELossless`). Without it all that PS3.6
    has and has not retired.
    """

    kind: ClassVar[str] = "transfer_syntax"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "TransferSyntaxUID")

    severity: Severity = "warning"
    allowed: Texts = ()

    @field_validator("allowed")
    @classmethod
    def _check_allowed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(uid_of(one, "Transfer Syntax") for one in value)

    def problem(self) -> str:
        """Which other one."""
        allowed = self.allowed or tuple(uids("Transfer Syntax", retired=False).values())
        listed = ", ".join(map(literal, allowed))
        names = ", ".join(f"{literal(uid)}: {literal(name)}" for name, uid in uids("Transfer Syntax").items())
        named = f"MAP {{{names}}}[TransferSyntaxUID]"
        return joined(
            [
                ("TransferSyntaxUID IS NULL", "'none is named'"),
                (
                    f"TransferSyntaxUID NOT IN ({listed})",
                    f"left(TransferSyntaxUID, 64) || COALESCE(' (' || {named} || ')', '')",
                ),
            ]
        )


# TIFF 6.0's codes, and those that PS3.10 7.1's files use besides, by the transfer syntaxes they stand for.
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


class DualPersonality(InstanceRule):
    """A file that is DICOM and TIFF at once says the same of its pixels in both (PS3.10 7.1).

    Width, height and tile size, bits and samples a pixel, compression and colour of a TIFF directory are
    held against the DICOM header; one directory has to agree. The directories are not in the dataset: they
    are read from the objects, two small requests each, of at most `sample` of them (0: of all).
    """

    kind: ClassVar[str] = "dual_personality"
    columns: ClassVar[tuple[str, ...]] = ("SOPInstanceUID", "TransferSyntaxUID", "instance_size")

    severity: Severity = "warning"
    sample: int = Field(default=1000, ge=0)

    def unmet(self, surroundings: AuditContext) -> str | None:
        """Without the directories there is nothing to compare."""
        return None if surroundings.directories else "the objects cannot be reached from here"

    def applies(self) -> str:
        """It is about those whose directories were read."""
        return "preamble = 'tiff' AND instance_url IN (SELECT instance_url FROM tiff_directories)"

    def problem(self) -> str:
        """In what the directory that agrees best differs."""
        return "NULL"

    def query(self) -> str:
        """The objects of which no directory agrees."""
        width, height = (
            "COALESCE(i.TotalPixelMatrixColumns, i.Columns)",
            "COALESCE(i.TotalPixelMatrixRows, i.Rows)",
        )
        tile_width, tile_length = "COALESCE(t.tile_width, t.width)", "COALESCE(t.tile_length, i.Rows)"
        cases = [
            ("t.refusal IS NOT NULL", "t.refusal"),
            *_differing("width", "t.width", width),
            *_differing("height", "t.length", height),
            *_differing("tile width", tile_width, "i.Columns"),
            *_differing("tile height", tile_length, "i.Rows"),
            *_differing("bits a sample", "t.bits", "i.BitsAllocated"),
            *_differing("samples a pixel", "t.samples", "i.SamplesPerPixel"),
            *_unlike("compression", "t.compression", "i.TransferSyntaxUID", _COMPRESSIONS),
            *_unlike("colour", "t.photometric", "i.PhotometricInterpretation", _COLOURS),
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


def _differing(what: str, tiff: str, dicom: str) -> list[tuple[str, str]]:
    return [(f"{tiff} <> {dicom}", f"'{what}: TIFF ' || {tiff} || ', DICOM ' || {dicom}")]


def _unlike(what: str, tiff: str, dicom: str, meant: dict[int, tuple[str, ...]]) -> list[tuple[str, str]]:
    cases = " ".join(
        f"WHEN {code} THEN {dicom} NOT IN ({', '.join(map(literal, texts))})" for code, texts in meant.items()
    )
    return [
        (
            f"CASE {tiff} {cases} ELSE {tiff} IS NOT NULL END",
            f"'{what}: TIFF ' || {tiff} || ', DICOM ' || {dicom}",
        )
    ]
