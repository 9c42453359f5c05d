"""Starts the command in a process of its own, waits for states with a deadline, leaves no mount."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dicomfs.fuse.process import ATTRIBUTE, Process
from dicomfs.fuse.unmount import unmount
from dicomfs.source.mount_table import mount_at

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.fuse.mount_fixture"]
PATIENCE = 30.0


@dataclass(slots=True)
class Mounted:
    """A command in the foreground and what it shows.

    log : file with what it wrote to standard error.
    """

    source: Path
    point: Path
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_mounted(self) -> None:
        """Return when the mount has said that it answers."""
        wait_for(lambda: self.process.poll() is not None or b"is shown" in self.log.read_bytes())
        assert self.process.poll() is None, self.log.read_text()

    def end(self, number: int = signal.SIGTERM, seconds: float = 5.0) -> int:
        """Send a signal and return the exit code, which must come within five seconds."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def wait_for(state: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Poll until `state()` is true; fail after that many seconds."""
    deadline = time.monotonic() + seconds
    while not state():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def environment(folder: Path) -> dict[str, str]:
    """An environment in which nothing is written outside of `folder`."""
    return {**os.environ, "XDG_STATE_HOME": os.fspath(folder / "state"), "HOME": os.fspath(folder)}


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end.  The pipes reach their end only if no daemon keeps them open."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextlib.contextmanager
def started(
    source: Path, folder: Path, *arguments: str, verbosity: str = "-v"
) -> Iterator[Mounted]:
    """`mount --foreground`, which need not be mounted yet; removed in any case."""
    point = folder / "mountpoint"
    point.mkdir(exist_ok=True)
    log = folder / "stderr"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*COMMAND, verbosity, "mount", "--foreground", *arguments, source, point],
            cwd=ROOT,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        yield Mounted(source, point, process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)
        sweep(point)


@contextlib.contextmanager
def mounted(source: Path, folder: Path, *arguments: str) -> Iterator[Mounted]:
    """A mount that answers, and that ends by SIGTERM with exit code 0 and leaves nothing."""
    with started(source, folder, *arguments) as mount:
        mount.wait_until_mounted()
        yield mount
        assert mount.end() == 0, mount.log.read_text()
        assert mount_at(mount.point) is None


@contextlib.contextmanager
def daemon(source: Path, folder: Path, *arguments: str) -> Iterator[Path]:
    """`mount` in the background; ended and removed in any case."""
    point = folder / "mountpoint"
    point.mkdir(exist_ok=True)
    try:
        done = run(folder, "mount", *arguments, source, point)
        assert done.returncode == 0, done.stderr
        yield point
    finally:
        process = process_of(point)
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
        sweep(point)


def process_of(point: Path) -> Process | None:
    """The process that serves a mount."""
    try:
        return Process.parse(os.getxattr(point, ATTRIBUTE))
    except OSError:
        return None


def sweep(point: Path) -> None:
    """Remove what is mounted at a directory, dead or alive."""
    while mount_at(point) is not None:
        unmount(point, lazy=True)


def reader_process(path: Path) -> subprocess.Popen[bytes]:
    """A process that opens a file, says so, reads it once, and answers with the errno or "read"."""
    program = (
        "import os, sys\n"
        "file = os.open(sys.argv[1], os.O_RDONLY)\n"
        "print('open', flush=True)\n"
        "try:\n"
        "    os.pread(file, 100, 0)\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
        "else:\n"
        "    print('read')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process
