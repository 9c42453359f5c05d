"""Mounts to be measured, of dicomfs and of its peers, with the same kernel settings for all.

The one job: start a file system as a program of its own, wait until it answers, and take it away
again whatever happens. Knows nothing of what is read from it.
"""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DICOMFS: Final = (sys.executable, "-m", "dicomfs")

PLAIN: Final = "pyfuse3, doing nothing else"
"""What `plain_mount` is called where something is compared with it."""

_PLAIN_PROGRAM: Final = Path(__file__).with_name("plain_filesystem.py")

# Without the bytecode that an installed package has, dicomfs would be compiled at every start.
_SLOWS_IMPORTS: Final = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")

_START_SECONDS: Final = 120.0
_END_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.002


class NotMountedError(Exception):
    """A file system did not start, or would not go."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """A file system that answers. begun: when its program was started, `time.perf_counter`."""

    point: Path
    begun: float

    def find(self, suffix: str) -> Path:
        """The file whose name ends so, as soon as there is one."""
        while True:
            found = next(self.point.rglob(f"*{suffix}"), None)
            if found is not None:
                return found
            if time.perf_counter() - self.begun > _START_SECONDS:
                raise NotMountedError(f"there is no *{suffix} in {self.point}")
            time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def dicomfs_mount(
    source: Path,
    flavours: Sequence[str] = (),
    memory: Path | None = None,
    more: Sequence[str] = (),
) -> Iterator[Mount]:
    """Mount a folder of DICOM files.

    more: further arguments of the command.

    memory: a folder in which dicomfs finds what it knows from an earlier mount; None for a mount
      that knows nothing and whose knowledge is thrown away.
    """
    options = [option for flavour in flavours for option in ("--flavour", flavour)]
    command = [*DICOMFS, "mount", "--foreground", *options, *more, os.fspath(source)]
    with _mounted(command, b"is shown", memory) as mount:
        yield mount


@contextlib.contextmanager
def bindfs_mount(source: Path, like: Mount) -> Iterator[Mount]:
    """Mount a folder with bindfs, read-only, with the read-ahead and queues of another mount."""
    command = ["bindfs", "-f", "-r", "--no-allow-other", os.fspath(source)]
    with _mounted(command) as mount:
        _set_like(mount, like)
        yield mount


@contextlib.contextmanager
def plain_mount(source: Path, like: Mount | None = None) -> Iterator[Mount]:
    """Mount a folder with the least file system that pyfuse3 allows for; settings as of another."""
    with _mounted([sys.executable, os.fspath(_PLAIN_PROGRAM), os.fspath(source)]) as mount:
        if like is not None:
            _set_like(mount, like)
        yield mount


def _set_like(mount: Mount, other: Mount) -> None:
    for ours, theirs in zip(_settings(other.point), _settings(mount.point), strict=True):
        with contextlib.suppress(OSError):
            theirs.write_text(ours.read_text())


def read_ahead_kib(mount: Mount) -> int:
    """The read-ahead of a mount, in KiB; 0 where the system does not tell."""
    try:
        return int(_settings(mount.point)[0].read_text())
    except OSError:
        return 0


def drop_pages(path: Path) -> None:
    """Have the kernel forget what it holds of a file: the next read has to ask the file system."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def environment(home: Path) -> dict[str, str]:
    """An environment in which dicomfs writes nothing outside of `home`."""
    here = os.fspath(home)
    names = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    python_path = os.pathsep.join(
        filter(None, (os.fspath(REPOSITORY), os.environ.get("PYTHONPATH")))
    )
    inherited = {name: value for name, value in os.environ.items() if name not in _SLOWS_IMPORTS}
    return {**inherited, **dict.fromkeys(names, here), "PYTHONPATH": python_path}


@contextlib.contextmanager
def _mounted(
    command: Sequence[str], word: bytes = b"", memory: Path | None = None
) -> Iterator[Mount]:
    """Run `command MOUNTPOINT` until the block ends.

    word: what the program writes to standard error when the mount answers.
    memory: the program's home; None for one that is thrown away.
    """
    home = Path(tempfile.mkdtemp(prefix="mount-"))
    point, log = home / "mountpoint", home / "stderr"
    point.mkdir()
    process: subprocess.Popen[bytes] | None = None
    try:
        with log.open("wb") as sink:
            begun = time.perf_counter()
            process = subprocess.Popen(
                [*command, os.fspath(point)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=environment(home if memory is None else memory),
            )
        while not (mounts_below(point) and word in log.read_bytes()):
            if process.poll() is not None or time.perf_counter() - begun > _START_SECONDS:
                reason = log.read_text(errors="replace").strip()
                raise NotMountedError(f"{command[0]} did not mount {command[-1]}: {reason}")
            time.sleep(_POLL_SECONDS)
        yield Mount(point, begun)
    finally:
        if process is not None:
            _end(process, point)
        shutil.rmtree(home, ignore_errors=True)


def _end(process: subprocess.Popen[bytes], point: Path) -> None:
    """Unmount, end the program, and make sure of both."""
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if mounts_below(point):
        tool = "fusermount3" if shutil.which("fusermount3") else "fusermount"
        subprocess.run([tool, "-u", "-z", os.fspath(point)], check=False)
    if mounts_below(point):
        # Never delete through a mount.
        raise NotMountedError(f"{point} is still mounted; unmount and delete it by hand")


def mounts_below(folder: Path) -> list[str]:
    """Where anything is mounted in a folder, be it dead or alive (proc_pid_mountinfo(5))."""
    path = os.fspath(folder)
    for character in "\\ \t\n":
        path = path.replace(character, f"\\{ord(character):03o}")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        points = [line.split(" ", 5)[4] for line in mounts]
    return [point for point in points if point == path or point.startswith(f"{path}/")]


def _settings(point: Path) -> tuple[Path, Path, Path]:
    """The kernel settings of a FUSE mount that decide how fast it is."""
    device = point.stat().st_dev
    connection = Path("/sys/fs/fuse/connections", str(os.minor(device)))
    return (
        Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"),
        connection / "max_background",
        connection / "congestion_threshold",
    )
