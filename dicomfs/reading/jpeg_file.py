"""An associated image as a JPEG file beside the TIFF.

A baseline JPEG frame is the file, byte by byte.  Anything else is encoded when somebody reads it,
into a slot whose size follows from the size of the image: a decoder stops at the end of the image,
so the zeros behind it do no harm, and the size of the file is known without the work.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import imagecodecs
import numpy as np

from dicomfs.dicom.codestream import Codec
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.steps import Steps
from dicomfs.errors import DamagedFrameError
from dicomfs.extents import AnyRun, ExtentTableBuilder, SlotRun, TileRun
from dicomfs.limits import Limits
from dicomfs.reading.clean_frames import FrameCleaner, Slots
from dicomfs.reading.painter import PicturePainter
from dicomfs.reading.virtual_file import KnownResolver, Resolved, SourceRange, VirtualFile
from dicomfs.slide.model import Level, Slide
from dicomfs.source.protocol import SourceObject
from dicomfs.tiff.picture import Picture, Pictures
from dicomfs.tiff.storage import Flavour

_QUALITIES = (92, 80, 60, 30, 5)


def jpeg_file(
    slide: Slide,
    kind: str,
    objects: Sequence[SourceObject],
    limits: Limits,
    *,
    clean: bool = False,
) -> VirtualFile:
    """The virtual JPEG file of an associated image.

    objects : the source objects of `slide.instances`
    clean : show of a frame no more than its pixels need
    """
    level = slide.associated[kind]
    members = tuple(objects[member] for member in level.members)
    frames = slide.instances[level.members[0]].single_frame
    if frames is not None and _is_a_file(level) and frames.ranges(0) and clean:
        slots = Slots(0, np.zeros(1, np.int64), array("q", [0, int(frames.lengths[0])]))
        cleaner = FrameCleaner(slide, level.members, {0: frames}, {0: slots})
        builder = ExtentTableBuilder()
        builder.tiles(SlotRun(0, slots.starts))
        table = builder.build()
        resolved = Resolved(table, cleaner, table.nbytes + cleaner.nbytes)
        return VirtualFile(table, members, KnownResolver(resolved))
    if frames is not None and _is_a_file(level) and frames.ranges(0):
        builder = ExtentTableBuilder()
        for offset, size in frames.ranges(0):
            builder.source(0, offset, size)
        return VirtualFile(builder.build(), members, None)
    picture = Pictures(slide, Flavour.TIFF, decode=True).stripped(level)
    slot = level.width * level.height + 16 * 1024
    run = TileRun(picture.key, slot, 1)
    builder = ExtentTableBuilder()
    builder.tiles(run)
    return VirtualFile(builder.build(), members, _JpegResolver(slide, picture, run, limits))


def _is_a_file(level: Level) -> bool:
    """Whether the only frame of the level is a JPEG that any program shows right as it is."""
    encoding = level.encoding
    whole = (level.tile_width, level.tile_height) == (level.width, level.height)
    whole &= level.frames_are_tiles
    return whole and encoding.codec == Codec.JPEG and encoding.bits == 8 and encoding.self_marked


class _JpegPainter:
    """Encodes one picture into its slot; see `dicomfs.reading.virtual_file.TilePainter`."""

    def __init__(self, painter: PicturePainter) -> None:
        self._painter = painter

    def inputs(self, run: AnyRun, tile: int) -> Sequence[SourceRange]:
        """The frames of the picture."""
        return self._painter.inputs(run, tile)

    def paint(self, run: AnyRun, tile: int, chunks: Sequence[bytes]) -> bytes:
        """The encoded picture, zeros behind it."""
        samples = self._painter.samples(run, tile, chunks)
        if samples.dtype != np.uint8:
            samples = (samples.astype(np.uint16) >> 8).astype(np.uint8)
        for quality in _QUALITIES:
            data = bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(samples), level=quality))
            if len(data) <= run.size_of(tile):
                return data.ljust(run.size_of(tile), b"\0")
        raise DamagedFrameError("an associated image does not fit its JPEG file")


@dataclass(frozen=True, slots=True, eq=False)
class _JpegResolver:
    slide: Slide
    picture: Picture
    run: TileRun
    limits: Limits

    @property
    def files(self) -> Sequence[int]:
        """Every member of the image."""
        return range(len(self.picture.level.members))

    def frames(self, file: int) -> Steps[FrameTable]:
        """The parser of a member's frame table."""
        return self.slide.instances[self.picture.level.members[file]].frame_table(self.limits)

    def resolve(self, tables: Mapping[int, FrameTable]) -> Resolved:
        """The same table, with somebody who encodes."""
        members = self.picture.level.members
        painter = PicturePainter(self.slide, [self.picture], members, tables, self.limits)
        builder = ExtentTableBuilder()
        builder.tiles(self.run)
        table = builder.build()
        return Resolved(table, _JpegPainter(painter), table.nbytes + painter.nbytes)
