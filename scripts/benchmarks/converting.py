"""Converting a slide, as people do who cannot mount it: time to the first tile, and disk used.

The one job: the section `convert`. The conversion is the fastest that can be put together from
published parts: wsidicom hands over the frames as they are, tifffile writes them into a pyramidal
TIFF, nothing is decoded. (`bfconvert -precompressed` of Bio-Formats 7.3 and 8 writes no TIFF:
"Writer does not support pre-compressed tile writing".)
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.comparison import compared
from benchmarks.mounts import dicomfs_mount
from benchmarks.opening import first_tile
from benchmarks.plan import Plan
from benchmarks.report import Row
from benchmarks.slides import in_page_cache, write_slide

SECTION: Final = "convert"

_PEER: Final = "conversion with wsidicom and tifffile, frames copied"
_SECTOR: Final = 512  # the unit of st_blocks

_PROGRAM: Final = """
import sys, tifffile, wsidicom
source, target = sys.argv[1:]
with wsidicom.WsiDicom.open(source) as slide, tifffile.TiffWriter(target, bigtiff=True) as tiff:
    for number, level in enumerate(slide.pyramids[0]):
        image = level.default_instance.image_data
        columns, rows = image.tiled_size.to_tuple()
        places = [(x, y) for y in range(rows) for x in range(columns)]
        tiff.write(
            (image.get_encoded_tile(wsidicom.geometry.Point(*place), 0, "1") for place in places),
            shape=(level.size.height, level.size.width, 3),
            dtype="uint8",
            tile=level.tile_size.to_tuple()[::-1],
            compression="jpeg",
            photometric="ycbcr",
            subsampling=(2, 2),
            subfiletype=1 if number else 0,
        )
"""


def measure(plan: Plan) -> Iterator[Row]:
    """Both ways from the DICOM files to the first tile, and what each leaves on the disk."""
    for name in ("wsidicom", "openslide"):
        if importlib.util.find_spec(name) is None:
            plan.skip(f"{name} is not installed: nothing is converted")
            return
    across, down = plan.convert_grid
    slide = write_slide(plan.folder("convert") / "slide", across, down, quality=90)
    seconds: tuple[list[float], list[float]] = ([], [])
    disk: tuple[list[float], list[float]] = ([], [])
    for number in range(plan.starts):
        memory = plan.folder("memory")
        in_page_cache(*slide.levels)
        with dicomfs_mount(slide.folder, memory=memory) as mount:
            first_tile(mount.find(".svs"), number)
            seconds[0].append(time.perf_counter() - mount.begun)
        disk[0].append(_disk_used(memory))
        in_page_cache(*slide.levels)
        converted = plan.folder("converted")
        begun = time.perf_counter()
        target = converted / "slide.tif"
        command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(slide.folder), str(target)]
        subprocess.run(command, check=True, cwd=converted)
        first_tile(target, number)
        seconds[1].append(time.perf_counter() - begun)
        disk[1].append(_disk_used(converted))
    what = f"from {across * down:,} frames to the first tile, nothing remembered"
    yield Row(SECTION, what, _PEER, "seconds", compared(*seconds, "less"))
    yield Row(SECTION, "disk used", _PEER, "bytes", compared(*disk, "less"))


def _disk_used(folder: Path) -> float:
    """Bytes that the files below a folder take."""
    return float(
        sum(os.lstat(path).st_blocks for path in folder.rglob("*") if path.is_file()) * _SECTOR
    )
