"""Put images together to levels: PS3.3 A.32.8, C.7.6.17.3, C.8.12.14.

A level is all images of one size; its planes are the channels and focal planes of the largest
level, whatever smaller ones lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dicomfs.dicom.instance import Instance
from dicomfs.errors import RejectedError
from dicomfs.slide.encoding import PixelEncoding
from dicomfs.slide.images import Image, optical_paths_of
from dicomfs.slide.model import Level, Note, Placement
from dicomfs.slide.placement import PlacedFrames

ChannelKey = tuple[str, str]
"""Acquisition UID where it is needed to tell channels apart, else "", and path identifier."""


def channel_keys_of(instances: Sequence[Instance], images: list[Image]) -> list[ChannelKey]:
    """The channels of the largest level, in the order of the Optical Path Sequence.

    Optical path identifiers are unique only within an acquisition, and many files name no
    acquisition; so the acquisition counts where one identifier would mean two images otherwise.
    """
    size = (images[0].matrix.width, images[0].matrix.height)
    largest = [image for image in images if (image.matrix.width, image.matrix.height) == size]
    seen: dict[tuple[str, float], set[str]] = {}
    for image in largest:
        acquisition = instances[image.source.members[0]].header.acquisition_uid
        for _, frames in image.placed:
            seen.setdefault((frames.path, frames.z_um), set()).add(acquisition)
    ambiguous = {path for (path, _), acquisitions in seen.items() if len(acquisitions) > 1}
    order = {path: index for index, path in enumerate(optical_paths_of(instances))}
    keys: dict[ChannelKey, None] = {}
    for image in largest:
        acquisition = instances[image.source.members[0]].header.acquisition_uid
        paths = sorted({frames.path for _, frames in image.placed}, key=lambda p: order.get(p, 0))
        for path in paths:
            keys[(acquisition if path in ambiguous else "", path)] = None
    if ambiguous:
        return list(keys)
    return sorted(keys, key=lambda key: order.get(key[1], 0))


def build_levels(
    instances: Sequence[Instance],
    images: list[Image],
    channel_keys: list[ChannelKey],
    notes: list[Note],
) -> list[tuple[Level, tuple[float, ...]]]:
    """The levels, largest first, each with the z of its focal planes."""
    by_size: dict[tuple[int, int], list[Image]] = {}
    for image in images:
        by_size.setdefault((image.matrix.width, image.matrix.height), []).append(image)
    levels: list[tuple[Level, tuple[float, ...]]] = []
    for group in by_size.values():
        try:
            if not levels:
                levels.append(_level(instances, group, channel_keys, None, notes))
                continue
            first, planes_um = levels[0]
            level, _ = _level(instances, group, channel_keys, planes_um, notes)
            if not _same_samples(level.encoding, first.encoding):
                raise RejectedError("other-samples", "has other samples than the largest level")
            levels.append((_without_padding(level, first), planes_um))
        except RejectedError as error:
            if not levels:
                raise
            notes.append(Note(error.code, f"a smaller level is left out: it {error}"))
    return levels


def _level(
    instances: Sequence[Instance],
    images: list[Image],
    channel_keys: list[ChannelKey],
    planes_um: tuple[float, ...] | None,
    notes: list[Note],
) -> tuple[Level, tuple[float, ...]]:
    """Put the images of one size together to one level.

    planes_um : z of the focal planes that the level is to have, None for those that it has; where
        it lacks one, the nearest that it has stands in
    """
    first = images[0]
    places = _places(instances, images, channel_keys, notes)
    images = list({id(image): image for parts in places.values() for image, _, _ in parts}.values())
    same_tiles = len({image.matrix for image in images}) == 1
    regular = same_tiles and all(image.regular for image in images)
    uniform = regular and len({image.encoding for image in images}) == 1
    cells = {
        place: [_placement(*part, regular=regular) for part in parts]
        for place, parts in places.items()
    }
    if planes_um is None:
        planes_um = tuple(sorted({z for _, z in cells}))
    planes = []
    for channel in channel_keys:
        own = sorted(z for key, z in cells if key == channel)
        if not own:
            raise RejectedError("other-paths", "lacks an optical path that others have")
        if len(own) != len(planes_um):
            text = "a level lacks focal planes that others have; the nearest is shown for them"
            notes.append(Note("other-planes", text))
            own = [min((abs(there - z), there) for there in own)[1] for z in planes_um]
        planes += [tuple(cells[(channel, z)]) for z in own]
    header = instances[first.source.members[0]].header
    level = Level(
        width=first.matrix.width,
        height=first.matrix.height,
        tile_width=first.matrix.tile_width,
        tile_height=first.matrix.tile_height,
        matrix_width=first.matrix.width,
        frames_are_tiles=uniform and all(image.whole_frames for image in images),
        spacing_mm=header.measures.spacing,
        encoding=first.encoding,
        planes=tuple(planes),
        organization=header.dimension_organization,
    )
    return level, planes_um


def _places(
    instances: Sequence[Instance],
    images: list[Image],
    channel_keys: list[ChannelKey],
    notes: list[Note],
) -> dict[tuple[ChannelKey, float], list[tuple[Image, int, PlacedFrames]]]:
    """Which frames of which member of which image make each plane.

    Images that claim a plane which another one has already are left out.
    """
    places: dict[tuple[ChannelKey, float], list[tuple[Image, int, PlacedFrames]]] = {}
    for image in images:
        if not _same_samples(image.encoding, images[0].encoding):
            notes.append(
                Note("other-samples", "images of one size differ in samples; one is shown")
            )
            continue
        acquisition = instances[image.source.members[0]].header.acquisition_uid
        for member, frames in image.placed:
            channel = _match(channel_keys, acquisition, frames.path)
            if channel is None:
                raise RejectedError("other-paths", "has other optical paths than the largest level")
            parts = places.setdefault((channel, frames.z_um), [])
            if parts and parts[0][0] is not image:
                text = "several images lie in the same place; the first is shown"
                notes.append(Note("same-place", text))
            else:
                parts.append((image, member, frames))
    return places


def _placement(image: Image, member: int, frames: PlacedFrames, *, regular: bool) -> Placement:
    """Frames in terms of the level's grid, or of pixels where the level has none."""
    if regular or frames.corners is not None:
        return Placement(member, frames.frames, frames.cells, frames.corners)
    return Placement(member, frames.frames, range(0), image.matrix.corners_of(frames.cells))


