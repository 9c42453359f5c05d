"""Build a slide of the instances of one series, or say why there is none.

The rules and their evidence: PS3.3 A.32.8, C.7.6.17.3, C.8.12.4, C.8.12.14.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dicomfs.dicom.header import Header, OpticalPath
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.uids import SINGLE_IMAGE_SOP_CLASSES
from dicomfs.errors import RejectedError
from dicomfs.slide.encoding import PixelEncoding, decide_encoding
from dicomfs.slide.grouping import Roles, Source, sort_by_role
from dicomfs.slide.model import Channel, Level, Note, Placement, Slide
from dicomfs.slide.placement import Matrix, PlacedFrames, matrix_of, place_frames

_LISTED_FRAMES = 50

_ChannelKey = tuple[str, str]  # Acquisition UID or "", Optical Path Identifier


@dataclass(frozen=True, slots=True)
class _Image:
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


def build_slide(instances: Sequence[Instance]) -> Slide:
    """Build the slide of one pyramid.

    instances : of one series, in a stable order; see `split_pyramids`.

    Raises RejectedError where nothing can be shown.
    """
    instances = tuple(instances)
    roles = sort_by_role(instances)
    notes = list(roles.notes)
    roles = _promote(roles, notes)
    images = _images(instances, roles.volumes, notes)
    channel_keys = _channel_keys(instances, images)
    levels = _levels(instances, images, channel_keys, notes)
    base = instances[levels[0][0].members[0]].header
    planes_um = levels[0][1]
    paths = _optical_paths(instances)
    channels = tuple(_channel(paths, key) for key in channel_keys)
    first_path = paths.get(channel_keys[0][1])
    spacing_um = _plane_spacing(base, planes_um)
    if len(planes_um) > 1 and spacing_um is None:
        notes.append(Note("no-plane-spacing", "the distance of the focal planes is not known"))
    notes += _damage(instances)
    if levels[0][0].spacing_mm is None:
        notes.append(Note("no-spacing", "the size of a pixel is not known"))
    return Slide(
        series_instance_uid=base.series_instance_uid,
        study_instance_uid=base.study_instance_uid,
        instances=instances,
        levels=tuple(level for level, _ in levels),
        channels=channels,
        focal_planes_um=planes_um,
        plane_spacing_um=spacing_um,
        associated=_associated(instances, roles, notes),
        objective_power=_first(path.objective_power for path in paths.values()),
        numerical_aperture=_first(path.numerical_aperture for path in paths.values()),
        icc_profile=first_path.icc_profile if first_path else None,
        description=base.description,
        notes=tuple(dict.fromkeys(notes)),
    )


def split_pyramids(instances: Sequence[Instance]) -> list[tuple[str, tuple[Instance, ...]]]:
    """Split the instances of a series into what makes a slide each.

    Returns for each slide the UID that tells it from the others of the series, "" for the only one,
    and its instances.  Instances belong together by Pyramid UID (0008,0019); images that name no
    pyramid (labels, overviews, and files from before pyramids had a name) go with each.  Every
    instance of a class without pyramids is an image of its own.
    """
    single = [i for i in instances if i.header.sop_class_uid in SINGLE_IMAGE_SOP_CLASSES]
    tiled = [i for i in instances if i.header.sop_class_uid not in SINGLE_IMAGE_SOP_CLASSES]
    by_uid = {instance.header.sop_instance_uid: instance for instance in reversed(single)}
    found: list[tuple[str, tuple[Instance, ...]]] = [
        (uid, (instance,)) for uid, instance in reversed(by_uid.items())
    ]
    uids = list(dict.fromkeys(i.header.pyramid_uid for i in tiled if i.header.pyramid_uid))
    split = [(uid, tuple(i for i in tiled if i.header.pyramid_uid in (uid, ""))) for uid in uids]
    if len(split) > 1:
        return [*split, *found]
    if tiled:
        return [("", tuple(tiled)), *found]
    return found if len(found) > 1 else [("", instances) for _, instances in found]


def _promote(roles: Roles, notes: list[Note]) -> Roles:
    """Where a series has no volume, show the best of what it has as the image."""
    if roles.volumes:
        return roles
    for kind in ("thumbnail", "overview", "label"):
        if kind in roles.associated:
            notes.append(Note("no-volume", f"the series has no slide image, only its {kind}"))
            rest = {name: sources for name, sources in roles.associated.items() if name != kind}
            return Roles(roles.associated[kind], rest, roles.notes)
    raise RejectedError("no-volume", "has no image that could be shown")


def _images(
    instances: Sequence[Instance], sources: Sequence[Source], notes: list[Note]
) -> list[_Image]:
    """The usable volume images, largest first.

    What is wrong with the largest level rejects the slide: without it a user would take a smaller
    level for the slide.
    """
    found: list[tuple[int, _Image | RejectedError]] = []
    for source in sources:
        header = instances[source.members[0]].header
        size = (header.total_columns or header.columns) * (header.total_rows or header.rows)
        try:
            found.append((size, _image(instances, source, notes)))
        except RejectedError as error:
            found.append((size, error))
    found.sort(key=lambda entry: -entry[0])
    largest = found[0][0]
    images = []
    for size, image in found:
        if isinstance(image, _Image):
            images.append(image)
        elif size == largest:
            raise image
        else:
            notes.append(Note(image.code, f"a smaller level is left out: it {image}"))
    return images


def _image(instances: Sequence[Instance], source: Source, notes: list[Note]) -> _Image:
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
    whole = len(set(encodings)) == 1 and all(
        _whole_frames(instances[member], encodings[0]) for member in source.members
    )
    return _Image(source, matrices.pop(), encodings[0], whole, tuple(placed))


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


def _channel_keys(instances: Sequence[Instance], images: list[_Image]) -> list[_ChannelKey]:
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
    order = {path: index for index, path in enumerate(_optical_paths(instances))}
    keys: dict[_ChannelKey, None] = {}
    for image in largest:
        acquisition = instances[image.source.members[0]].header.acquisition_uid
        paths = sorted({frames.path for _, frames in image.placed}, key=lambda p: order.get(p, 0))
        for path in paths:
            keys[(acquisition if path in ambiguous else "", path)] = None
    if ambiguous:
        return list(keys)
    return sorted(keys, key=lambda key: order.get(key[1], 0))


def _levels(
    instances: Sequence[Instance],
    images: list[_Image],
    channel_keys: list[_ChannelKey],
    notes: list[Note],
) -> list[tuple[Level, tuple[float, ...]]]:
    """The levels, largest first, each with the z of its focal planes."""
    by_size: dict[tuple[int, int], list[_Image]] = {}
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
    images: list[_Image],
    channel_keys: list[_ChannelKey],
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
        own = [z for key, z in cells if key == channel]
        if not own:
            raise RejectedError("other-paths", "lacks an optical path that others have")
        for z in planes_um:
            nearest = min(own, key=lambda candidate: (abs(candidate - z), candidate))
            if nearest != z:
                text = "a level lacks focal planes that others have; the nearest is shown for them"
                notes.append(Note("other-planes", text))
            planes.append(tuple(cells[(channel, nearest)]))
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
    images: list[_Image],
    channel_keys: list[_ChannelKey],
    notes: list[Note],
) -> dict[tuple[_ChannelKey, float], list[tuple[_Image, int, PlacedFrames]]]:
    """Which frames of which member of which image make each plane.

    Images that claim a plane which another one has already are left out.
    """
    places: dict[tuple[_ChannelKey, float], list[tuple[_Image, int, PlacedFrames]]] = {}
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


def _placement(image: _Image, member: int, frames: PlacedFrames, *, regular: bool) -> Placement:
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


def _damage(instances: Sequence[Instance]) -> list[Note]:
    """What is wrong with the pixel data of the instances."""
    notes: list[Note] = []
    for instance in instances:
        uid = instance.header.sop_instance_uid
        notes += [
            Note("pixel-data", f"{problem} (instance {uid})") for problem in instance.problems
        ]
        if instance.missing_frames:
            shown = ", ".join(str(frame + 1) for frame in instance.missing_frames[:_LISTED_FRAMES])
            more = ", …" if len(instance.missing_frames) > _LISTED_FRAMES else ""
            text = f"these frames cannot be read: {shown}{more} (instance {uid})"
            notes.append(Note("damaged-frames", text))
    return notes


def _plane_spacing(header: Header, planes_um: tuple[float, ...]) -> float | None:
    """Micrometres between focal planes: as declared, else as the planes lie."""
    if len(planes_um) < 2:
        return None
    if header.measures.between_planes:
        return header.measures.between_planes * 1000
    if header.focal_planes > 1:
        return None  # z was counted, not read
    return (planes_um[-1] - planes_um[0]) / (len(planes_um) - 1)


def _match(keys: list[_ChannelKey], acquisition: str, path: str) -> _ChannelKey | None:
    for key in ((acquisition, path), ("", path)):
        if key in keys:
            return key
    # A slide of one path is that path, whatever a level calls it.
    return keys[0] if len(keys) == 1 else None


def _optical_paths(instances: Sequence[Instance]) -> dict[str, OpticalPath]:
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


def _channel(paths: dict[str, OpticalPath], key: _ChannelKey) -> Channel:
    path = paths.get(key[1])
    if path is None:
        return Channel(key[1], "", None, "")
    return Channel(key[1], path.description, path.wavelength_nm, path.illumination)


def _associated(instances: Sequence[Instance], roles: Roles, notes: list[Note]) -> dict[str, Level]:
    """Label, overview and thumbnail: the first usable image of each kind."""
    found: dict[str, Level] = {}
    for kind in ("label", "overview", "thumbnail"):
        for source in roles.associated.get(kind, ()):
            try:
                image = _image(instances, source, notes)
            except RejectedError as error:
                notes.append(Note(error.code, f"a {kind} is left out: it {error}"))
                continue
            if kind in found:
                notes.append(Note("several", f"the series has several images of the kind {kind}"))
                break
            member, frames = image.placed[0]
            placement = Placement(member, frames.frames, frames.cells, frames.corners)
            found[kind] = Level(
                width=image.matrix.width,
                height=image.matrix.height,
                tile_width=image.matrix.tile_width,
                tile_height=image.matrix.tile_height,
                matrix_width=image.matrix.width,
                frames_are_tiles=image.whole_frames and image.regular,
                spacing_mm=instances[member].header.measures.spacing,
                encoding=image.encoding,
                planes=((placement,),),
                organization=instances[member].header.dimension_organization,
            )
    return found


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)
