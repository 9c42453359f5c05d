"""A picture of the TIFF: a plane of a level or an associated image, cut into tiles or one strip.

Decides how the cells of the slide's tile grid become the tiles of the TIFF: one to one where they
pass through or where their size suits every reader, re-tiled where not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dicomfs.slide.model import Level, Slide
from dicomfs.tiff.directory import Code, Field, Hole, Type, longs, rationals, shorts
from dicomfs.tiff.storage import Compression, Flavour, Photometric, Storage, storage_of

_LIBTIFF_BLOCK = 1024  # OpenSlide's libtiff refuses uncompressed tiles of other multiples

_PAGE = 4096  # a tile that cannot be decoded must not take its neighbours' pages along

_LEAST_RESOLUTION = 1e-6

DECODED_TILE = 256
"""Side of re-tiled tiles, pixels: a size that every reader takes uncompressed."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image file directory's worth of pixels.

    key : number of the picture within its file; pictures of equal key share their arrays
    level, plane : where the pixels come from
    width, height : pixels of the picture; they differ from the level's only in a rendered thumbnail
    tile_width, tile_height : pixels of the TIFF's tiles, or of its only strip
    """

    key: int
    level: Level
    plane: int
    storage: Storage
    width: int
    height: int
    tile_width: int
    tile_height: int
    stripped: bool

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile_width)

    @property
    def count(self) -> int:
        """Tiles of the picture; 1 for a strip."""
        return self.across * -(-self.height // self.tile_height)

    @property
    def tile_bytes(self) -> int:
        """Bytes of a decoded tile, or of the decoded strip."""
        return self.tile_width * self.tile_height * self.storage.samples * self.storage.bits // 8

    @property
    def rendered(self) -> bool:
        """Whether the pixels are the level's scaled down."""
        return (self.width, self.height) != (self.level.width, self.level.height)


class Pictures:
    """Hands out the pictures of one file and numbers them."""

    def __init__(self, slide: Slide, flavour: Flavour, *, decode: bool) -> None:
        self.slide = slide
        self.flavour = flavour
        self.decode = decode
        self.made: list[Picture] = []
        self._tiled: dict[tuple[int, int], Picture] = {}

    def tiled(self, level: Level, plane: int) -> Picture:
        """A plane of a level as tiles; the same picture for the same plane."""
        known = self._tiled.get((id(level), plane))
        if known is not None:
            return known
        decode = self.decode or not level.frames_are_tiles
        storage = storage_of(level.encoding, self.flavour, decode=decode)
        width, height = level.tile_width, level.tile_height
        unit = _uncompressed_unit(width, height, storage)
        if not storage.pass_through and unit % _PAGE:
            width = height = DECODED_TILE
        elif storage.compression is Compression.NONE and unit % _LIBTIFF_BLOCK:
            storage = storage_of(level.encoding, self.flavour, decode=True)
            width = height = DECODED_TILE
        picture = self._add(level, plane, storage, level.width, level.height, width, height, False)
        self._tiled[(id(level), plane)] = picture
        return picture

    def stripped(self, level: Level) -> Picture:
        """An associated image as one strip."""
        whole = (level.tile_width, level.tile_height) == (level.width, level.height)
        whole &= level.frames_are_tiles
        storage = storage_of(level.encoding, self.flavour, decode=self.decode)
        # Readers hand strips to libtiff, which knows no JPEG 2000.
        if not whole or storage.compression not in (Compression.JPEG, Compression.NONE):
            storage = storage_of(level.encoding, self.flavour, decode=True)
        if storage.bits != 8:
            storage = storage_of(level.encoding, self.flavour, decode=True)
        size = (level.width, level.height)
        return self._add(level, 0, storage, *size, *size, True)

    def rendered(self, level: Level, plane: int, width: int, height: int) -> Picture:
        """A plane of a level scaled down to width x height pixels, as one strip."""
        storage = storage_of(level.encoding, self.flavour, decode=True)
        return self._add(level, plane, storage, width, height, width, height, True)

    def _add(
        self,
        level: Level,
        plane: int,
        storage: Storage,
        width: int,
        height: int,
        tile_width: int,
        tile_height: int,
        stripped: bool,
    ) -> Picture:
        picture = Picture(
            len(self.made), level, plane, storage, width, height, tile_width, tile_height, stripped
        )
        self.made.append(picture)
        return picture


def _uncompressed_unit(width: int, height: int, storage: Storage) -> int:
    """Bytes of an uncompressed tile; 1, which suits nobody, for sides that TIFF does not allow."""
    if width % 16 or height % 16:
        return 1
    return width * height * storage.samples * storage.bits // 8


def picture_fields(picture: Picture, subfile_type: int | None) -> list[Field]:
    """The tags that any directory of a picture carries."""
    storage = picture.storage
    fields = [
        longs(Code.IMAGE_WIDTH, picture.width),
        longs(Code.IMAGE_LENGTH, picture.height),
        shorts(Code.BITS_PER_SAMPLE, *[storage.bits] * storage.samples),
        shorts(Code.COMPRESSION, storage.compression),
        shorts(Code.PHOTOMETRIC, storage.photometric),
        shorts(Code.ORIENTATION, 1),
        shorts(Code.SAMPLES_PER_PIXEL, storage.samples),
        shorts(Code.PLANAR_CONFIGURATION, 1),
        shorts(Code.SAMPLE_FORMAT, *[2 if storage.signed else 1] * storage.samples),
        *_placing(picture),
    ]
    if subfile_type is not None:
        fields.append(longs(Code.NEW_SUBFILE_TYPE, subfile_type))
    if storage.photometric is Photometric.YCBCR:
        if storage.subsampling is not None:
            fields.append(shorts(Code.YCBCR_SUBSAMPLING, *storage.subsampling))
        # Full range with chroma around 128, as T.871 has it.
        fields.append(rationals(Code.REFERENCE_BLACK_WHITE, 0, 255, 128, 255, 128, 255))
    return fields


def resolution_fields(picture: Picture, spacing_mm: tuple[float, float] | None) -> list[Field]:
    """Pixels per centimetre; spacing_mm is (between rows, between columns).

    Nothing where a RATIONAL cannot hold them: such a spacing makes no sense.
    """
    if spacing_mm is None:
        return []
    rows, columns = (10 / spacing for spacing in spacing_mm)
    if not _LEAST_RESOLUTION < min(rows, columns) <= max(rows, columns) < 2**32:
        return []
    return [
        rationals(Code.X_RESOLUTION, columns),
        rationals(Code.Y_RESOLUTION, rows),
        shorts(Code.RESOLUTION_UNIT, 3),
    ]


def _placing(picture: Picture) -> Iterable[Field]:
    count = picture.count
    offsets = Hole((picture.key, "offsets"), 8 * count)
    counts = Hole((picture.key, "counts"), 4 * count)
    if picture.stripped:
        yield longs(Code.ROWS_PER_STRIP, picture.height)
        yield Field(Code.STRIP_OFFSETS, Type.LONG8, count, offsets)
        yield Field(Code.STRIP_BYTE_COUNTS, Type.LONG, count, counts)
    else:
        yield longs(Code.TILE_WIDTH, picture.tile_width)
        yield longs(Code.TILE_LENGTH, picture.tile_height)
        yield Field(Code.TILE_OFFSETS, Type.LONG8, count, offsets)
        yield Field(Code.TILE_BYTE_COUNTS, Type.LONG, count, counts)
