"""Which reads of a file can be tried without waiting for its medium.

`preadv` with RWF_NOWAIT takes what is in the page cache and fails where it would have to wait, so
it may be called on an event loop.  ext4, xfs and btrfs know it.  tmpfs and ramfs don't, but hold
nothing that would have to be waited for, so there a plain `preadv` does the same.  overlayfs, NFS,
CIFS and FUSE file systems don't either: a read of theirs may ask a server even for what is cached,
so they are read in threads only.  That costs a hop to a thread and back for every read, ten to a
hundred times a warm `preadv`; no cheaper way is safe.
"""

from __future__ import annotations

import os
from typing import Final

from dicomfs.source.mount_table import mounts

_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def inline_flags(fd: int, device: int) -> int | None:
    """Flags for a `preadv` that never waits on files like this one; None where there are none.

    fd : an open file, of which one byte may be read
    device : number of its file system (st_dev)
    """
    if not _NOWAIT:
        return None
    try:
        os.preadv(fd, [bytearray(1)], 0, _NOWAIT)
    except BlockingIOError:
        return _NOWAIT
    except OSError:
        return 0 if file_system_type(device) in _IN_MEMORY else None
    return _NOWAIT


def file_system_type(device: int) -> str | None:
    """The type of the mounted file system with this number (st_dev), None where it isn't known."""
    try:
        return next((m.kind for m in mounts() if os.makedev(*m.device) == device), None)
    except OSError:  # a system without such a table
        return None
