"""A mount of DICOM files in a process of its own, under conditions that a test chooses.

The one job: `serving`. Unlike `tests.fuse.mounted` it serves slides, not the test archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicomfs.fuse.process import Process
from dicomfs.source.mount_table import mount_at
from tests.conftest import WrittenSeries
from tests.fuse.mounted import PATIENCE, ROOT, environment, process_of, sweep, wait_for

SUFFIXES = (".svs", ".tif")


@dataclass(frozen=True, slots=True)
class Serving:
    """A mount that answers. log : what its process has written; process : which one that is."""

    source: Path
    point: Path
    log: Path
    process: Process

    def slides(self) -> set[Path]:
        """The virtual TIFFs."""
        # os.walk passes over folders that go while it walks.
        paths = (Path(folder, name) for folder, _, names in os.walk(self.point) for name in names)
        return {path for path in paths if path.suffix in SUFFIXES}

    def slide_uids(self) -> set[str]:
        """The Series Instance UIDs of what is shown."""
        attribute = "user.dicomfs.series_instance_uid"
        return {os.getxattr(path, attribute).decode() for path in self.files() if _told(path)}

    def slide(self) -> Path:
        """The only virtual TIFF."""
        (path,) = self.slides()
        return path

    def files(self) -> list[Path]:
        """All files but those that change by themselves."""
        return sorted(
            Path(folder, name)
            for folder, _, names in os.walk(self.point)
            for name in names
            if ".dicomfs" not in folder
        )


def _told(path: Path) -> bool:
    return "user.dicomfs.series_instance_uid" in os.listxattr(path)


@contextlib.contextmanager
def serving(
    source: Path,
    folder: Path,
    *options: str,
    wrapper: Sequence[str] = (),
    variables: dict[str, str] | None = None,
) -> Iterator[Serving]:
    """Mount in the foreground, possibly inside of another program; it has to end by SIGTERM.

    folder : gets the mountpoint, the log, and everything that is written
    """
    if not os.path.exists("/dev/fuse"):
        pytest.skip("/dev/fuse is missing: NO MOUNT WAS TESTED")
    point, log = folder / "mountpoint", folder / "log"
    point.mkdir(parents=True)
    command = [sys.executable, "-m", "dicomfs", "-v", "mount", "--foreground", *options]
    with log.open("wb") as sink:
        started = subprocess.Popen(
            [*wrapper, *command, "--wait", str(PATIENCE), source, point],
            cwd=ROOT,
            env=environment(folder)
            | {"XDG_CACHE_HOME": os.fspath(folder / "cache")}
            | (variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        wait_for(lambda: started.poll() is not None or b"is shown" in log.read_bytes())
        process = process_of(point)
        assert process is not None, log.read_text()
        yield Serving(source, point, log, process)
        assert process.runs(), log.read_text()
        os.kill(process.pid, signal.SIGTERM)
        assert started.wait(PATIENCE) == 0, log.read_text()
        assert mount_at(point) is None
    finally:
        last = process_of(point)
        if last is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(last.pid, signal.SIGKILL)
        if started.poll() is None:
            started.kill()
        started.wait(PATIENCE)
        sweep(point)


def copy(written: WrittenSeries, case: str, place: Path, name: str = "") -> Path:
    """A copy of a series that a test may damage; with a name it is another series of that name."""
    series = written(case)
    shutil.copytree(series.directory, place)
    if name:
        old, new = series.series_uid.encode(), uid_of(name, series.series_uid).encode()
        for path in place.iterdir():
            path.write_bytes(path.read_bytes().replace(old, new))
    return place


def uid_of(name: str, like: str) -> str:
    """The Series Instance UID of a copy of that name; as long as another UID."""
    digits = str(int(hashlib.sha256(name.encode()).hexdigest(), 16))
    return like[:6] + digits[: len(like) - 6]
