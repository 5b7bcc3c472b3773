"""Text by its character set: what pydicom makes of it, whatever a file names and however long."""

import encodings
import pkgutil

import pyarrow as pa
import pytest
from pydicom.charset import python_encoding

from harvester.dicom.charset import DEFAULT, character_set, is_plain

CODECS = sorted({module.name for module in pkgutil.iter_modules(encodings.__path__)})
EVERYTHING = (
    bytes(range(256)),
    b"\xe9\\ud800",
    b"+2AA-\xe9",
    b"\xed\xa0\x80",
    b"\x1b$B\xff",
    b"\x1b",
    b"\xff" * 7,
    b"\xf0\x9f",
)


@pytest.mark.parametrize("place", [b"%s", b"ISO_IR 100\\%s", b"\\%s", b"%s\\ISO 2022 IR 87"])
def test_text_in_any_codec_of_python_fits_a_column(place: bytes) -> None:
    texts = [character_set(place % name.encode()).decode(raw) for name in CODECS for raw in EVERYTHING]
    assert pa.array(texts, pa.string()).null_count == 0


@pytest.mark.parametrize("term", sorted(term for term in python_encoding if term))
def test_plain_text_is_the_same_in_every_character_set_of_dicom(term: str) -> None:
    plain = bytes(range(0x20, 0x7F)) + b"\r\n\t\f"
    assert is_plain(plain)
    assert character_set(term.encode()).decode(plain) == plain.decode("ascii")
    # A set without code extensions keeps an escape sequence.
    assert character_set(term.encode()).decode(b"\x1b(B" + plain).removeprefix("\x1b(B") == plain.decode(
        "ascii"
    )


def test_text_that_no_codec_reads_keeps_its_bytes() -> None:
    assert character_set(b"undefined").decode(b"J\xe9r\xf4me") == "Jérôme"


def test_a_codec_without_ascii_is_not_believed() -> None:
    for codec in (b"utf_16", b"cp037", b"unicode_escape", b"raw_unicode_escape", b"utf_7"):
        assert character_set(codec) == DEFAULT


def test_what_follows_a_thousand_bytes_of_character_sets_is_not_read() -> None:
    endless = character_set(b"\\ISO 2022 IR 87" * 100_000)
    assert len(endless.encodings) <= 70
    assert endless.decode(b"\x1b$B;3") == "山"


def test_text_of_nothing_but_escapes_stays_as_long_as_it_is() -> None:
    assert len(character_set(b"\\ISO 2022 IR 87").decode(b"\x1b" * 20_000)) == 20_000
