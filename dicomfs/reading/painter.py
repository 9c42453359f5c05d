"""Makes the tiles of a virtual TIFF that no frame can stand for.

A tile of the TIFF is composed of the frames that lie under it: one where the grids are equal,
several where the picture is re-tiled, all of a level for a rendered thumbnail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dicomfs.dicom.frame_table import FrameTable
from dicomfs.errors import DamagedFrameError
from dicomfs.extents import AnyRun
from dicomfs.limits import Limits
from dicomfs.reading.decode import Samples, decode_frame
from dicomfs.reading.virtual_file import SourceRange
from dicomfs.slide.encoding import decide_encoding
from dicomfs.slide.model import Level, Slide, TileGrid, as_array
from dicomfs.tiff.blank import absent_colour
from dicomfs.tiff.picture import Picture


@dataclass(frozen=True, slots=True)
class _Patch:
    """A frame under a tile, and the position of its top left pixel in the level."""

    member: int
    x: int
    y: int
    ranges: tuple[SourceRange, ...]


class PicturePainter:
    """Paints the tiles of pictures; see `dicomfs.reading.virtual_file.TilePainter`.

    pictures : those whose tiles have to be made; the key of a run is that of its picture
    members : the instances of the slide that the virtual file is made of, in the file's order
    tables : their frame tables, by position in `members`
    blank_damaged : leave blank what is missing or cannot be decoded, instead of raising
    """

    def __init__(
        self,
        slide: Slide,
        pictures: Iterable[Picture],
        members: Sequence[int],
        tables: Mapping[int, FrameTable],
        limits: Limits,
        *,
        blank_damaged: bool = False,
    ) -> None:
        self._blank_damaged = blank_damaged
        self._slide = slide
        self._limits = limits
        self._tables = {members[file]: (file, table) for file, table in tables.items()}
        self._pictures = {picture.key: picture for picture in pictures}
        self._grids: dict[int, TileGrid] = {
            key: picture.level.grid(picture.plane)
            for key, picture in self._pictures.items()
            if picture.level.regular
        }
        self._encodings = {member: decide_encoding(slide.instances[member]) for member in members}

    @property
    def nbytes(self) -> int:
        """Memory held for the painting."""
        grids = sum(grid.frames.nbytes + grid.members.nbytes for grid in self._grids.values())
        return grids + sum(table.nbytes for _, table in self._tables.values())

    def inputs(self, run: AnyRun, tile: int) -> Sequence[SourceRange]:
        """The ranges of all fragments of all frames under a tile."""
        return [part for patch in self._patches(run, tile) for part in patch.ranges]

    def paint(self, run: AnyRun, tile: int, chunks: Sequence[bytes]) -> bytes:
        """Decode the frames and put them together."""
        return self.samples(run, tile, chunks).tobytes()

    def samples(self, run: AnyRun, tile: int, chunks: Sequence[bytes]) -> Samples:
        """The samples of a tile, shape (height, width) or (height, width, 3)."""
        picture = self._pictures[run.key]
        left, top, width, height = self._region(picture, tile)
        canvas: Samples | None = None
        remaining = iter(chunks)
        patches = self._patches(run, tile)
        for patch in patches:
            data = b"".join(next(remaining) for _ in patch.ranges)
            header = self._slide.instances[patch.member].header
            encoding = self._encodings[patch.member]
            try:
                samples = decode_frame(data, encoding, header.columns, header.rows, self._limits)
            except DamagedFrameError:
                if not self._blank_damaged:
                    raise
                continue
            x, y = patch.x - left, patch.y - top
            if len(patches) == 1 and not x and not y and samples.shape[:2] == (height, width):
                canvas = samples.astype(_sample_type(picture), copy=False)
                break
            if canvas is None:
                canvas = self._canvas(picture, width, height)
            _paste(canvas, samples, x, y)
        if canvas is None:
            canvas = self._canvas(picture, width, height)
        if picture.rendered:
            canvas = shrink(canvas, picture.width, picture.height)
        return canvas

    def _region(self, picture: Picture, tile: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of a tile, in pixels of the level."""
        if picture.rendered:
            return 0, 0, picture.level.width, picture.level.height
        down, across = divmod(tile, picture.across)
        width, height = picture.tile_width, picture.tile_height
        return across * width, down * height, width, height

    def _patches(self, run: AnyRun, tile: int) -> list[_Patch]:
        """The frames under a tile, those on top last."""
        picture = self._pictures[run.key]
        level = picture.level
        left, top, width, height = self._region(picture, tile)
        if width * height > self._limits.tile_pixels:
            if not picture.rendered:
                raise DamagedFrameError(f"a tile of {width} x {height} pixels is too large to make")
            return []  # a thumbnail of a level without reduced ones stays blank
        right, bottom = min(left + width, level.width), min(top + height, level.height)
        if level.regular:
            return list(self._on_grid(run, level, (left, top, right, bottom)))
        return list(self._off_grid(picture, (left, top, right, bottom)))

    def _on_grid(
        self, run: AnyRun, level: Level, box: tuple[int, int, int, int]
    ) -> Iterator[_Patch]:
        left, top, right, bottom = box
        grid = self._grids[run.key]
        for row in range(top // level.tile_height, -(-bottom // level.tile_height)):
            for column in range(left // level.tile_width, -(-right // level.tile_width)):
                cell = row * level.tiles_across + column
                frame = int(grid.frames[cell])
                if frame >= 0:
                    x, y = column * level.tile_width, row * level.tile_height
                    yield self._patch(int(grid.members[cell]), frame, x, y)

    def _off_grid(self, picture: Picture, box: tuple[int, int, int, int]) -> Iterator[_Patch]:
        left, top, right, bottom = box
        for part in picture.level.planes[picture.plane]:
            assert part.corners is not None
            header = self._slide.instances[part.member].header
            x, y = part.corners[:, 0], part.corners[:, 1]
            under = (x < right) & (x + header.columns > left)
            under &= (y < bottom) & (y + header.rows > top)
            frames = as_array(part.frames)
            for index in np.flatnonzero(under).tolist():
                yield self._patch(part.member, int(frames[index]), int(x[index]), int(y[index]))

    def _patch(self, member: int, frame: int, x: int, y: int) -> _Patch:
        file, table = self._tables[member]
        ranges = tuple(SourceRange(file, *part) for part in table.ranges(frame))
        if not ranges and not self._blank_damaged:
            raise DamagedFrameError(f"frame {frame + 1} is missing")
        return _Patch(member, x, y, ranges)

    def _canvas(self, picture: Picture, width: int, height: int) -> Samples:
        storage, level = picture.storage, picture.level
        dtype = _sample_type(picture)
        cielab = self._slide.absent_pixel_cielab(level)
        scale = 257 if storage.bits == 16 else 1
        colour = [value * scale for value in absent_colour(level.encoding, cielab)]
        if width * height > self._limits.tile_pixels:
            width, height = picture.width, picture.height
        if storage.samples == 1:
            return np.full((height, width), colour[0], dtype)
        # By rows: assigning a pixel at a time takes longer than decoding one does.
        canvas = np.empty((height, width * storage.samples), dtype)
        canvas[:] = np.tile(np.array(colour).astype(dtype), width)
        return canvas.reshape(height, width, storage.samples)


def _sample_type(picture: Picture) -> np.dtype[Any]:
    """Of a sample of a made tile, little endian."""
    kind = "i" if picture.storage.signed else "u"
    return np.dtype(f"<{kind}{picture.storage.bits // 8}")


def _paste(canvas: Samples, samples: Samples, x: int, y: int) -> None:
    """Put samples at (x, y) of the canvas, clipped at its edges."""
    top, left = max(0, y), max(0, x)
    bottom = min(canvas.shape[0], y + samples.shape[0])
    right = min(canvas.shape[1], x + samples.shape[1])
    if top < bottom and left < right:
        canvas[top:bottom, left:right] = samples[top - y : bottom - y, left - x : right - x]


def shrink(samples: Samples, width: int, height: int) -> Samples:
    """Scale samples down to width x height pixels; each is the mean of those that it covers."""
    if samples.shape[:2] == (height, width):
        return samples
    total = samples
    for axis, size in ((0, height), (1, width)):
        edges = np.arange(size) * samples.shape[axis] // size
        counts = np.diff(np.append(edges, samples.shape[axis]))
        # Not converted beforehand: eight times the size of the samples would be touched.
        total = np.add.reduceat(total, edges, axis=axis, dtype=np.float64)
        shape = [1] * total.ndim
        shape[axis] = size
        total /= counts.reshape(shape)
    return np.rint(total).astype(samples.dtype)
