"""How cost grows: with the frames of a slide, the series of a source, the readers of a mount.

The one job: the section `growth`, whose rows say how a figure of dicomfs and of a peer changes from
step to step. A ratio that falls from row to row says that the cost of dicomfs grows faster than the
peer's; `--plots` draws the rows.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.comparison import Comparison, compare, compared
from benchmarks.mounts import bindfs_mount, dicomfs_mount, drop_pages
from benchmarks.plan import Plan
from benchmarks.reading import RANDOM_BYTES, random_times
from benchmarks.report import Row
from benchmarks.scanning import parse
from benchmarks.slides import in_page_cache, write_archive, write_slide
from tests.fixtures.large import write_large

SECTION: Final = "growth"

FRAMES: Final = "frames"
SERIES: Final = "series"
READERS: Final = "readers"

_ACROSS: Final = 125
_MOST_REPEATS: Final = 3  # of what takes pydicom minutes


def measure(plan: Plan) -> Iterator[Row]:
    """Frames, series, readers."""
    yield from _frames(plan)
    yield from _series(plan)
    yield from _readers(plan)


def _frames(plan: Plan) -> Iterator[Row]:
    """Seconds to the positions of all frames of an instance."""
    what = "TILED_SPARSE, to the positions of its frames"
    for count in plan.growth_frames:
        path = plan.folder("frames") / "sparse.dcm"
        write_large(path, count)
        ours = partial(_seconds, "dicomfs", path.parent, [path])
        peer = partial(_seconds, "positions", path, [path])
        found = compare(ours, peer, min(plan.starts, _MOST_REPEATS), "less")
        yield _row(FRAMES, count, what, "pydicom", "seconds", found)


def _series(plan: Plan) -> Iterator[Row]:
    """Seconds until a source without an index is ready to be listed."""
    what = "of five instances each, ready to be listed"
    for count in plan.growth_series:
        folder = plan.folder("series")
        write_archive(folder, count)
        files = list(folder.rglob("*.dcm"))
        ours = partial(_seconds, "dicomfs", folder, files)
        peer = partial(_seconds, "headers", folder, files)
        found = compare(ours, peer, min(plan.starts, _MOST_REPEATS), "less")
        yield _row(SERIES, count, what, "pydicom, headers alone", "seconds", found)


def _seconds(reader: str, path: Path, files: Sequence[Path], _: int) -> float:
    in_page_cache(*files)
    return parse(reader, path)["seconds"]


def _readers(plan: Plan) -> Iterator[Row]:
    """Random reads of all readers together, in bytes per second."""
    slide = write_slide(plan.folder("readers") / "slide", _ACROSS, _ACROSS, quality=90)
    with dicomfs_mount(slide.folder) as ours, bindfs_mount(slide.folder, ours) as theirs:
        paths = (ours.find(".svs"), theirs.point / slide.source.name)
        for readers in plan.growth_readers:
            each = max(1, plan.random_reads // readers)
            rates: tuple[list[float], list[float]] = ([], [])
            for number in range(plan.repeats):
                for path, values in zip(paths, rates, strict=True):
                    in_page_cache(slide.source)
                    drop_pages(path)
                    times = random_times(path, readers, each, number)
                    # Readers work side by side, each one read after the other.
                    values.append(readers * len(times) * RANDOM_BYTES * 1e9 / sum(times))
            found = compared(*rates, "more")
            what = f"random reads of {RANDOM_BYTES // 1000} KB, all together"
            yield _row(READERS, readers, what, "bindfs", "bytes/s", found)


def _row(kind: str, count: int, what: str, peer: str, unit: str, found: Comparison) -> Row:
    return Row(SECTION, f"{count:,} {kind}: {what}", peer, unit, found, at=(kind, count))
