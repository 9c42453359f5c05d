"""Turns what the operating system says about a source file into an error of dicomfs.

An OSError must not leave this package: it would not say which file it is about, and one that
reaches a FUSE handler ends the mount.
"""

from __future__ import annotations

import errno
import os

from dicomfs.errors import SourceChangedError, SourceError
from dicomfs.source.protocol import printable

OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
"""No file descriptor is left, in this process or in the whole system."""

# ENOTDIR and ELOOP: a part of the path has become a file or a symbolic link; links are not
# followed.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})

_SENTENCES = {
    errno.EACCES: "may not be read by this user",
    errno.EPERM: "may not be read by this user",
    errno.EIO: "could not be read: the medium reports an error",
    errno.EMFILE: "could not be opened: this process has too many open files",
    errno.ENFILE: "could not be opened: the system has too many open files",
    errno.ETIMEDOUT: "could not be read: its server does not answer",
    errno.ENOTCONN: "could not be read: its file system is not connected",
}


def gone(key: str) -> SourceChangedError:
    """The error for an object that is not there any more."""
    return SourceChangedError(f"{printable(key)} is no longer there")


def changed(key: str) -> SourceChangedError:
    """The error for an object whose identity is not the catalogued one."""
    return SourceChangedError(f"{printable(key)} has changed since it was catalogued")


def source_error(error: OSError, key: str) -> SourceError:
    """The error to raise in place of `error`, which came up when the object `key` was used."""
    number = error.errno or 0
    if number in _GONE:
        return gone(key)
    what = _SENTENCES.get(number) or f"could not be read: {os.strerror(number)}"
    return SourceError(f"{printable(key) or 'the source'} {what}")
