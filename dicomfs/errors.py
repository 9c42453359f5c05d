"""The one exception tree of dicomfs.

Every class carries the errno that a filesystem request answers with, and says whose fault the
condition is, so that the boundary of the filesystem can translate and log without asking anybody.
This module knows nothing of the rest of the program.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from enum import Enum


class Fault(Enum):
    """Whose fault an error is; decides how loudly it is logged."""

    SOURCE = "source"  # the DICOM files, or the medium they lie on
    USER = "user"  # an argument, an option, a permission
    PROGRAM = "program"  # dicomfs itself


class DicomfsError(Exception):
    """Base of all errors that dicomfs raises on purpose.

    `str(error)` is a sentence for a person.  `errno` is what a filesystem request answers.
    """

    errno: int = errno.EIO
    fault: Fault = Fault.PROGRAM


class UsageError(DicomfsError):
    """The user asked for something that cannot be done; the message says what to do instead."""

    errno = errno.EINVAL
    fault = Fault.USER


class MountError(UsageError):
    """The mount could not be made or removed."""


class SourceError(DicomfsError):
    """Bytes of the source could not be had."""

    fault = Fault.SOURCE


class SourceChangedError(SourceError):
    """The source object is no longer the one that was catalogued: replaced, edited or removed."""

    errno = errno.ESTALE


class SourceTimeoutError(SourceError):
    """The source did not answer within the read deadline."""


class ShortReadError(SourceError):
    """The source ended before all the bytes that were asked for."""


class DicomError(DicomfsError):
    """The bytes of a DICOM object cannot be understood."""

    fault = Fault.SOURCE


class NotDicomError(DicomError):
    """The bytes are not a DICOM object at all."""


class MalformedDicomError(DicomError):
    """The bytes are DICOM, but break a rule without which they cannot be read."""


class LimitExceededError(DicomError):
    """The object declares more than `dicomfs.limits.Limits` allows."""


class DeflatedDataSetError(DicomError):
    """The data set is deflated as a whole (PS3.5 A.5): it has to be inflated before it is read.

    `offset` is where the deflate stream starts, `inflated_size` how long the object will be then up
    to the end of its pixel data; both in bytes from the start of the object.
    """

    def __init__(self, offset: int, inflated_size: int) -> None:
        super().__init__("is deflated as a whole")
        self.offset = offset
        self.inflated_size = inflated_size


class RejectedError(DicomfsError):
    """An object or a series is not shown, for a named reason.

    `code` is stable and meant for programs (`"video"`, `"missing-part"`); the message is a sentence
    that a user understands.
    """

    fault = Fault.SOURCE

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DamagedFrameError(DicomfsError):
    """A frame of a slide that otherwise opens is missing or cannot be decoded."""

    fault = Fault.SOURCE


def let_go_of_frames(error: BaseException) -> None:
    """Have an error, and those it came from, no longer hold the frames that they came through.

    Frames hold what was read there, and an error that comes out of a thread of trio is held by its
    frames in turn: without this it stays in memory, with all of that, until somebody looks for
    garbage.  To be called when it has been told of, by whoever does not raise it again.
    """
    for one in _chain(error):
        one.__traceback__ = None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, those in its group, and those that it came from, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += (one.__cause__, one.__context__)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        yield one
