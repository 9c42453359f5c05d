"""The flavour `svs`: the layout of Aperio's files, readable by whatever reads those.

level 0, with the other levels as SubIFDs too | thumbnail (strip) | levels | label | macro

The order, the subfile types and the description are what OpenSlide, Bio-Formats, tifffile, cuCIM
and libvips look for; the SubIFDs are for GDAL, which sees one level without them (docs/readers.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dicomfs.dicom.codestream import Codec
from dicomfs.dicom.icc import profile_name
from dicomfs.slide.model import Slide
from dicomfs.tiff.directory import Directory
from dicomfs.tiff.picture import Picture, Pictures
from dicomfs.tiff.slide_fields import (
    MACRO,
    REDUCED,
    associated_directory,
    level_directory,
    split_datetime,
)

_FIRST_LINE = "Aperio Image Library dicomfs"
_THUMBNAIL_SIDE = 512
_LEAST_SHRINK = 1.25
_NAMES = {"label": "label", "overview": "macro"}


def directories(slide: Slide, pictures: Pictures, plane: int) -> Sequence[Directory]:
    """The chain of directories that shows one plane of a slide."""
    levels = [pictures.tiled(level, plane) for level in slide.levels]
    base = levels[0]
    children = tuple(level_directory(slide, level, subfile_type=REDUCED) for level in levels[1:])
    chain = [
        level_directory(
            slide,
            base,
            subfile_type=0,
            description=_base_description(slide, base),
            children=children,
            scanner=True,
        )
    ]
    thumbnail = _thumbnail(slide, pictures, plane)
    chain.append(
        associated_directory(
            slide, thumbnail, subfile_type=0, description=_thumbnail_description(slide, thumbnail)
        )
    )
    for level in levels[1:]:
        description = f"{_header(base)} -> {level.width}x{level.height} {_codec(level)}"
        chain.append(level_directory(slide, level, subfile_type=0, description=description))
    for kind, name in _NAMES.items():
        if kind in slide.associated:
            picture = pictures.stripped(slide.associated[kind])
            chain.append(
                associated_directory(
                    slide,
                    picture,
                    subfile_type=MACRO if name == "macro" else REDUCED,
                    description=f"{_FIRST_LINE}\r\n{name} {picture.width}x{picture.height}",
                )
            )
    return chain


def _thumbnail(slide: Slide, pictures: Pictures, plane: int) -> Picture:
    """The slide's own thumbnail, else its smallest level scaled down; readers count on one.

    It has to be smaller than every level: Bio-Formats takes a larger one for a level and loses the
    smallest (docs/readers.md).
    """
    smallest = slide.levels[-1]
    own = slide.associated.get("thumbnail")
    if own is not None and own.width < smallest.width and own.height < smallest.height:
        return pictures.stripped(own)
    shrink = max(_LEAST_SHRINK, max(smallest.width, smallest.height) / _THUMBNAIL_SIDE)
    width = max(1, int(smallest.width / shrink))
    height = max(1, int(smallest.height / shrink))
    return pictures.rendered(smallest, plane, width, height)


def _header(base: Picture) -> str:
    size = f"{base.width}x{base.height}"
    return f"{_FIRST_LINE}\r\n{size} [0,0 {size}] ({base.tile_width}x{base.tile_height})"


def _codec(picture: Picture) -> str:
    if not picture.storage.pass_through:
        return "RAW"
    if picture.level.encoding.codec == Codec.JPEG:
        return "JPEG/RGB" if picture.storage.samples == 3 else "JPEG/GRAY"
    return "J2K" if picture.level.encoding.codec == Codec.JPEG_2000 else "RAW"


def _base_description(slide: Slide, base: Picture) -> str:
    return "|".join([f"{_header(base)} {_codec(base)}", *_properties(slide)])


def _thumbnail_description(slide: Slide, thumbnail: Picture) -> str:
    size = f"{slide.levels[0].width}x{slide.levels[0].height}"
    scaled = f"{_FIRST_LINE}\r\n{size} -> {thumbnail.width}x{thumbnail.height} - "
    return "|".join([scaled, *_properties(slide)])


def _properties(slide: Slide) -> list[str]:
    """The `key = value` part of an Aperio description."""
    found: list[tuple[str, str]] = []
    if slide.objective_power is not None:
        found.append(("AppMag", f"{slide.objective_power:.10g}"))
    if slide.mpp is not None:
        found.append(("MPP", f"{sum(slide.mpp) / 2:.10g}"))
    moment = split_datetime(slide.description.acquisition_datetime)
    if moment is not None:
        year, month, day, hour, minute, second = moment
        found.append(("Date", f"{month}/{day}/{year[2:]}"))
        found.append(("Time", f"{hour}:{minute}:{second}"))
    header = slide.instances[slide.levels[0].members[0]].header
    if header.origin_mm is not None:
        found.append(("Left", f"{header.origin_mm[0]:.10g}"))
        found.append(("Top", f"{header.origin_mm[1]:.10g}"))
    about = slide.description
    found += [
        ("OriginalWidth", str(slide.levels[0].width)),
        ("OriginalHeight", str(slide.levels[0].height)),
        ("ScanScope ID", about.serial_number),
        ("Filename", about.container_identifier),
        ("ImageID", about.container_identifier),
        ("Barcode", about.barcode),
        ("Title", about.label_text),
        ("ICC Profile", profile_name(slide.icc_profile) if slide.icc_profile else ""),
    ]
    return [f"{key} = {plain}" for key, value in found if (plain := _plain(value))]


def _plain(value: str) -> str:
    """A value without what has a meaning in such a description."""
    return re.sub(r"[|=\r\n]", " ", value).strip()
