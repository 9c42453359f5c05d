"""Files whose bytes are made anew whenever somebody opens them.

Must not know what is in them.
"""

from __future__ import annotations

from collections.abc import Callable

from dicomfs.errors import DicomfsError
from dicomfs.reading.virtual_file import VirtualFile, literal_file

_UNIT = 256
_ROOM = 384
"""Bytes by which the content may grow at least."""


class LiveFile:
    """A content that tells of the present, and whose size is right all the same: blanks fill it up,
    which JSON may end with.

    make : gives the bytes; called by any thread that opens the file
    """

    __slots__ = ("_make", "size")

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self.size = -(-(len(make()) + _ROOM) // _UNIT) * _UNIT
        """Bytes of the file, always the same."""

    def fetch(self) -> VirtualFile:
        """The content as it is now."""
        data = self._make().rstrip(b"\n")
        if len(data) >= self.size:
            raise DicomfsError(
                f"a live file has {len(data)} bytes where there is room for {self.size}"
            )
        return literal_file(data.ljust(self.size - 1) + b"\n")
