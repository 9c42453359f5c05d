"""Drives a sans-IO parser (`dicomfs.dicom.steps`) on an open file.

Every answer is exact: a `Range` is cut only where the object ends, a `Gather` never.  What the
bytes mean is the parser's business.
"""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from dicomfs.dicom.steps import Range, Steps
from dicomfs.errors import ShortReadError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

T = TypeVar("T")

_NEAR = 4096
"""Positions at most this many bytes apart are read together: the kernel reads pages anyway."""

_SPAN = 1024 * 1024
"""Bytes that are read together at most."""

_BATCH = 256
"""Positions that are read one by one before we look whether the medium is slow."""

_SLOW = 20e-6
"""Seconds that a small read takes at most where the page cache has it."""


def drive(steps: Steps[T], fd: int, size: int) -> T:
    """Run a parser to its end on the open file `fd`, an object of `size` bytes.

    Raises what the parser raises; ShortReadError where the file has fewer than `size` bytes or the
    parser wants bytes outside it; OSError.
    """
    try:
        want = next(steps)
        while True:
            if isinstance(want, Range):
                length = min(want.size, size - want.offset)
                answer = read_exactly(fd, want.offset, length) if length > 0 else b""
            else:
                answer = gather(fd, want.offsets, want.size, size)
            want = steps.send(answer)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def read_exactly(fd: int, offset: int, size: int) -> bytes:
    """The bytes offset..offset+size of a file.  Raises ShortReadError where it ends before."""
    if offset < 0:
        raise ShortReadError(f"cannot read {size} bytes at offset {offset}")
    data = os.pread(fd, size, offset)
    if len(data) == size:
        return data
    parts = [data]
    while data:
        size -= len(data)
        if not size:
            return b"".join(parts)
        offset += len(data)
        data = os.pread(fd, size, offset)
        parts.append(data)
    raise ShortReadError(f"the file ends {size} bytes too early")


def gather(fd: int, offsets: npt.NDArray[np.int64], size: int, object_size: int) -> bytes:
    """`size` bytes from each of `offsets` (int64, shape (n,)), one behind the other.

    Raises ShortReadError where one of them lies outside the object.
    """
    if not len(offsets) or not size:
        return b""
    if int(offsets.min()) < 0 or size < 0 or int(offsets.max()) > object_size - size:
        raise ShortReadError(f"some of {len(offsets)} positions lie outside the file")
    import numpy as np  # here, because a mount answers sooner without it

    gaps = np.diff(offsets)
    near = (gaps >= 0) & (gaps <= _NEAR)
    if 2 * np.count_nonzero(near) > len(offsets):
        return _gather_spans(fd, offsets, size, near)
    return _gather_singly(fd, offsets, size)


def _gather_singly(fd: int, offsets: npt.NDArray[np.int64], size: int) -> bytes:
    """Positions far apart: one small read each, announced to the kernel where it is slow."""
    pread = os.pread
    parts: list[bytes] = []
    remaining = iter(offsets.tolist())
    slow = False
    while batch := list(islice(remaining, _BATCH)):
        if slow:
            _announce(fd, batch, size)
        started = time.perf_counter()
        data = b"".join([pread(fd, size, at) for at in batch])
        slow = time.perf_counter() - started > _SLOW * len(batch)
        if len(data) != size * len(batch):
            data = b"".join([read_exactly(fd, at, size) for at in batch])
        parts.append(data)
    return b"".join(parts)


def _announce(fd: int, offsets: list[int], size: int) -> None:
    """Let the kernel fetch all these places at once instead of one when we get there."""
    if hasattr(os, "posix_fadvise"):
        for at in offsets:
            os.posix_fadvise(fd, at, size, os.POSIX_FADV_WILLNEED)


def _gather_spans(
    fd: int, offsets: npt.NDArray[np.int64], size: int, near: npt.NDArray[np.bool_]
) -> bytes:
    """Positions close together: read what they span, and pick them out."""
    import numpy as np

    most = max(1, _SPAN // (_NEAR + size))
    parts: list[bytes] = []
    first = 0
    for end in [*(np.flatnonzero(~near) + 1).tolist(), len(offsets)]:
        for start in range(first, end, most):
            some = offsets[start : min(start + most, end)]
            base = int(some[0])
            span = np.frombuffer(read_exactly(fd, base, int(some[-1]) + size - base), np.uint8)
            if len(some) == 1:
                parts.append(span.tobytes())
            else:
                windows = np.lib.stride_tricks.sliding_window_view(span, size)
                parts.append(windows[some - base].tobytes())
        first = end
    return b"".join(parts)
