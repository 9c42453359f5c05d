"""Tags that say the same in every flavour: equipment, date, resolution, ICC profile."""

from __future__ import annotations

import re

from dicomfs.dicom.description import Description
from dicomfs.slide.model import Level, Slide
from dicomfs.slide.summary import iso_datetime
from dicomfs.tiff.directory import Code, Directory, Field, text, undefined
from dicomfs.tiff.picture import Picture, picture_fields, resolution_fields

REDUCED = 1
"""NewSubfileType of a reduced-resolution version (TIFF 6.0 section 8)."""

MACRO = 9
"""NewSubfileType that Aperio gives the macro image."""


def scanner_fields(description: Description) -> list[Field]:
    """DocumentName, Make, Model, Software and DateTime, as far as they are known.

    No Artist: who operated a scanner is nobody's business.
    """
    fields = [
        text(code, value)
        for code, value in (
            (Code.DOCUMENT_NAME, description.container_identifier),
            (Code.MAKE, description.manufacturer),
            (Code.MODEL, description.model),
            (Code.SOFTWARE, description.software),
        )
        if value
    ]
    moment = split_datetime(description.acquisition_datetime)
    if moment is not None:
        year, month, day, hour, minute, second = moment
        fields.append(text(Code.DATE_TIME, f"{year}:{month}:{day} {hour}:{minute}:{second}"))
    return fields


def split_datetime(value: str) -> tuple[str, str, str, str, str, str] | None:
    """The parts of a DICOM DT value (PS3.5 6.2), "00" for absent hours and below.

    None where there is no full date, or none that makes sense.  A leap second is the second before.
    """
    iso = iso_datetime(value) or ""
    found = re.match(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d))?", iso)
    if found is None:
        return None
    year, month, day, hour, minute, second = (part or "00" for part in found.groups())
    return year, month, day, hour, minute, min(second, "59")


def icc_fields(slide: Slide, level: Level) -> list[Field]:
    """The ICC profile of the first optical path, for colour only."""
    if slide.icc_profile is None or level.encoding.samples != 3:
        return []
    return [undefined(Code.ICC_PROFILE, slide.icc_profile)]


def associated_icc_fields(slide: Slide, level: Level) -> list[Field]:
    """An associated image's own ICC profile."""
    paths = slide.instances[level.members[0]].header.optical_paths
    if not paths or paths[0].icc_profile is None or level.encoding.samples != 3:
        return []
    return [undefined(Code.ICC_PROFILE, paths[0].icc_profile)]


def level_spacing(slide: Slide, level: Level) -> tuple[float, float] | None:
    """Spacing of a level; from that of the largest where the level does not say."""
    if level.spacing_mm is not None or slide.levels[0].spacing_mm is None:
        return level.spacing_mm
    rows, columns = slide.levels[0].spacing_mm
    base = slide.levels[0]
    return rows * base.height / level.height, columns * base.width / level.width


def level_directory(
    slide: Slide,
    picture: Picture,
    *,
    subfile_type: int | None,
    description: str | None = None,
    children: tuple[Directory, ...] = (),
    scanner: bool = False,
) -> Directory:
    """The directory of a plane of a level."""
    fields = picture_fields(picture, subfile_type)
    fields += resolution_fields(picture, level_spacing(slide, picture.level))
    fields += icc_fields(slide, picture.level)
    if description is not None:
        fields.append(text(Code.IMAGE_DESCRIPTION, description))
    if scanner:
        fields += scanner_fields(slide.description)
    return Directory(tuple(fields), children)


def associated_directory(
    slide: Slide, picture: Picture, *, subfile_type: int, description: str | None = None
) -> Directory:
    """The directory of a label, overview or thumbnail."""
    fields = picture_fields(picture, subfile_type)
    fields += resolution_fields(picture, picture.level.spacing_mm)
    fields += associated_icc_fields(slide, picture.level)
    if description is not None:
        fields.append(text(Code.IMAGE_DESCRIPTION, description))
    return Directory(tuple(fields))
