"""What the system has to have before anything can be mounted, checked with a sentence for each.

Must not know what is mounted, nor where.
"""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path

from dicomfs.errors import MountError

_DEVICE = Path("/dev/fuse")
_CONFIGURATION = Path("/etc/fuse.conf")


def fusermount() -> str | None:
    """The program that mounts and unmounts for users who are not root."""
    return shutil.which("fusermount3") or shutil.which("fusermount")


def check(allow_other: bool = False, auto_unmount: bool = False) -> None:
    """Raise MountError with a sentence on what to install or to ask for, if that is needed."""
    if not _DEVICE.exists():
        raise MountError(
            f"{_DEVICE} is missing: load the kernel module with `sudo modprobe fuse`; "
            "in a container, start it with `--device /dev/fuse --cap-add SYS_ADMIN`"
        )
    root = os.geteuid() == 0
    # Where a mount is to be removed by itself libfuse leaves it to fusermount3 for root, too.
    if (not root or auto_unmount) and shutil.which("fusermount3") is None:
        raise MountError(
            "fusermount3 is missing: install the system package fuse3 "
            "(`sudo apt install fuse3`, `sudo dnf install fuse3`)"
        )
    if not root and allow_other and not others_allowed():
        raise MountError(
            "--allow-other needs a line `user_allow_other` in /etc/fuse.conf; "
            "an administrator can add it"
        )
    try:
        importlib.import_module("pyfuse3")
    except ImportError as error:
        raise MountError(
            f"pyfuse3 cannot be loaded ({error}): install the system packages fuse3 and "
            "libfuse3-3 (Fedora: fuse3-libs), then `pip install pyfuse3`; to build it pip also "
            "needs gcc, pkg-config and libfuse3-dev (Fedora: fuse3-devel)"
        ) from error


def others_allowed() -> bool:
    """Whether users who are not root may let others read their mounts."""
    try:
        lines = _CONFIGURATION.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return "user_allow_other" in map(str.strip, lines)
