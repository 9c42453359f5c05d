"""Build a slide of the instances of one series, or say why there is none.

The rules and their evidence: PS3.3 A.32.8, C.7.6.17.3, C.8.12.4, C.8.12.14.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dicomfs.dicom.codestream import Codec
from dicomfs.dicom.description import Description
from dicomfs.dicom.header import Header, OpticalPath
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.uids import SINGLE_IMAGE_SOP_CLASSES
from dicomfs.errors import RejectedError
from dicomfs.slide.grouping import Roles, sort_by_role
from dicomfs.slide.images import optical_paths_of, read_image, read_images
from dicomfs.slide.levels import ChannelKey, build_levels, channel_keys_of
from dicomfs.slide.model import Channel, Level, Note, Placement, Slide

_LISTED_FRAMES = 50


def build_slide(instances: Sequence[Instance]) -> Slide:
    """Build the slide of one pyramid.

    instances : of one series, in a stable order; see `split_pyramids`.

    Raises RejectedError where nothing can be shown.
    """
    instances = tuple(instances)
    roles = sort_by_role(instances)
    notes = list(roles.notes)
    roles = _promote(roles, notes)
    images = read_images(instances, roles.volumes, notes)
    channel_keys = channel_keys_of(instances, images)
    levels = build_levels(instances, images, channel_keys, notes)
    base = instances[levels[0][0].members[0]].header
    planes_um = levels[0][1]
    paths = optical_paths_of(instances)
    channels = tuple(_channel(paths, key) for key in channel_keys)
    first_path = paths.get(channel_keys[0][1])
    spacing_um = _plane_spacing(base, planes_um)
    if len(planes_um) > 1 and spacing_um is None:
        notes.append(Note("no-plane-spacing", "the distance of the focal planes is not known"))
    notes += _damage(instances)
    notes += _level_notes(instances, [level for level, _ in levels])
    notes += _absences(
        [instances[member].header for level, _ in levels for member in level.members]
    )
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
        description=_description(instances, base),
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
    by_uid: dict[str, Instance] = {}
    for instance in single:
        by_uid.setdefault(instance.header.sop_instance_uid, instance)
    found: list[tuple[str, tuple[Instance, ...]]] = [
        (uid, (instance,)) for uid, instance in by_uid.items()
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


_WITHOUT = {
    "FrameOfReferenceUID": "taken to lie on one another as levels do",
    "DimensionOrganizationType": "judged by whether the frames have positions of their own",
    "TotalPixelMatrixOriginSequence": "shown as if it began at the corner of the slide",
    "ImageOrientationSlide": "shown as it is stored",
    "OpticalPathSequence": "shown as one optical path, without a colour profile",
    "SharedFunctionalGroupsSequence": "the size of a pixel is looked for elsewhere",
    "PlanarConfiguration": "the samples of a pixel are taken to lie side by side",
}
"""What is done where an attribute is absent that every instance ought to have."""


def _absences(headers: Sequence[Header]) -> list[Note]:
    """What the instances of the levels ought to say and do not."""
    notes: list[Note] = []
    tiled = [h for h in headers if h.sop_class_uid not in SINGLE_IMAGE_SOP_CLASSES]
    for keyword, instead in _WITHOUT.items():
        count = sum(keyword in header.absent for header in tiled)
        if count:
            text = f"no {keyword} in {count} of {len(tiled)} instances: {instead}"
            notes.append(Note("missing-attribute", text))
    return notes


def _level_notes(instances: Sequence[Instance], levels: Sequence[Level]) -> list[Note]:
    """What a user should know of the tiles of a level."""
    notes: list[Note] = []
    for level in levels:
        missing = sum(level.missing(plane) for plane in range(len(level.planes)))
        if missing and instances[level.members[0]].header.concatenation is not None:
            text = (
                f"{missing} tiles of the level of {level.width} x {level.height} pixels have no"
                " frame: a part of a concatenation may be missing"
            )
            notes.append(Note("missing-tiles", text))
        passes = level.frames_are_tiles and level.encoding.codec in (Codec.JPEG, Codec.JPEG_2000)
        if passes and (level.tile_width % 16 or level.tile_height % 16):
            size = f"{level.tile_width} x {level.tile_height}"
            text = f"tiles of {size} pixels are no multiples of 16, which libvips refuses"
            notes.append(Note("tile-size", text))
    return notes


def _plane_spacing(header: Header, planes_um: tuple[float, ...]) -> float | None:
    """Micrometres between focal planes: as declared, else as the planes lie."""
    if len(planes_um) < 2:
        return None
    if header.measures.between_planes:
        return abs(header.measures.between_planes) * 1000
    if header.focal_planes > 1:
        return None  # z was counted, not read
    return (planes_um[-1] - planes_um[0]) / (len(planes_um) - 1)


def _channel(paths: dict[str, OpticalPath], key: ChannelKey) -> Channel:
    path = paths.get(key[1])
    if path is None:
        return Channel(key[1], "", None, "")
    return Channel(
        key[1],
        path.description,
        path.wavelength_nm,
        path.illumination,
        path.light,
        path.objective_power,
        path.numerical_aperture,
    )


def _description(instances: Sequence[Instance], base: Header) -> Description:
    """That of the largest level, with what only the label's instance may have: Slide Label."""
    found = [base.description, *(instance.header.description for instance in instances)]
    return replace(
        base.description,
        barcode=next((one.barcode for one in found if one.barcode), ""),
        label_text=next((one.label_text for one in found if one.label_text), ""),
    )


def _associated(instances: Sequence[Instance], roles: Roles, notes: list[Note]) -> dict[str, Level]:
    """Label, overview and thumbnail: the first usable image of each kind."""
    found: dict[str, Level] = {}
    for kind in ("label", "overview", "thumbnail"):
        for source in roles.associated.get(kind, ()):
            try:
                image = read_image(instances, source, notes)
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
