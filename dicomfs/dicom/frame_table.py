"""The frame table: where each frame of an instance lies in its file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicomfs.dicom.steps import Range

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fragments:
    """The fragments of those frames that have more than one.

    frames : int64, shape (k,)  frame numbers, 0-based, ascending
    first : int64, shape (k + 1,)  fragments first[i] to first[i+1] belong to frames[i]
    offsets, lengths : int64, shape (m,)  bytes from the start of the object, and bytes
    """

    frames: Int64Array
    first: Int64Array
    offsets: Int64Array
    lengths: Int64Array


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Where each frame of an instance lies in its file, in frame order, 0-based.

    offsets : int64, shape (n,)
        First byte of the frame's first fragment, from the start of the object; -1 where the frame
        is missing.
    lengths : int64, shape (n,)
        Bytes of the frame, all its fragments together; 0 where the frame is missing.
    span_end : int
        Where the last frame ends; pixel data does not go beyond.
    fragments : Fragments or None
        Frames of several fragments.
    method : str
        "native", "EOT", "BOT" or "items".
    problems : tuple of str
        What is wrong with the pixel data, in sentences for people.
    """

    offsets: Int64Array
    lengths: Int64Array
    span_end: int
    fragments: Fragments | None
    method: str
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def nbytes(self) -> int:
        """Memory that the table holds, in bytes."""
        extra = 0
        if self.fragments is not None:
            parts = self.fragments
            extra = parts.first.nbytes + parts.frames.nbytes + 2 * parts.offsets.nbytes
        return self.offsets.nbytes + self.lengths.nbytes + extra

    def ranges(self, frame: int) -> list[Range]:
        """The ranges of the object that make up a frame (0-based); empty where it is missing."""
        if self.offsets[frame] < 0:
            return []
        parts = self.fragments
        if parts is not None:
            at = int(np.searchsorted(parts.frames, frame))
            if at < len(parts.frames) and parts.frames[at] == frame:
                which = slice(int(parts.first[at]), int(parts.first[at + 1]))
                pairs = zip(
                    parts.offsets[which].tolist(), parts.lengths[which].tolist(), strict=True
                )
                return [Range(offset, length) for offset, length in pairs]
        return [Range(int(self.offsets[frame]), int(self.lengths[frame]))]
