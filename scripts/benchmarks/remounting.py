"""Sources of very many slides: index them, mount them again, list all that the mount shows.

The one job: the section `remount`. Here the bars are figures, not peers: what a user who waits, or
a server that has other things to do, can be expected to put up with; beside them it is shown what
the same costs where a file system has nothing to find out. Only the index is made of real
slides; what is mounted again was written by `benchmarks.catalogues`.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.catalogues import write_catalogue
from benchmarks.comparison import compared
from benchmarks.mounts import DICOMFS, PLAIN, Mount, dicomfs_mount, environment, plain_mount
from benchmarks.plan import Plan
from benchmarks.report import Row, against_bar
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
    yield against_bar(SECTION, what, "instances/s", rates, _INDEXED_EACH_SECOND, "more")


def _mounted_again(plan: Plan) -> Iterator[Row]:
    source, memory = plan.folder("remounted"), plan.folder("memory")
    index = memory / "index.sqlite3"
    write_catalogue(source, index, plan.remounted_series, 5)
    first, complete, sizes = [], [], []
    nothing, as_much = plan.folder("nothing"), plan.folder("as-much")
    least, listed, listed_plainly = [], [], []
    for number in range(plan.starts):
        more = ("--index", os.fspath(index), "--wait", "0")
        with dicomfs_mount(source, memory=memory, more=more) as mount:
            first.append(_until(mount, "ls"))
            complete.append(_until(mount, "ls", "-lR"))
            listed.append(complete[-1] - first[-1])
            sizes.append(_resident_bytes(mount))
            if not number:
                _write_like(mount.point, as_much)
        with plain_mount(nothing) as mount:
            least.append(_until(mount, "ls"))
        with plain_mount(as_much) as mount:
            begun = _until(mount, "ls")
            listed_plainly.append(_until(mount, "ls", "-lR") - begun)
    what = f"{plan.remounted_series:,} series mounted again, "
    yield against_bar(SECTION, f"{what}first ls", "seconds", first, _FIRST_SECONDS, "less")
    yield against_bar(SECTION, f"{what}ls -lR complete", "seconds", complete, _ALL_SECONDS, "less")
    yield against_bar(SECTION, f"{what}memory", "bytes", sizes, _MEMORY, "less")
    found = compared(first, least, "less")
    yield Row(SECTION, f"{what}first ls", f"{PLAIN}, of an empty folder", "seconds", found)
    found = compared(listed, listed_plainly, "less")
    yield Row(SECTION, f"{what}ls -lR", f"{PLAIN}, of as many files", "seconds", found)


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
        yield against_bar(SECTION, each, "entries/s", [rate], _LISTED_EACH_SECOND, "more")
    yield against_bar(SECTION, f"{what}memory", "bytes", [size], _MEMORY_OF_MANY, "less")


def _until(mount: Mount, *command: str) -> float:
    """Seconds from the start of a mount's program to the end of a command on its root."""
    subprocess.run([*command, os.fspath(mount.point)], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - mount.begun


def _write_like(root: Path, folder: Path) -> None:
    """Write as many folders and files, of the same names, all empty."""
    for path, folders, files in os.walk(root):
        place = folder / Path(path).relative_to(root)
        for name in folders:
            (place / name).mkdir()
        for name in files:
            (place / name).touch()


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
