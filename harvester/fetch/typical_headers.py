"""Typical header lengths by modality."""

KiB = 1024

# In bytes, up to the pixel data. They steer shard sizes and estimates only, and are meant to be right within
# a factor of two or three. Basis: the headers of a corpus of 500 public files (median and 90th percentile),
# increased where IDC's own objects are known to be richer.
TYPICAL_HEADER: dict[str, int] = {
    "CT": 6 * KiB,  # corpus 0.7 to 6 KiB, 24 KiB at most; IDC de-identifies and adds clinical trial groups
    "MR": 10 * KiB,  # corpus p90 9.7 KiB; Siemens CSA headers of 100 KiB are skipped as bulk values
    "PT": 9 * KiB,  # corpus 8.8 KiB
    "CR": 3 * KiB,
    "DX": 4 * KiB,
    "MG": 12 * KiB,  # tomosynthesis has functional groups
    "US": 6 * KiB,
    "NM": 4 * KiB,  # detector and rotation sequences
    "XA": 8 * KiB,
    "RF": 8 * KiB,
    "XC": 4 * KiB,
    "OT": 4 * KiB,
    "RTDOSE": 4 * KiB,
    "FUSION": 10 * KiB,
    # specimen and optical path sequences; ICC profiles and extended offset tables are skipped
    "SM": 24 * KiB,
    # a functional group item per frame, 0.5 to 1 KiB each, and hundreds of frames
    "SEG": 192 * KiB,
    # coordinates and indices are bulk values (OF, OD, OL), which are skipped
    "ANN": 32 * KiB,
    "M3D": 8 * KiB,  # the encapsulated document is a bulk value
    "DOC": 8 * KiB,
}
OTHER_HEADER = 8 * KiB

WHOLE_OBJECT = frozenset({"SR", "RTSTRUCT", "RTPLAN", "KO", "PR", "REG", "RWV"})
"""Modalities without pixel data or long bulk values: the header is the whole object."""
