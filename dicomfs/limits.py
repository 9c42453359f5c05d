"""Every bound of dicomfs in one place.

Each value is checked against before anything is allocated or looped over, so that no file, however
hostile, can make the program use more than is written here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is read, kept and waited for.  Sizes are in bytes, times in seconds."""

    header_bytes: int = 32 * MIB
    """Data set before Pixel Data, without the per-frame functional groups."""

    deflated_header_bytes: int = 24 * MIB
    """Data set before Pixel Data of an object that is deflated as a whole, with those groups."""

    per_frame_bytes: int = 2048 * MIB
    """Value of the Per-Frame Functional Groups Sequence (5200,9230)."""

    inflated_bytes: int = 4096 * MIB + 64 * MIB
    """A deflated data set once inflated; native pixel data ends at 2**32 - 2 bytes (PS3.5 A.1)."""

    elements: int = 100_000
    """Data elements at the top level of a data set."""

    sequence_depth: int = 32
    """Nesting of sequences."""

    frames: int = 16_000_000
    """Number of Frames (0028,0008) of one instance."""

    missing_frames: int = 65_536
    """Frames that an instance may declare beyond those that its pixel data has room for."""

    empty_tiles: int = 262_144
    """Tiles of a level that may be without a frame, besides 256 for each frame that there is."""

    fragments: int = 32_000_000
    """Items in one encapsulated Pixel Data element."""

    tile_pixels: int = 16 * 1024 * 1024
    """Rows times Columns of a frame that has to be decoded."""

    codestream_tiles: int = 1024
    """Tiles within one JPEG 2000 frame; each costs a decoder kilobytes, however small it is."""

    matrix_side: int = 2**31 - 1
    """Total Pixel Matrix Rows or Columns (both are UL, readers use signed 32 bit)."""

    codestream_prefix: int = 1 * MIB
    """How far into a frame its markers are looked for."""

    open_files: int = 128
    """Source files that are held open at once."""

    read_deadline: float = 30.0
    """How long a read may wait for the source before the reader gets EIO."""

    resolved_bytes: int = 256 * MIB
    """Cache of extent tables whose tile offsets are filled in."""

    decoded_bytes: int = 256 * MIB
    """Cache of decoded tiles."""

    decoders: int = max(2, min(8, os.cpu_count() or 2))
    """Frames that are decoded at the same time: codecs keep a core busy each."""


DEFAULT_LIMITS = Limits()
