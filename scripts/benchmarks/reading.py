"""Reading bytes through the mount, compared with other mounts and with the source file itself.

The one job: the section `read`. The source lies in the page cache throughout; what the kernel holds
of the mounts' own files is dropped before each measurement, unless it is to be warm. Tiles are not
decoded here: the virtual TIFF holds the JPEG frames of the slide as they are.
"""

import array
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.comparison import Measure, compare, compared
from benchmarks.mounts import (
    PLAIN,
    bindfs_mount,
    dicomfs_mount,
    drop_pages,
    plain_mount,
    read_ahead_kib,
)
from benchmarks.plan import Plan
from benchmarks.report import Row
from benchmarks.slides import in_page_cache, write_slide

SECTION: Final = "read"

RANDOM_BYTES: Final = 48_000
"""About what a viewer asks for at once: two frames and what lies between."""

_FRAME_BYTES: Final = 20_700  # of a JPEG of 256 x 256 pixels at quality 90, on average
_ACROSS: Final = 250
_READER: Final = Path(__file__).with_name("random_reader.py")

Run = Callable[[Path], float]
"""Reads a file and returns bytes per second."""


def measure(plan: Plan) -> Iterator[Row]:
    """Write the slide, mount it with all, read."""
    if not shutil.which("bindfs"):
        plan.skip("bindfs is not installed (Debian package bindfs): reads are compared with cat")
    down = max(1, plan.read_bytes // _FRAME_BYTES // _ACROSS)
    slide = write_slide(plan.folder("read") / "slide", _ACROSS, down, quality=90)
    with dicomfs_mount(slide.folder) as ours:
        virtual = ours.find(".svs")
        yield from _against_source(plan, virtual, slide.source)
        with contextlib.ExitStack() as mounts:
            peers = {PLAIN: mounts.enter_context(plain_mount(slide.folder, ours))}
            if shutil.which("bindfs"):
                peers["bindfs"] = mounts.enter_context(bindfs_mount(slide.folder, ours))
            for name, mount in {"dicomfs": ours, **peers}.items():
                plan.say(f"read-ahead of {name}: {read_ahead_kib(mount)} KiB")
            paths = {name: mount.point / slide.source.name for name, mount in peers.items()}
            yield from _against_mounts(plan, virtual, paths, slide.source)


def _against_source(plan: Plan, virtual: Path, source: Path) -> Iterator[Row]:
    peer = "the source, in the page cache"
    for when, ours, bar in (("first", _first_time, 0.35), ("second", _second_time, 0.9)):
        for name, run in _RUNS:
            found = compare(
                ours(run, virtual), _again(run, source), plan.repeats, "more", _warm(source)
            )
            yield Row(SECTION, f"{name}, {when} time", peer, "bytes/s", found, bar)


def _against_mounts(
    plan: Plan, virtual: Path, peers: Mapping[str, Path], source: Path
) -> Iterator[Row]:
    """peers: the source as other mounts show it."""
    for name, run in _RUNS:
        for peer, path in peers.items():
            ours, theirs = _first_time(run, virtual), _first_time(run, path)
            found = compare(ours, theirs, plan.repeats, "more", _warm(source))
            bar = 1.0 if peer == "bindfs" else None
            yield Row(SECTION, f"{name}, first time", peer, "bytes/s", found, bar)
    for readers in (1, 16):
        yield from _random(plan, virtual, peers, source, readers)


def _random(
    plan: Plan, virtual: Path, peers: Mapping[str, Path], source: Path, readers: int
) -> Iterator[Row]:
    """The times of random reads, of all in turns."""
    count = max(1, plan.random_reads // readers)
    times: dict[Path, list[list[int]]] = {virtual: [], **{path: [] for path in peers.values()}}
    for number in range(plan.repeats):
        for path in times if number % 2 else reversed(times):
            in_page_cache(source)
            drop_pages(path)
            times[path].append(sorted(random_times(path, readers, count, number)))
    who = "one reader" if readers == 1 else f"{readers} readers"
    for percent in (50, 99):
        at = {
            path: [each[len(each) * percent // 100] / 1000 for each in runs]
            for path, runs in times.items()
        }
        what = f"random reads of {RANDOM_BYTES // 1000} KB, {who}, p{percent}"
        for peer, path in peers.items():
            found = compared(at[virtual], at[path], "less")
            yield Row(SECTION, what, peer, "µs", found, 0.87 if peer == "bindfs" else None)


def random_times(path: Path, readers: int, count: int, seed: int) -> list[int]:
    """Nanoseconds of the reads of all readers, which begin together."""
    children = [
        subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", _READER, path),
                *map(str, (count, RANDOM_BYTES, 1000 * seed + reader)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for reader in range(readers)
    ]
    times = array.array("q")
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        for child in children:
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
        for child in children:
            output, _ = child.communicate()
            if child.returncode:
                raise RuntimeError(f"a reader of {path} failed")
            times.frombytes(output)
    finally:
        for child in children:
            child.kill()
            child.wait()
    return times.tolist()


def _first_time(run: Run, path: Path) -> Measure:
    def measured(_: int) -> float:
        drop_pages(path)
        return run(path)

    return measured


def _second_time(run: Run, path: Path) -> Measure:
    def measured(_: int) -> float:
        run(path)
        return run(path)

    return measured


def _again(run: Run, path: Path) -> Measure:
    return lambda _: run(path)


def _warm(source: Path) -> Callable[[], None]:
    return lambda: in_page_cache(source)


def _dd(path: Path) -> float:
    return _timed(path, ["dd", f"if={path}", "of=/dev/null", "bs=1M"])


def _cat(path: Path) -> float:
    return _timed(path, ["cat", str(path)])


def _timed(path: Path, command: Sequence[str]) -> float:
    """Bytes of a file per second of a command that reads it."""
    size = path.stat().st_size
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return size / (time.perf_counter() - begun)


_RUNS: Final[tuple[tuple[str, Run], ...]] = (("dd, reads of 1 MiB", _dd), ("cat", _cat))