def _same_samples(one: PixelEncoding, other: PixelEncoding) -> bool:
    return (one.samples, one.bits) == (other.samples, other.bits)


def _without_padding(level: Level, base: Level) -> Level:
    """A level cut to what its spacing says that it covers.

    Scanners exist that pad every level to whole tiles and count the padding in the Total Pixel
    Matrix; a reader that takes the ratio of the sizes for the scale then jumps from level to level.
    """
    if level.spacing_mm is None or base.spacing_mm is None:
        return level
    width = base.width * base.spacing_mm[1] / level.spacing_mm[1]
    height = base.height * base.spacing_mm[0] / level.spacing_mm[0]
    padded = level.width % level.tile_width == 0 and level.height % level.tile_height == 0
    beyond = level.width - width > 2 or level.height - height > 2
    if not (padded and beyond and level.width - width > -2 and level.height - height > -2):
        return level
    if width < level.width / 2 or height < level.height / 2:
        return level  # that much is no padding: the spacing is wrong
    return replace(
        level,
        width=min(level.width, max(1, round(width))),
        height=min(level.height, max(1, round(height))),
    )


def _match(keys: list[ChannelKey], acquisition: str, path: str) -> ChannelKey | None:
    for key in ((acquisition, path), ("", path)):
        if key in keys:
            return key
    # A slide of one path is that path, whatever a level calls it.
    return keys[0] if len(keys) == 1 else None
