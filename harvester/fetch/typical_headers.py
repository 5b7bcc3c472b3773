"""How long the headers of each modality typically are."""

KiB = 1024

# Typical header sizes in bytes, up to the pixel data. They steer shard sizes and `harvester plan`, nothing
# else, and are meant to be right within a factor of two or three. Basis: the headers of a corpus of 500
# public files (median and 90th percentile), made larger where IDC's own objects are known to be richer.
TYPICAL_HEADER: dict[str, int] = {
    "CT": 6 * KiB,  # corpus 0.7 to 6 KiB, 24 KiB at most; IDC de-identifies and adds clinical trial groups
    "MR": 10 * KiB,  # corpus p90 9.7 KiB; Siemens CSA headers of 100 KiB are bulk values, hopped over
    "PT": 9 * KiB,  # corpus 8.8 KiB
    "CR": 3 * KiB,
    "DX": 4 * KiB,
    "MG": 12 * KiB,  # tomosynthesis carries functional groups
    "US": 6 * KiB,
    "NM": 4 * KiB,  # detector and rotation sequences
    "XA": 8 * KiB,
    "RF": 8 * KiB,
    "XC": 4 * KiB,
    "OT": 4 * KiB,
    "RTDOSE": 4 * KiB,
    "FUSION": 10 * KiB,
    # specimen and optical path sequences; ICC profiles and extended offset tables are bulk, hopped over
    "SM": 24 * KiB,
    # an item of functional groups per frame, 0.5 to 1 KiB each, and hundreds of frames
    "SEG": 192 * KiB,
    # coordinates and indices are bulk values (OF, OD, OL), which are hopped over
    "ANN": 32 * KiB,
    "M3D": 8 * KiB,  # the encapsulated document is a bulk value
    "DOC": 8 * KiB,
}
OTHER_HEADER = 8 * KiB

WHOLE_OBJECT = frozenset({"SR", "RTSTRUCT", "RTPLAN", "KO", "PR", "REG", "RWV"})
"""No pixel data and no bulk worth hopping over: the header is the object, so the catalog knows its size."""
