"""Opens paths below a root without ever leaving it.

The path is walked part by part, and no part may be a symbolic link: what is opened lies below the
root even if somebody exchanges a directory for a link while we look.  Links that stay inside the
root lead to files that have a path without links, and that path is the one that is listed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_NO_ATIME = getattr(os, "O_NOATIME", 0)


@contextmanager
def folder_of(root: str, key: str) -> Iterator[tuple[int, str]]:
    """The descriptor of the folder that holds the object `key`, and its name in there.

    Raises OSError; ENOENT for keys that are no clean relative path, ENOTDIR for links on the way.
    """
    *folders, name = key.split("/")
    if "\0" in key or any(part in ("", ".", "..") for part in (*folders, name)):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    folder = os.open(root, _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder, name
    finally:
        os.close(folder)


def open_folder(root: str, key: str) -> int:
    """Open a folder for listing; "" is the root itself.  Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if not key:
        return os.open(root, flags)
    with folder_of(root, key) as (folder, name):
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)


def open_file(folder: int, name: str) -> int:
    """Open a file of an open folder for reading.  Raises OSError; ELOOP for a symbolic link."""
    try:
        return os.open(name, _FILE | _NO_ATIME, dir_fd=folder)
    except PermissionError:
        # Only the owner of a file may ask that its access time is left alone.
        if not _NO_ATIME:
            raise
        return os.open(name, _FILE, dir_fd=folder)
