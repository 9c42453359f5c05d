"""The mounts that this process sees, read from /proc/self/mountinfo (proc_pid_mountinfo(5)).

Reading the table asks no filesystem anything, so it works while a mount hangs or is dead.
Must not know dicomfs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the table.

    device : major and minor number, those of `st_dev` of everything in the mount.
    kind : type of the filesystem, such as `ext4` or `fuse.dicomfs`.
    """

    device: tuple[int, int]
    mountpoint: str
    kind: str
    source: str


def parse(lines: Iterable[bytes]) -> list[Mount]:
    """The mounts in the order of the table, in which a later one hides an earlier one."""
    found = []
    for line in lines:
        # 36 35 98:0 /root /mountpoint rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        fields, _, rest = line.partition(b" - ")
        _, _, device, _, mountpoint = fields.split(b" ")[:5]
        kind, source = rest.rstrip(b"\n").split(b" ")[:2]
        major, minor = device.split(b":")
        found.append(Mount((int(major), int(minor)), _text(mountpoint), _text(kind), _text(source)))
    return found


def _text(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field))


def mounts() -> list[Mount]:
    """All mounts that are visible to this process."""
    return parse(_TABLE.read_bytes().splitlines())


def mount_at(mountpoint: Path) -> Mount | None:
    """The uppermost mount at exactly this absolute path, without symbolic links."""
    return next((m for m in reversed(mounts()) if m.mountpoint == os.fspath(mountpoint)), None)
