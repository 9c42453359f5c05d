"""Removing a mount, and waiting until the process behind it has ended.

Needs no pyfuse3, and asks the mounted filesystem nothing that could block for ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from dicomfs.errors import MountError
from dicomfs.fuse.prerequisites import fusermount
from dicomfs.fuse.process import ATTRIBUTE, Process
from dicomfs.source.mount_table import mount_at
from dicomfs.source.own_mounts import KIND

_ANSWER_SECONDS = 2.0
_END_SECONDS = 10.0

# linux/fs.h
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

_SHOWN_HOLDERS = 5


def locate(path: Path) -> Path:
    """The absolute path without symbolic links; a mount at that very path is not touched."""
    parent = Path(os.path.realpath(path.absolute().parent))
    if path.name not in ("", "..") and mount_at(parent / path.name):
        return parent / path.name
    return Path(os.path.realpath(path))


def end(path: Path, lazy: bool = False, seconds: float = _END_SECONDS) -> Process | None:
    """Unmount what dicomfs shows at `path` and wait for the process behind it.

    lazy : detach the mount even if files are open; the process serves these until they are closed.
    seconds : how long to wait for the process.

    Returns the process if it still serves open files, else None.  Raises MountError.
    """
    mountpoint = locate(path)
    mount = mount_at(mountpoint)
    if mount is None:
        raise MountError(f"nothing is mounted at {path}")
    if mount.kind != KIND:
        raise MountError(f"{path} is a mount of {mount.kind}, not of dicomfs")
    process = _ask(mountpoint)
    unmount(mountpoint, lazy)
    if process is None or process.wait(seconds):
        return None
    if lazy:
        return process
    raise MountError(
        f"{path} is unmounted, but process {process.pid} has not ended within {seconds:g} s"
    )


def _ask(mountpoint: Path) -> Process | None:
    """The process that serves a mount; None if it is dead, does not answer or is another user's."""
    answers: list[bytes] = []

    def ask() -> None:
        with contextlib.suppress(OSError):
            answers.append(os.getxattr(mountpoint, ATTRIBUTE))

    # In a thread that is left behind if need be: a stopped process would stop us as well.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    return Process.parse(answers[0]) if answers else None


def unmount(mountpoint: Path, lazy: bool = False) -> None:
    """Remove the uppermost mount at exactly that absolute path; raise MountError if it stays."""
    reason = _system_unmount(mountpoint, lazy) if os.geteuid() == 0 else _helped(mountpoint, lazy)
    if not reason:
        return
    if os.strerror(errno.EBUSY).lower() not in reason.lower():
        raise MountError(f"{mountpoint} could not be unmounted: {reason}")
    users = list(holders(mountpoint))
    shown = ", ".join(users[:_SHOWN_HOLDERS]) + (", …" if len(users) > _SHOWN_HOLDERS else "")
    raise MountError(
        f"{mountpoint} is in use{' by ' + shown if users else ''}: close what is open there, or "
        f"detach it with `dicomfs unmount --lazy {shlex.quote(os.fspath(mountpoint))}`"
    )


def _system_unmount(mountpoint: Path, lazy: bool) -> str:
    """Unmount with umount2(2); returns why it failed, or ""."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    if libc.umount2(os.fsencode(mountpoint), flags) == 0:
        return ""
    return os.strerror(ctypes.get_errno())


def _helped(mountpoint: Path, lazy: bool) -> str:
    """Unmount with fusermount3(1), which may do it for users; returns why it failed, or ""."""
    program = fusermount()
    if program is None:
        return "fusermount3 is missing, install the system package fuse3"
    command = [program, "-u", *(["-z"] if lazy else []), "--", os.fspath(mountpoint)]
    done = subprocess.run(
        command, env={**os.environ, "LC_ALL": "C"}, stderr=subprocess.PIPE, check=False
    )
    if done.returncode == 0:
        return ""
    return done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"


def holders(mountpoint: Path) -> Iterator[str]:
    """Name and id of each process that has something open below the mountpoint, as far as /proc
    tells this user: working directories, open files, mappings."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's
                if _holds(entry, os.fspath(mountpoint)):
                    yield f"{(entry / 'comm').read_text(errors='replace').strip()} ({entry.name})"


def _holds(process: Path, mountpoint: str) -> bool:
    # Links are read, not followed: that would ask the mount.
    for link in (process / "cwd", process / "root", *(process / "fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):
            if _is_below(os.readlink(link), mountpoint):
                return True
    for line in (process / "maps").read_bytes().splitlines():
        fields = os.fsdecode(line).split(None, 5)
        if len(fields) == 6 and _is_below(fields[5], mountpoint):
            return True
    return False


def _is_below(path: str, mountpoint: str) -> bool:
    return path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")
