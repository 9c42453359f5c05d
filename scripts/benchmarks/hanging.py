"""Reads of one slide while 64 reads of another one hang, as they do on a share that has gone.

The one job: the section `hang`. The bars are figures: what somebody who looks at another slide
meanwhile does not notice. The share is a double of the tests, a file system of its own.
"""

import contextlib
import mmap
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.comparison import compared
from benchmarks.mounts import Mount, dicomfs_mount
from benchmarks.plan import Plan
from benchmarks.report import Row, against_bar
from benchmarks.slides import write_slide
from tests.semantics import stalled

SECTION: Final = "hang"

_HANGING: Final = 64
_READ_SECONDS: Final = 0.1
_STAT_SECONDS: Final = 0.02
_ASKED: Final = 1_000
_PAGE: Final = 4096
_SETTLED_SECONDS: Final = 0.5  # until all the reads that are to hang do
_END_SECONDS: Final = 60.0  # the deadline of a read is 30


def measure(plan: Plan) -> Iterator[Row]:
    """The 99th percentile of reads and of attributes, with and without reads that hang."""
    behind = plan.folder("behind")
    for name, down in (("stalled", 24), ("healthy", 12)):
        write_slide(behind / name, 24, down, tile=256, factors=(1,))
    share, hang = plan.folder("share"), plan.work / "hang"
    with (
        stalled.share(behind, share, hang),
        dicomfs_mount(share, ("tiff",), more=("--no-watch",)) as ours,
    ):
        healthy, stalling = _by_size(ours)
        status = ours.point / ".dicomfs" / "status.json"  # the kernel keeps no attributes of it
        asked = (
            (f"reads while {_HANGING} others hang, p99", _READ_SECONDS, _reads(healthy)),
            (f"attributes while {_HANGING} reads hang, p99", _STAT_SECONDS, lambda: status.stat()),
        )
        quiet = [[_p99(ask) for _ in range(plan.starts)] for _, _, ask in asked]
        hanging: list[list[float]] = [[], []]
        for _ in range(plan.starts):
            with _hanging(stalling, hang):
                for values, (_, _, ask) in zip(hanging, asked, strict=True):
                    values.append(_p99(ask))
        for (what, bar, _), values, before in zip(asked, hanging, quiet, strict=True):
            yield against_bar(SECTION, what, "seconds", values, bar, "less")
            against = "the same while nothing hangs"
            yield Row(SECTION, what, against, "seconds", compared(values, before, "less"))


def _by_size(mount: Mount) -> Sequence[Path]:
    """Both slides, the smaller one first."""
    mount.find(".tif")
    found = sorted(mount.point.rglob("*.tif"), key=lambda path: path.stat().st_size)
    if len(found) != 2:
        raise RuntimeError(f"{len(found)} slides are shown, and there are two")
    return found


def _reads(path: Path) -> Callable[[], object]:
    """Reads a page, each time another one, past the cache of the kernel."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    pages = os.fstat(file).st_size // _PAGE
    buffer = mmap.mmap(-1, _PAGE)  # noqa: TID251 - aligned memory, as O_DIRECT wants it
    number = 0

    def read() -> None:
        nonlocal number
        number = (number + 7) % pages
        if os.preadv(file, [buffer], number * _PAGE) != _PAGE:
            raise RuntimeError("a read was cut short")

    return read


def _p99(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(_ASKED):
        begun = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begun)
    return statistics.quantiles(times, n=100)[98]


@contextlib.contextmanager
def _hanging(path: Path, hang: Path) -> Iterator[None]:
    """Within the block, reads of a slide hang."""
    hang.touch()
    readers = stalled.many_reads(path, _HANGING)
    try:
        time.sleep(_SETTLED_SECONDS)
        if readers.poll() is not None:
            raise RuntimeError("nothing hangs")
        yield
    finally:
        hang.unlink()
        readers.communicate(timeout=_END_SECONDS)
