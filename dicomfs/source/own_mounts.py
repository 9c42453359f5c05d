"""Mounts of dicomfs that show up inside of a source, by a bind mount for example.

They are never looked into: what they show comes from slides, and the one that asks may be the one
that has to answer.  Reads the table of mounts, which asks no file system anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

KIND = "fuse.dicomfs"

_TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def is_ours(device: int) -> bool:
    """Whether the file system with this number (st_dev) is a mount of dicomfs."""
    return any(number == device for number, _ in _ours())


def ours_below(root: str) -> bool:
    """Whether a mount of dicomfs lies below a directory (absolute path without links)."""
    prefix = root.rstrip("/") + "/"
    return any(place.startswith(prefix) for _, place in _ours())


def _ours() -> Iterator[tuple[int, str]]:
    """Number and mountpoint of each mount of dicomfs; nothing where there is no such table."""
    try:
        lines = _TABLE.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        # 36 35 98:0 /root /mountpoint rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        fields, _, rest = line.partition(" - ")
        if rest.split(" ")[0] == KIND:
            device, _, place = fields.split(" ")[2:5]
            major, minor = map(int, device.split(":"))
            raw = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), place)
            yield os.makedev(major, minor), raw
