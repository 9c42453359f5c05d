"""Sans-IO parsing: a parser is a generator that yields what it wants to read and is sent the bytes.

The parsers of this package never open a file.  They yield a `Range` or a `Gather`, somebody else
(`dicomfs.source`) reads those bytes from wherever they lie and sends them in, and the parser's
return value is its result.  `Window` gives a parser a comfortable view of the part of the object
it is working on; `run_on_bytes` drives a parser on an object that is already in memory.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

T = TypeVar("T")


class Range(NamedTuple):
    """Wants `size` bytes from `offset` (bytes from the start of the object).

    The answer is shorter only where the object ends.
    """

    offset: int
    size: int


class Gather(NamedTuple):
    """Wants `size` bytes from each of `offsets` (int64, shape (n,)); all lie inside the object.

    The answer is one bytes object of n * size bytes, in the order of the offsets.
    """

    offsets: npt.NDArray[np.int64]
    size: int


Steps: TypeAlias = Generator[Range | Gather, bytes, T]


def run_on_bytes(steps: Steps[T], data: bytes | bytearray | memoryview) -> T:
    """Drive a parser on an object that lies in memory."""
    view = memoryview(data)
    answer: bytes | None = None
    try:
        while True:
            want = next(steps) if answer is None else steps.send(answer)
            if isinstance(want, Range):
                answer = bytes(view[want.offset : want.offset + want.size])
            else:
                size = want.size
                answer = b"".join(bytes(view[at : at + size]) for at in want.offsets.tolist())
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


class Window:
    """The part of an object that a parser has at hand, moved forward as it reads on.

    `data` holds the bytes from `base` (bytes from the start of the object) on.  Small wants are
    rounded up to `chunk` bytes, so that walking a header costs a few reads and not one an element.
    """

    def __init__(self, object_size: int, chunk: int = 64 * 1024) -> None:
        self.object_size = object_size
        self.chunk = chunk
        self.base = 0
        self.data = b""

    def has(self, offset: int, size: int) -> bool:
        """Whether the bytes offset..offset+size are at hand."""
        return self.base <= offset and offset + size <= self.base + len(self.data)

    def need(self, offset: int, size: int) -> Steps[bool]:
        """Make the bytes offset..offset+size available at `offset - base` in `data`.

        Returns False where the object ends before them.
        """
        if self.has(offset, size):
            return True
        if offset + size > self.object_size:
            return False
        want = min(max(size, self.chunk), self.object_size - offset)
        self.data = yield Range(offset, want)
        self.base = offset
        return len(self.data) >= size

    def take(self, offset: int, size: int) -> Steps[bytes | None]:
        """The bytes offset..offset+size, or None where the object ends before them."""
        if not (yield from self.need(offset, size)):
            return None
        at = offset - self.base
        return self.data[at : at + size]
