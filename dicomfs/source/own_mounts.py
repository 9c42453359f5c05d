"""Mounts of dicomfs that show up inside of a source, by a bind mount for example.

They are never looked into: what they show comes from slides, and the one that asks may be the one
that has to answer.  Reads the table of mounts, which asks no file system anything.
"""

from __future__ import annotations

import os

from dicomfs.source.mount_table import Mount, mounts

KIND = "fuse.dicomfs"
"""What the table of mounts has as the type of ours."""


def is_ours(device: int) -> bool:
    """Whether the file system with this number (st_dev) is a mount of dicomfs."""
    return any(os.makedev(*mount.device) == device for mount in _ours())


def ours_below(root: str) -> bool:
    """Whether a mount of dicomfs lies below a directory (absolute path without links)."""
    prefix = root.rstrip("/") + "/"
    return any(mount.mountpoint.startswith(prefix) for mount in _ours())


def _ours() -> list[Mount]:
    try:
        return [mount for mount in mounts() if mount.kind == KIND]
    except OSError:  # a system without such a table
        return []
