"""What a mount finds around it beside FUSE, as findings for `dicomfs doctor`: Python, codecs, the
cache directory, limits of the system, the file system of a source.

Must not know how findings are shown.
"""

from __future__ import annotations

import importlib
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from dicomfs.fuse.system import Finding, State
from dicomfs.limits import DEFAULT_LIMITS, MIB
from dicomfs.source.private import make_folder
from dicomfs.version import __version__

# Codecs of imagecodecs, and what cannot be shown without them.
_CODECS = {
    "JPEG8": "JPEG of 12 bits, lossless JPEG, re-tiled JPEG",
    "JPEG2K": "JPEG 2000 and HTJ2K",
    "JPEGLS": "JPEG-LS",
    "JPEGXL": "JPEG XL",
    "PACKBITS": "RLE",
}

_LITTLE_SPACE = 512 * MIB
_FEW_FILES = 2 * DEFAULT_LIMITS.open_files

# Where the kernel tells of no change that another machine makes, and SQLite's write-ahead log,
# which shares memory between processes, does not work (sqlite.org/wal.html).
_NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ceph",
        "glusterfs",
        "fuse.glusterfs",
        "lustre",
        "beegfs",
        "gpfs",
        "afs",
        "9p",
        "virtiofs",
        "fuse.sshfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.mount-s3",
        "fuse.gcsfuse",
        "fuse.juicefs",
        "ncpfs",
    }
)

_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
_MOST_COUNTED = 300_000
_PATIENCE = 10.0  # seconds for counting


def examine() -> list[Finding]:
    """Findings that have nothing to do with a certain source."""
    return [_python(), _codecs(), *_cache(), _open_files(), _watches(None), _encoding()]


def examine_source(source: Path) -> list[Finding]:
    """Findings about a directory of slides."""
    from dicomfs.archive import cache_directory
    from dicomfs.catalog.store import index_path
    from dicomfs.errors import MountError
    from dicomfs.fuse.mountpoint import check_source

    try:
        root = check_source(source)
    except MountError as error:
        return [Finding("source", State.FAIL, str(error), "Name a directory that can be read.")]
    index = index_path(cache_directory() / "index", root)
    known = f"{index}" if os.path.exists(index) else "none yet; `dicomfs index` makes it"
    return [_source(root), _watches(root), Finding("index", State.OK, known)]


def _python() -> Finding:
    found = f"Python {platform.python_version()}, dicomfs {__version__}"
    for package in ("numpy", "pydicom", "trio"):
        found += f", {package} {metadata.version(package)}"
    return Finding("python", State.OK, found)


def _codecs() -> Finding:
    try:
        imagecodecs = importlib.import_module("imagecodecs")
    except ImportError as error:
        return Finding(
            "codecs",
            State.FAIL,
            f"imagecodecs cannot be loaded: {error}",
            "Reinstall it: `pip install --force-reinstall imagecodecs`.",
        )
    version = f"imagecodecs {metadata.version('imagecodecs')}"
    lacking = [name for name in _CODECS if not getattr(imagecodecs, name).available]
    if lacking:
        return Finding(
            "codecs",
            State.WARN,
            f"{version} lacks {', '.join(lacking)}",
            f"Not readable: {'; '.join(_CODECS[name] for name in lacking)}. The wheel of PyPI has"
            " all of them: `pip install --force-reinstall imagecodecs`.",
        )
    return Finding("codecs", State.OK, f"{version} has {', '.join(_CODECS)}")


