"""Kernel settings of a mount that make sequential and parallel reads fast.

They are root's to change, or those of the user who mounts; where they cannot be changed the mount
works as well, only slower.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

# At the kernel's 128 KiB a sequential read is half as fast.
_READ_AHEAD_KB = 1024

# At the kernel's 12 a dozen stalled read-aheads stop all the others.
_MAX_BACKGROUND = 128
_CONGESTION_THRESHOLD = 96

# asm-generic/unistd.h and linux/mount.h; the numbers are those of all architectures but Alpha.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOSE_ON_EXEC = 1
_CREATE = 6


def tune(device: tuple[int, int], sys: Path = Path("/sys")) -> list[str]:
    """Raise the settings of the FUSE mount with that device number; never lower one.

    Returns a line for each setting: what it is now, or why it could not be changed.
    """
    major, minor = device
    lines = [_raise(sys / f"class/bdi/{major}:{minor}/read_ahead_kb", _READ_AHEAD_KB)]
    with _connections(sys / "fs/fuse/connections") as connections:
        settings = connections / str(minor)
        lines.append(_raise(settings / "max_background", _MAX_BACKGROUND))
        lines.append(_raise(settings / "congestion_threshold", _CONGESTION_THRESHOLD))
    return lines


def settings(device: tuple[int, int], sys: Path = Path("/sys")) -> dict[str, tuple[int, int]]:
    """What is set for the FUSE mount with that device number, and what would be fast, by name.

    What cannot be read is left out.
    """
    major, minor = device
    found: dict[str, tuple[int, int]] = {}
    with _connections(sys / "fs/fuse/connections") as connections:
        for setting, wanted in (
            (sys / f"class/bdi/{major}:{minor}/read_ahead_kb", _READ_AHEAD_KB),
            (connections / str(minor) / "max_background", _MAX_BACKGROUND),
        ):
            with contextlib.suppress(OSError, ValueError):
                found[setting.name] = int(setting.read_text()), wanted
    return found


def _raise(setting: Path, value: int) -> str:
    try:
        current = int(setting.read_text())
        if current >= value:
            return f"{setting.name} is {current}"
        setting.write_text(f"{value}\n")
    except (OSError, ValueError) as error:
        return f"{setting.name} was left alone: {error}"
    return f"{setting.name} raised from {current} to {value}"


@contextlib.contextmanager
def _connections(usual: Path) -> Iterator[Path]:
    """The control filesystem of FUSE (fusectl), which containers as a rule have not mounted."""
    with contextlib.ExitStack() as opened:
        if not os.access(usual, os.R_OK) or not any(usual.iterdir()):
            detached = _fusectl(opened)
            if detached is not None:
                usual = Path("/proc/self/fd", str(detached))
        yield usual


def _fusectl(opened: contextlib.ExitStack) -> int | None:
    """A mount of fusectl that is attached nowhere and goes with its descriptor; None if that is not
    permitted, or not known to the kernel (before 5.2)."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    context = syscall(_FSOPEN, b"fusectl", _CLOSE_ON_EXEC)
    if context < 0:
        return None
    opened.callback(os.close, context)
    if syscall(_FSCONFIG, context, _CREATE, None, None, 0) < 0:
        return None
    mount = syscall(_FSMOUNT, context, _CLOSE_ON_EXEC, 0)
    if mount < 0:
        return None
    opened.callback(os.close, mount)
    return int(mount)
