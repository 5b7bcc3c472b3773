"""The metadata of a slide and of a segmentation of many frames, by pydicom, through each client's file."""

from pathlib import Path

from reading import objects
from reading.measuring import BLOB_READER, BUCKET, OBSTORE, SMART_OPEN, Setting, measure

FRAMES = 3_000
ROW = 60  # tiles
SEGMENTS, SLICES = 10, 100  # 1,000 frames
LARGE = 840  # pixels per side: a segmentation then has IDC's mean size, 89 MB


def run(setting: Setting) -> None:
    """Print the figures of each client and of harvester."""
    folder = setting.root / BUCKET
    slide, segmentation = folder / "slide.dcm", folder / "segmentation.dcm"
    frames = setting.frames or FRAMES
    size = objects.made_slide(max(1, frames // ROW), min(frames, ROW)).write(slide)
    print(f"\nMetadata of a slide of {frames:,} frames, {size / 1e6:.0f} MB")
    _compare(setting, slide)
    slices = min(SLICES, frames)
    size = objects.write_large(objects.made_segmentation(SEGMENTS, slices), segmentation, LARGE)
    print(f"Metadata of a segmentation of {SEGMENTS * slices:,} frames, {size / 1e6:.0f} MB")
    _compare(setting, segmentation)


def _compare(setting: Setting, path: Path) -> None:
    keys = setting.copies(path, setting.runs + 1)
    ours = measure(setting, "harvester", "metadata", keys)
    print(f"  {'harvester':34} {ours}")
    for client in ("harvester, the first of its kind", BLOB_READER, SMART_OPEN, OBSTORE):
        if setting.compares(client):
            figures = measure(setting, client, "metadata", keys)
            if figures.found != ours.found:
                raise RuntimeError(f"{client} read something else")
            told = "" if client.startswith("harvester") else f"   {figures.against(ours)}"
            print(f"  {client:34} {figures}{told}")
