"""The dictionary of tags equals pydicom's dictionaries, and its caches are bounded."""

import pytest
from pydicom._private_dict import private_dictionaries
from pydicom.datadict import DicomDictionary, RepeatersDictionary, dictionary_keyword, dictionary_VR

from harvester.dicom.dictionary import (
    BINARY_VRS,
    MAX_CREATOR_BYTES,
    attribute,
    creator_tag,
    is_private_creator,
    private_vr,
    standard_vr,
)
from harvester.dicom.schema import column_type
from harvester.dicom.values import DECODERS

SETTLED = {"US or SS": "US", "US or OW": "OW", "US or SS or OW": "OW", "OB or OW": "OW"}


def test_every_standard_tag_has_pydicom_s_vr_and_keyword() -> None:
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        if vr == "NONE" or not keyword:
            continue
        entry = attribute(tag)
        assert entry is not None
        assert (entry.vr, entry.keyword) == (vr, keyword)
        assert standard_vr(tag) == vr


def test_every_vr_in_the_dictionaries_is_decoded_binary_or_a_sequence() -> None:
    standard = {entry[0] for entry in (*DicomDictionary.values(), *RepeatersDictionary.values())} - {"NONE"}
    private = {
        private_vr(int(tag.replace("x", "1"), 16), creator)
        for creator, entries in private_dictionaries.items()
        for tag in entries
    }
    for vr in standard | private:
        settled = SETTLED.get(vr, vr)
        assert settled in DECODERS or settled in BINARY_VRS or settled == "SQ", vr


def test_no_two_columns_share_a_keyword() -> None:
    tags = {*DicomDictionary, *(int(mask.replace("x", "0"), 16) for mask in RepeatersDictionary)}
    found = [entry.keyword.lower() for entry in map(attribute, tags) if entry is not None and entry.first]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("mask", sorted(RepeatersDictionary))
def test_only_the_first_tag_of_a_repeating_group_has_the_column(mask: str) -> None:
    tags = [int(mask.replace("x", digit), 16) for digit in "02"]
    first, second = map(attribute, tags)
    assert first is not None
    assert second is not None
    assert first.first
    assert not second.first
    if tags[0] not in DicomDictionary:  # (0028,0400) is another attribute than (0028,04x0)
        assert (first.keyword, first.vr) == (dictionary_keyword(tags[0]), dictionary_VR(tags[0]))
        assert column_type(first) == column_type(second)


def test_private_tags_are_no_attributes_whatever_a_mask_says() -> None:
    assert [attribute(tag) for tag in (0x60010010, 0x50010005, 0x00091001, 0xFFFFFFFF)] == [None] * 4


def test_a_creator_longer_than_any_is_no_key_to_the_private_dictionary() -> None:
    assert max(map(len, private_dictionaries)) <= MAX_CREATOR_BYTES


def test_creators_stand_at_the_head_of_their_group() -> None:
    heads = {tag for tag in range(0x00290000, 0x00290200) if is_private_creator(tag)}
    assert heads == set(range(0x00290010, 0x00290100))
    assert not is_private_creator(0x00280010)
    assert creator_tag(0x00291508) == 0x00290015
