"""`scripts/soak [--minutes N]`: mount slides, read them at random while some come, change and go.

What is read of slides that stay has to be right to the byte, and must never fail. Reads of slides
that change may fail with ESTALE, EIO or ENOENT, and are right or fail. The memory of the process
that serves must not grow beyond what its caches hold, which have bounds of their own; its slope is
judged over the second half, and only of ten minutes or more.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from dicomfs.archive import open_archive
from tests.conftest import WrittenSeries
from tests.semantics.serving import Serving, copy, serving

_STEADY: Final = ("jpeg-422-jfif", "native-rgb8", "jpegls-rgb8", "j2k-rct", "jpeg-main")
_RESTLESS: Final = ("jpeg-444-jfif", "native-grey16")
_READERS: Final = 4
_SAMPLE_SECONDS: Final = 1.0
_CHANGE_SECONDS: Final = 2.0
_EXPLAINED: Final = {errno.ESTALE, errno.EIO, errno.ENOENT}
_LEAST_HOURS: Final = 10 / 60
_MOST_SLOPE: Final = 1024 * 1024


@dataclass(slots=True)
class Record:
    """What has happened.

    memory : (seconds, bytes) of the serving process, without what its caches hold
    """

    reads: int = 0
    bytes: int = 0
    changes: int = 0
    explained: int = 0
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)

    @property
    def slope(self) -> float:
        """Growth of memory in bytes an hour, over the second half."""
        half = np.array(self.memory[len(self.memory) // 2 :])
        return float(np.polyfit(half[:, 0] / 3600, half[:, 1], 1)[0]) if len(half) > 2 else 0.0

    def __str__(self) -> str:
        first, last = self.memory[0][1] >> 20, self.memory[-1][1] >> 20
        return (
            f"{self.reads:,} reads of {self.bytes >> 20:,} MiB, {self.changes} changes,"
            f" {self.explained} explained errors, memory without caches {first} to {last} MiB"
            f" ({self.slope / 2**20:+.1f} MiB/h in the second half), {len(self.wrong)} wrong"
        )


def soak(minutes: float, folder: Path, seed: int = 1) -> Record:
    """Mount, read and change for so long; everything is written below `folder`."""
    written = WrittenSeries(folder / "written")
    source = folder / "source"
    for case in _STEADY:
        copy(written, case, source / case)
    record, stop = Record(), threading.Event()
    with serving(source, folder / "served") as mount:
        known = _known(mount, folder)
        threads = [
            threading.Thread(target=_read, args=(known, stop, record, seed + number))
            for number in range(_READERS)
        ]
        threads.append(threading.Thread(target=_change, args=(written, source, stop, record)))
        threads.append(
            threading.Thread(target=_read_restless, args=(mount, known, stop, record, seed))
        )
        for thread in threads:
            thread.start()
        began = time.monotonic()
        while (passed := time.monotonic() - began) < 60 * minutes and mount.process.runs():
            record.memory.append((passed, _memory(mount)))
            time.sleep(_SAMPLE_SECONDS)
        stop.set()
        for thread in threads:
            thread.join()
        log = mount.log.read_text()
        if "Traceback" in log or "ERROR" in log:
            record.wrong.append(f"the log says: {log[-2000:]}")
    return record


def _known(mount: Serving, folder: Path) -> dict[Path, bytes]:
    with open_archive(mount.source, index=folder / "index") as archive:
        return {
            path: archive.open(str(path.relative_to(mount.point))).read()
            for path in mount.files()
            # These tell of all slides of their folder, and change with them.
            if path.name not in ("patient.json", "study.json")
        }


def _read(known: dict[Path, bytes], stop: threading.Event, record: Record, seed: int) -> None:
    """Read what stays, anywhere, at times past the cache of the kernel."""
    rng = random.Random(seed)
    paths = sorted(known)
    while not stop.is_set():
        path = rng.choice(paths)
        content = known[path]
        try:
            file = os.open(path, os.O_RDONLY)
            try:
                for _ in range(rng.randrange(1, 30)):
                    offset = rng.randrange(len(content) + 1)
                    size = rng.choice((1, 4096, 48_000, 500_000))
                    got = os.pread(file, size, offset)
                    if got != content[offset : offset + size]:
                        record.wrong.append(f"{path}: {size} bytes at {offset}")
                    record.reads += 1
                    record.bytes += len(got)
                if rng.random() < 0.2:
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)
        except OSError as error:
            record.wrong.append(f"{path}: {error}")


def _read_restless(
    mount: Serving, known: dict[Path, bytes], stop: threading.Event, record: Record, seed: int
) -> None:
    """Read what comes and goes: errors are explained, short answers are not."""
    rng = random.Random(seed)
    while not stop.is_set():
        others = [path for path in mount.files() if path not in known]
        if not others:
            time.sleep(0.05)
            continue
        path = rng.choice(others)
        try:
            file = os.open(path, os.O_RDONLY)
            try:
                size = os.fstat(file).st_size
                offset = 0
                while offset < size:
                    # The kernel gives what lies before a page that fails; the next read fails.
                    got = len(os.pread(file, 1 << 20, offset))
                    if not got:
                        record.wrong.append(f"{path}: ends at {offset} of {size}")
                        break
                    offset += got
                    record.reads += 1
                    record.bytes += got
            finally:
                os.close(file)
        except OSError as error:
            record.explained += 1
            if error.errno not in _EXPLAINED:
                record.wrong.append(f"{path}: {error}")


def _change(written: WrittenSeries, source: Path, stop: threading.Event, record: Record) -> None:
    """Let slides come, change and go, one step after the other."""
    while not stop.is_set():
        for step in ("come", "touch", "cut", "go"):
            for case in _RESTLESS:
                place = source / f"restless-{case}"
                if step == "come":
                    copy(written, case, place)
                elif step == "go":
                    shutil.rmtree(place)
                else:
                    path = sorted(place.iterdir())[0]
                    if step == "touch":
                        os.utime(path)
                    else:
                        os.truncate(path, path.stat().st_size * 2 // 3)
                record.changes += 1
            if stop.wait(_CHANGE_SECONDS) and step != "go":
                break


def _memory(mount: Serving) -> int:
    """Resident bytes of the process that serves, less what its caches say they hold."""
    status = Path(f"/proc/{mount.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    told = json.loads((mount.point / ".dicomfs" / "status.json").read_bytes())
    caches: dict[str, dict[str, int]] = told["caches"]
    return int(found[1]) * 1024 - sum(cache["bytes"] for cache in caches.values())


def main() -> int:
    """Parse the arguments, soak, and judge."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dicomfs-soak-") as folder:
        record = soak(arguments.minutes, Path(folder), arguments.seed)
    print(record)
    for line in record.wrong[:20]:
        print(line, file=sys.stderr)
    grows = arguments.minutes / 60 >= _LEAST_HOURS and record.slope > _MOST_SLOPE
    return int(bool(record.wrong) or grows)


if __name__ == "__main__":
    sys.exit(main())
