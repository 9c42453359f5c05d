"""The images of a series: instances that belong together, with the places of their frames.

An image is one instance or one concatenation; several images can make one level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicomfs.dicom.header import OpticalPath
from dicomfs.dicom.instance import Instance
from dicomfs.errors import RejectedError
from dicomfs.slide.encoding import PixelEncoding, decide_encoding
from dicomfs.slide.grouping import Source
from dicomfs.slide.model import Note
from dicomfs.slide.placement import Matrix, PlacedFrames, matrix_of, place_frames


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a series: its instances, and where their frames lie."""

    source: Source
    matrix: Matrix
    encoding: PixelEncoding
    whole_frames: bool  # as far as the first frame and one at the edge tell
    placed: tuple[tuple[int, PlacedFrames], ...]  # member, frames

    @property
    def regular(self) -> bool:
        """Whether the frames lie on the tile grid."""
        return all(frames.corners is None for _, frames in self.placed)


def read_images(
    instances: Sequence[Instance], sources: Sequence[Source], notes: list[Note]
) -> list[Image]:
    """The usable volume images, largest first.

    What is wrong with the largest level rejects the slide: without it a user would take a smaller
    level for the slide.
    """
    found: list[tuple[int, Image | RejectedError]] = []
    for source in sources:
        header = instances[source.members[0]].header
        size = (header.total_columns or header.columns) * (header.total_rows or header.rows)
        try:
            found.append((size, read_image(instances, source, notes)))
        except RejectedError as error:
            found.append((size, error))
    found.sort(key=lambda entry: -entry[0])
    largest = found[0][0]
    images = []
    for size, image in found:
        if isinstance(image, Image):
            images.append(image)
        elif size == largest:
            raise image
        else:
            notes.append(Note(image.code, f"a smaller level is left out: it {image}"))
    return images


def read_image(instances: Sequence[Instance], source: Source, notes: list[Note]) -> Image:
    if source.problem:
        raise RejectedError("missing-part", f"is incomplete: {source.problem}")
    encodings = [decide_encoding(instances[member]) for member in source.members]
    matrices = {matrix_of(instances[member].header) for member in source.members}
    if len(matrices) > 1 or len({(e.samples, e.bits) for e in encodings}) > 1:
        raise RejectedError("mixed-parts", "is a concatenation of parts that do not match")
    placed = []
    for member in source.members:
        concatenation = instances[member].header.concatenation
        offset = concatenation.frame_offset if concatenation else 0
        for frames in place_frames(instances[member], notes, offset):
            placed.append((member, frames))
    matrix = matrices.pop()
    first = instances[source.members[0]].header
    if first.concatenation is not None and first.dimension_organization == "TILED_FULL":
        frames_found = sum(len(frames.frames) for _, frames in placed)
        if frames_found % matrix.cells:
            raise RejectedError(
                "missing-part",
                f"is incomplete: a concatenation has {frames_found} frames where {matrix.cells}"
                " make an image",
            )
    whole = len(set(encodings)) == 1 and all(
        _whole_frames(instances[member], encodings[0]) for member in source.members
    )
    return Image(source, matrix, encodings[0], whole, tuple(placed))


def _whole_frames(instance: Instance, encoding: PixelEncoding) -> bool:
    """Whether the first frame and one at the edge have the size of a tile and one encoding.

    Writers that cut frames at the edge of the slide cut that one; those that mix encodings made it
    in another way than the first.
    """
    header = instance.header
    for stream in (instance.code_stream, instance.edge_stream):
        if stream is None or not stream.width:
            continue
        if (stream.width, stream.height) != (header.columns, header.rows):
            return False
        if stream.codec != encoding.codec or stream.sampling != encoding.sampling:
            return False
        if stream.colour not in (None, encoding.colour):
            return False
    return True


def optical_paths_of(instances: Sequence[Instance]) -> dict[str, OpticalPath]:
    """All optical paths of the series by identifier, in the order in which they are listed."""
    paths: dict[str, OpticalPath] = {}
    for instance in instances:
        if instance.header.flavour in ("VOLUME", ""):
            for path in instance.header.optical_paths:
                paths.setdefault(path.identifier, path)
    if not paths:
        for instance in instances:
            for path in instance.header.optical_paths:
                paths.setdefault(path.identifier, path)
    return paths
