"""What a person or a script wants to know of a slide: the schema `dicomfs.slide/1`.

Keys are added in later versions, never renamed or given another meaning.  docs/slide-json.md
describes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from dicomfs.slide.model import Level, Slide

SCHEMA = "dicomfs.slide/1"


def summarise(
    slide: Slide, passes_through: Mapping[int, bool], files: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The content of `<slide>.json`.

    passes_through : for each level, by its index, whether its frames are the tiles
    files : the virtual files of the slide by name, each with its flavour and size in bytes
    """
    base = slide.levels[0]
    about = slide.description
    return {
        "schema": SCHEMA,
        "series_instance_uid": slide.series_instance_uid,
        "study_instance_uid": slide.study_instance_uid,
        "patient_id": about.patient_id,
        "accession_number": about.accession_number,
        "container_identifier": about.container_identifier,
        "specimens": [
            {
                "identifier": specimen.identifier,
                "uid": specimen.uid,
                "description": specimen.description,
                "anatomy": specimen.anatomy,
                "stains": list(specimen.stains),
            }
            for specimen in about.specimens
        ],
        "acquisition_datetime": iso_datetime(about.acquisition_datetime),
        "scanner": {
            "manufacturer": about.manufacturer,
            "model": about.model,
            "serial_number": about.serial_number,
            "software": about.software,
        },
        "objective_power": slide.objective_power,
        "numerical_aperture": slide.numerical_aperture,
        "mpp": None if slide.mpp is None else [_rounded(value) for value in slide.mpp],
        "size": [base.width, base.height],
        "icc_profile": slide.icc_profile is not None,
        "channels": [
            {
                "identifier": channel.identifier,
                "description": channel.description,
                "wavelength_nm": channel.wavelength_nm,
            }
            for channel in slide.channels
        ],
        "focal_planes_um": list(slide.focal_planes_um),
        "levels": [
            _level(slide, index, level, passes_through.get(index, False))
            for index, level in enumerate(slide.levels)
        ],
        "associated": {
            kind: {
                "width": level.width,
                "height": level.height,
                "transfer_syntax": level.encoding.transfer_syntax,
            }
            for kind, level in slide.associated.items()
        },
        "files": {name: dict(facts) for name, facts in files.items()},
        "warnings": [{"code": note.code, "message": note.message} for note in slide.notes],
    }


def _level(slide: Slide, index: int, level: Level, passes_through: bool) -> dict[str, Any]:
    base = slide.levels[0]
    downsample = (base.width / level.width + base.height / level.height) / 2
    return {
        "index": index,
        "width": level.width,
        "height": level.height,
        "downsample": _rounded(downsample),
        "tile_width": level.tile_width,
        "tile_height": level.tile_height,
        "frames": level.frames,
        "missing_tiles": sum(level.missing(plane) for plane in range(len(level.planes))),
        "transfer_syntax": level.encoding.transfer_syntax,
        "tiles": "pass-through" if passes_through else "decoded",
        "instances": [slide.instances[member].header.sop_instance_uid for member in level.members],
    }


def iso_datetime(value: str) -> str | None:
    """A DICOM DT value (PS3.5 6.2) as ISO 8601, as precise as it is; None where it is no moment."""
    found = re.match(
        r"(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)?(\d\d)?(\.\d{1,6})?)?([+-]\d{4})?$",
        value.replace(":", ""),
    )
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:  # a leap second is the sixtieth (PS3.5 6.2), which time does not know
        date(int(year), int(month or 1), int(day or 1))
        time(int(hour or 0), int(minute or 0), int(second or 0) - (second == "60"))
    except ValueError:
        return None
    text = "-".join(part for part in (year, month, day) if part)
    if hour:
        text += f"T{hour}:{minute or '00'}:{second or '00'}{fraction or ''}"
        if zone:
            text += f"{zone[:3]}:{zone[3:]}"
    return text


def _rounded(value: float) -> float:
    """Without the noise that arithmetic leaves behind the digits that were written."""
    return float(f"{value:.10g}")
