"""The instances of a slide as DICOM JSON: an array, made of the headers when somebody reads it.

How long each object is was found out when the source was looked through; so the file has its exact
size, and none of its bytes is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.json_model import instance_json
from dicomfs.dicom.json_parts import json_bulk, json_dataset, json_ranges
from dicomfs.extents import AnyRun, ExtentTable, ExtentTableBuilder, TileRun
from dicomfs.reading.virtual_file import KnownResolver, Resolved, SourceRange, VirtualFile
from dicomfs.slide.model import Slide
from dicomfs.source.protocol import SourceObject

_START, _BETWEEN, _END = b"[\n", b",\n", b"\n]\n"
_HELD = 2048  # bytes of memory of an instance, about


def json_file(
    slide: Slide,
    objects: Sequence[SourceObject],
    uris: Sequence[str],
    profile: Profile | None = None,
) -> VirtualFile:
    """The virtual file of all instances of a slide, the largest level first.

    objects, uris : the source objects of `slide.instances` and their URIs
    profile : how to de-identify them, without URIs then; None for not at all
    """
    order = json_order(slide)
    instances = tuple(slide.instances[index] for index in order)
    painter = _JsonPainter(instances, tuple(uris[index] for index in order), profile)
    table = painter.table()
    resolver = KnownResolver(Resolved(table, painter, table.nbytes + _HELD * len(order)))
    return VirtualFile(table, tuple(objects[index] for index in order), resolver)


def json_order(slide: Slide) -> list[int]:
    """Numbers of the instances: by level, then the associated images, then what is left out."""
    shown = [member for level in slide.all_levels() for member in level.members]
    return list(dict.fromkeys([*shown, *range(len(slide.instances))]))


@dataclass(frozen=True, slots=True, eq=False)
class _JsonPainter:
    """Makes the object of an instance; see `dicomfs.reading.virtual_file.TilePainter`."""

    instances: tuple[Instance, ...]
    uris: tuple[str, ...]
    profile: Profile | None

    def table(self) -> ExtentTable:
        """The file: each object is one tile."""
        builder = ExtentTableBuilder()
        builder.literal(_START)
        for number, (instance, uri) in enumerate(zip(self.instances, self.uris, strict=True)):
            if number:
                builder.literal(_BETWEEN)
            size = instance.json.with_uri(uri if self.profile is None else "")
            builder.tiles(TileRun(number, size, 1))
        builder.literal(_END)
        return builder.build()

    def inputs(self, run: AnyRun, tile: int) -> Sequence[SourceRange]:
        """The header of the instance."""
        layout = self.instances[run.key].layout
        return [SourceRange(run.key, span.offset, span.size) for span in json_ranges(layout)]

    def paint(self, run: AnyRun, tile: int, chunks: Sequence[bytes]) -> bytes:
        """The object of the instance."""
        layout = self.instances[run.key].layout
        dataset = json_dataset(layout, chunks)
        if self.profile is not None:
            from dicomfs.dicom.confidentiality.deidentify import deidentify

            return instance_json(deidentify(dataset, self.profile))
        return instance_json(dataset, json_bulk(layout), self.uris[run.key])
