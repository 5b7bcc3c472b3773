"""A region of 512 x 512 pixels of a slide that has no offset table, by unmodified highdicom.

async-tiff reads a copy that is a TIFF file, too, whose directory lies behind the pixel data.
"""

import hashlib

from reading import objects
from reading.client import REGION
from reading.measuring import ASYNC_TIFF, BLOB_READER, BUCKET, OBSTORE, Figures, Setting, measure

FRAMES = 12_000  # of 42 kB: a base layer is three quarters of IDC's mean slide series, 642 MB
ROW = 120  # tiles
LEAST = 5  # tiles per side that a region needs


def run(setting: Setting) -> None:
    """Print the figures of the first and of later reads, and those of other clients."""
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
    print(f"  {'harvester, after the first time':34} {again}")
    for client in (BLOB_READER, OBSTORE, ASYNC_TIFF):
        if setting.compares(client):
            if client == ASYNC_TIFF:
                twin = path.with_name("twin.dcm")
                slide.write(twin, with_tiff=True)
                others = setting.copies(twin, setting.runs + 1)
            peer = measure(setting, client, "region", others)
            print(f"  {client:34} {peer}   {peer.against(again)}")
            print(f"  {'':34} the first time: {peer.against(first)}")
            if client == ASYNC_TIFF:
                _check_tiles(slide, peer)
            else:
                _check_alike(first, again, peer)
    _check_alike(first, again)


def _check_alike(*figures: Figures) -> None:
    if len({text for one in figures for text in one.found}) != 1:
        raise RuntimeError("the pixels are not the same")


def _check_tiles(slide: objects.Slide, figures: Figures) -> None:
    rows, columns = (
        range(
            (half := side * objects.TILE // 2 + 99) // objects.TILE, (half + REGION - 1) // objects.TILE + 1
        )
        for side in (slide.rows, slide.columns)
    )
    tiles = (slide.tiles[(y * slide.columns + x) % len(slide.tiles)] for y in rows for x in columns)
    if figures.found != {hashlib.sha256(b"".join(tiles)).hexdigest()}:
        raise RuntimeError("the tiles are not the same")
