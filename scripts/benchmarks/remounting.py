"""Sources of very many slides: index them, mount them again, list all that the mount shows.

The one job: the section `remount`. Here the bars are figures, not peers: what a user who waits, or
a server that has other things to do, can be expected to put up with. Only the index is made of real
slides; what is mounted again was written by `benchmarks.catalogues`.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.catalogues import write_catalogue
from benchmarks.comparison import Better, compared
from benchmarks.mounts import DICOMFS, Mount, dicomfs_mount, environment
from benchmarks.plan import Plan
from benchmarks.report import Row
from benchmarks.slides import in_page_cache, write_archive

SECTION: Final = "remount"

_INDEXED_EACH_SECOND: Final = 600.0
_FIRST_SECONDS: Final = 0.5
_ALL_SECONDS: Final = 3.0
_MEMORY: Final = 200 * 2**20
_LISTED_EACH_SECOND: Final = 20_000.0
_MEMORY_OF_MANY: Final = 2**30


def measure(plan: Plan) -> Iterator[Row]:
    """The index, then two sources that were indexed before."""
    yield from _index(plan)
    yield from _mounted_again(plan)
    yield from _all_of_very_many(plan)


def _index(plan: Plan) -> Iterator[Row]:
    source = plan.folder("indexed")
    instances = write_archive(source, plan.indexed_slides)
    rates = []
    for _ in range(plan.starts):
        in_page_cache(*source.rglob("*.dcm"))
        begun = time.perf_counter()
        subprocess.run(
            [*DICOMFS, "--quiet", "index", os.fspath(source)],
            env=environment(plan.folder("memory")),
            check=True,
        )
        rates.append(instances / (time.perf_counter() - begun))
    what = f"dicomfs index, {instances:,} instances"
    yield _row(what, "instances/s", rates, _INDEXED_EACH_SECOND, "more")


def _mounted_again(plan: Plan) -> Iterator[Row]:
    source, memory = plan.folder("remounted"), plan.folder("memory")
    index = memory / "index.sqlite3"
    write_catalogue(source, index, plan.remounted_series, 5)
    first, complete, sizes = [], [], []
    for _ in range(plan.starts):
        more = ("--index", os.fspath(index), "--wait", "0")
        with dicomfs_mount(source, memory=memory, more=more) as mount:
            _run("ls", mount)
            first.append(time.perf_counter() - mount.begun)
            _run("ls", "-lR", mount)
            complete.append(time.perf_counter() - mount.begun)
            sizes.append(_resident_bytes(mount))
    what = f"{plan.remounted_series:,} series mounted again, "
    yield _row(f"{what}first ls", "seconds", first, _FIRST_SECONDS, "less")
    yield _row(f"{what}ls -lR complete", "seconds", complete, _ALL_SECONDS, "less")
    yield _row(f"{what}memory", "bytes", sizes, _MEMORY, "less")


def _all_of_very_many(plan: Plan) -> Iterator[Row]:
    source, memory = plan.folder("many"), plan.folder("memory")
    index = memory / "index.sqlite3"
    expected = write_catalogue(source, index, plan.listed_series, 1)
    with dicomfs_mount(source, memory=memory, more=("--index", os.fspath(index))) as mount:
        rates = []
        for _ in range(2):
            begun = time.perf_counter()
            found = _walk(mount.point)
            rates.append(found / (time.perf_counter() - begun))
        size = _resident_bytes(mount)
    if found < expected:
        raise RuntimeError(f"{found} of {expected} entries are shown")
    what = f"{plan.listed_series:,} series, "
    # At first the folders are made, and the mount compares its source with the index.
    for when, rate in zip(("first", "second"), rates, strict=True):
        each = f"{what}readdir and stat of all, {when} time"
        yield _row(each, "entries/s", [rate], _LISTED_EACH_SECOND, "more")
    yield _row(f"{what}memory", "bytes", [size], _MEMORY_OF_MANY, "less")


def _row(what: str, unit: str, values: Sequence[float], bar: float, better: Better) -> Row:
    found = compared(values, [bar] * len(values), better)
    return Row(SECTION, what, "the bar that was set", unit, found, bar=1.0)


def _run(*command: str | Mount) -> None:
    arguments = [os.fspath(one.point) if isinstance(one, Mount) else one for one in command]
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)


def _walk(root: Path) -> int:
    """List all folders, ask for the status of everything; returns how much there is."""
    found = 0
    waiting = [os.fspath(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                found += 1
                entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return found


def _resident_bytes(mount: Mount) -> int:
    """Memory of the process that serves a mount."""
    pid = int(os.getxattr(mount.point, "user.dicomfs.process").split()[0])
    found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        sys.exit("the system does not tell how much memory a process has")
    return int(found[1]) * 1024
