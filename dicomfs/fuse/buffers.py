"""Buffers that the answers to reads are put together in.

Must not know what is read.
"""

from __future__ import annotations

LARGEST = 1024 * 1024
"""Bytes of a buffer, and of the largest read that the kernel sends (256 pages)."""

_MOST_IDLE = 16
_LOOK_EVERY = 1024  # buffers given back


class BufferPool:
    """Buffers for reads; a fresh megabyte for every read costs more than the read itself.

    Keeps a few idle ones, of which those are freed that nobody has needed for a while: a moment
    with many reads at once does not cost memory for as long as the mount lives.  Not for two
    threads at once.
    """

    def __init__(self) -> None:
        self._idle: list[bytearray] = []
        self._spare = 0  # of the idle ones, those that were idle all the time
        self._until_look = _LOOK_EVERY

    def __len__(self) -> int:
        """How many buffers are idle."""
        return len(self._idle)

    def take(self, size: int) -> bytearray:
        """A buffer of at least `size` bytes, with anything in it."""
        if size > LARGEST:
            return bytearray(size)
        if not self._idle:
            return bytearray(LARGEST)
        buffer = self._idle.pop()
        if len(self._idle) < self._spare:
            self._spare = len(self._idle)
        return buffer

    def give_back(self, buffer: bytearray) -> None:
        """Let the next read have the buffer."""
        if len(buffer) == LARGEST and len(self._idle) < _MOST_IDLE:
            self._idle.append(buffer)
        self._until_look -= 1
        if not self._until_look:
            # The one that was given back last is taken first, so the first ones are the spare ones.
            del self._idle[: self._spare]
            self._spare = len(self._idle)
            self._until_look = _LOOK_EVERY
