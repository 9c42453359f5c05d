"""Lists the regular files below a directory.

Every file is listed once, under its path without symbolic links.  A link that stays inside the root
is therefore left out without a word, as what it leads to is listed where it lies; one that leaves
the root is not followed and reported.  What cannot be read is reported, not raised: one locked
folder does not hide the others.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dicomfs.source.beneath import folder_of, open_folder
from dicomfs.source.oserrors import source_error
from dicomfs.source.own_mounts import is_ours
from dicomfs.source.protocol import Identity, Problem, SourceObject, printable

Report = Callable[[Problem], None]

DEEPEST = 128
"""Folders within folders that are looked into; the way to each is walked from the root."""


class _Entry(NamedTuple):
    key: str
    identity: Identity | None  # None: a folder


_Seen = dict[int, set[int]]
"""The folders that were listed: by file system (st_dev), their inode numbers."""


def identity_of(state: os.stat_result) -> Identity:
    """The identity of a file with this status."""
    return Identity(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)


def has_identity(state: os.stat_result, identity: Identity) -> bool:
    """Whether `identity_of(state) == identity`; makes none, as it is asked after every read."""
    return (
        state.st_mtime_ns == identity.mtime_ns
        and state.st_size == identity.size
        and state.st_ino == identity.inode
        and state.st_dev == identity.device
    )


def list_files(
    root: str, exclude: str | None, report: Report, below: str = ""
) -> Iterator[SourceObject]:
    """All regular files below `root`, sorted by name in each folder.

    root : absolute path without symbolic links
    exclude : key of a folder that is left out and not even looked at
    report : is told what could not be listed
    below : key of a file or folder to which the listing is limited; nothing where it is gone

    Raises SourceError where the root itself cannot be listed: an empty answer would say that all
    its files are gone.
    """
    seen: _Seen = {}
    try:
        if below:
            stack = [iter(_one(root, below, exclude))]
        else:
            stack = [iter(_folder(root, "", exclude, seen, report))]
    except OSError as error:
        if below and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return
        raise source_error(error, root) from error
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif entry.identity is not None:
            yield SourceObject(entry.key, entry.identity)
        elif len(stack) > DEEPEST:
            message = f"{printable(entry.key)} lies too deep: not looked into"
            report(Problem(entry.key, message, leads_out=True))
        else:
            try:
                stack.append(iter(_folder(root, entry.key, exclude, seen, report)))
            except OSError as error:
                _report(report, entry.key, error)


def _one(root: str, key: str, exclude: str | None) -> list[_Entry]:
    """A file or folder as if it had been found in the folder that holds it."""
    if exclude is not None and (key == exclude or key.startswith(f"{exclude}/")):
        return []
    with folder_of(root, key) as (folder, name):
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(state.st_mode):
        return [_Entry(key, None)]
    return [_Entry(key, identity_of(state))] if stat.S_ISREG(state.st_mode) else []


def _folder(root: str, key: str, exclude: str | None, seen: _Seen, report: Report) -> list[_Entry]:
    """What one folder holds; nothing if it was seen before, as bind mounts can make loops, nor if
    it is a mount of dicomfs."""
    fd = open_folder(root, key)
    try:
        state = os.fstat(fd)
        if state.st_ino in seen.get(state.st_dev, ()):
            return []
        if key and state.st_dev not in seen and is_ours(state.st_dev):
            report(Problem(key, f"{printable(key)} is a mount of dicomfs: not looked into"))
            return []
        seen.setdefault(state.st_dev, set()).add(state.st_ino)
        with os.scandir(fd) as scan:
            items = sorted(scan, key=lambda item: item.name)
        prefix = f"{key}/" if key else ""
        entries = (_entry(root, fd, prefix + item.name, item, exclude, report) for item in items)
        return [entry for entry in entries if entry is not None]
    finally:
        os.close(fd)


def _entry(
    root: str, folder: int, key: str, item: os.DirEntry[str], exclude: str | None, report: Report
) -> _Entry | None:
    # The excluded folder is our own mountpoint: to ask for its status would be to ask ourselves.
    if key == exclude:
        return None
    try:
        if item.is_symlink():
            _judge_link(root, key, item, report)
        elif item.is_dir(follow_symlinks=False):
            return _Entry(key, None)
        elif item.is_file(follow_symlinks=False):
            # Not `item.stat`, which holds up all threads until the file system has answered.
            state = os.stat(item.name, dir_fd=folder, follow_symlinks=False)
            return _Entry(key, identity_of(state))
    except OSError as error:
        _report(report, key, error)
    return None


def _judge_link(root: str, key: str, item: os.DirEntry[str], report: Report) -> None:
    target = os.path.realpath(os.path.join(root, key))
    if target != root and not target.startswith(root.rstrip("/") + "/"):
        message = f"{printable(key)} is a link that leaves the source: not followed"
        report(Problem(key, message, leads_out=item.is_dir()))


def _report(report: Report, key: str, error: OSError) -> None:
    if error.errno != errno.ENOENT:  # what is gone since its folder was listed is no problem
        report(Problem(key, str(source_error(error, key))))
