"""Folders and files that are their owner's alone: copies of data sets, indexes and logs tell of
patients as much as their sources do.

Knows nothing of what is in them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a directory that only its owner may enter, and with it those that lack on the way to it.

    What is there stays as it is.  Raises OSError.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():  # somebody else may have made it meanwhile
            raise


def make_file(path: Path) -> None:
    """Make an empty file that only its owner may read.  Raises OSError."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def keep_to_owner(path: Path) -> None:
    """Take the rights of others to a file away, where it is ours."""
    with suppress(OSError):
        mode = path.stat().st_mode & 0o7777
        if mode & 0o077:
            path.chmod(mode & 0o700)
