"""A region of 512 x 512 pixels of a slide that has no offset table, by unmodified highdicom."""

from reading import objects
from reading.client import REGION
from reading.measuring import BLOB_READER, BUCKET, Figures, Setting, measure

FRAMES = 12_000  # of 42 kB: three quarters of IDC's mean slide series, 642 MB, as base layers are
ROW = 120  # tiles
LEAST = 5  # tiles both ways, which a region needs


def run(setting: Setting) -> None:
    """Print the figures of the first time and of those that follow, beside BlobReader's."""
    path = setting.root / BUCKET / "base-layer.dcm"
    frames = setting.frames or FRAMES
    slide = objects.made_slide(max(LEAST, frames // ROW), max(LEAST, min(frames // LEAST, ROW)))
    size = slide.write(path)
    print(
        f"\n{REGION} x {REGION} pixels of a slide of {slide.frames:,} frames, {size / 1e6:.0f} MB, without"
        " any offset table"
    )
    key, *others = setting.copies(path, setting.runs + 2)
    first = measure(setting, "harvester, the first of its kind", "region", others)
    print(f"  {'harvester, the first time':34} {first}")
    again = measure(setting, "harvester", "region", [key] * (setting.runs + 1))
    print(f"  {'harvester, from then on':34} {again}")
    if setting.compares(BLOB_READER):
        blob = measure(setting, BLOB_READER, "region", others)
        print(f"  {BLOB_READER:34} {blob}   {blob.against(again)}")
        print(f"  {'':34} the first time: {blob.against(first)}")
        _check_alike(first, again, blob)
    _check_alike(first, again)


def _check_alike(*figures: Figures) -> None:
    if len({text for one in figures for text in one.found}) != 1:
        raise RuntimeError("the pixels are not the same")