def _cache() -> Iterator[Finding]:
    from dicomfs.archive import cache_directory

    folder = cache_directory()
    advice = (
        "Let XDG_CACHE_HOME name a directory that can be written, or give `--index FILE`: without"
        " an index every mount looks at all of its source anew."
    )
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
        free = shutil.disk_usage(folder).free
        status = folder.stat()
    except OSError as error:
        yield Finding("cache", State.WARN, f"{folder} cannot be written: {error.strerror}", advice)
        return
    kind = _kind(status.st_dev)
    found = f"{folder} on {kind}, {free // MIB} MiB free"
    if kind in _NETWORK:
        advice = "The index belongs on a local disk: set XDG_CACHE_HOME, or give `--index FILE`."
        yield Finding("cache", State.WARN, found, advice)
    elif free < _LITTLE_SPACE:
        advice = "Make room: the index and inflated copies of deflated files need it."
        yield Finding("cache", State.WARN, found, advice)
    else:
        yield Finding("cache", State.OK, found)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        yield Finding(
            "privacy",
            State.WARN,
            f"{folder} can be entered by others (mode {status.st_mode & 0o777:03o})",
            f"The index in it is yours alone; `chmod 700 {folder}` hides the names of files, too.",
        )


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} open files are allowed"
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        advice = f"Raise it: `ulimit -n {_FEW_FILES}` or LimitNOFILE= of systemd."
        return Finding("open-files", State.WARN, found, advice)
    return Finding("open-files", State.OK, found)


def _watches(source: Path | None) -> Finding:
    name = "watches"
    try:
        limit = int(_WATCHES.read_text())
    except (OSError, ValueError):
        advice = "Changes of the source are noticed with `--rescan SECONDS` only."
        return Finding(name, State.WARN, "the kernel has no inotify", advice)
    found = f"{limit} folders can be watched for changes"
    if source is None:
        return Finding(name, State.OK, found)
    folders, everything = _folders(source)
    found += f", the source has {folders if everything else f'more than {folders}'}"
    if folders > limit:
        advice = (
            f"`sudo sysctl fs.inotify.max_user_watches={2 * folders}`, and a file in /etc/sysctl.d"
            " to keep it; or mount with `--no-watch --rescan SECONDS`."
        )
        return Finding(f"source-{name}", State.WARN, found, advice)
    return Finding(f"source-{name}", State.OK, found)


def _folders(source: Path) -> tuple[int, bool]:
    """The number of directories, and whether all were counted in the time and up to the bound."""
    count = 0
    end = time.monotonic() + _PATIENCE
    for _ in os.walk(source):
        count += 1
        if count >= _MOST_COUNTED or time.monotonic() > end:
            return count, False
    return count, True


def _encoding() -> Finding:
    encoding = sys.getfilesystemencoding()
    if encoding == "utf-8":
        return Finding("encoding", State.OK, "names of files are UTF-8")
    advice = "Set LANG to a UTF-8 locale such as C.UTF-8: names of source files may be garbled."
    return Finding("encoding", State.WARN, f"names of files are {encoding}", advice)


def _source(root: Path) -> Finding:
    kind = _kind(os.stat(root).st_dev)
    waits = _reads_at_once(root)
    found = f"{root} lies on {kind}"
    if kind in _NETWORK:
        advice = (
            "Mount with `--rescan SECONDS`: a network file system tells of no changes that others"
            " make."
        )
        return Finding("source", State.WARN, found, advice)
    if waits is False:
        advice = (
            "No fault: every read takes a hop to a thread (0.05 to 0.1 ms) since this file system"
            " cannot be asked for what is in memory alone. ext4, xfs, btrfs and tmpfs can."
        )
        return Finding("source", State.OK, found, advice)
    return Finding("source", State.OK, found)


def _reads_at_once(root: Path) -> bool | None:
    """Whether what is in the page cache can be read without a thread; None where there is no file
    to try it with."""
    from dicomfs.source.page_cache import inline_flags

    for folder, _, files in os.walk(root):
        for name in files:
            try:
                fd = os.open(Path(folder, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                if os.fstat(fd).st_size:
                    return inline_flags(fd, os.fstat(fd).st_dev) is not None
            finally:
                os.close(fd)
    return None


def _kind(device: int) -> str:
    from dicomfs.source.page_cache import file_system_type

    return file_system_type(device) or "a file system of unknown type"
