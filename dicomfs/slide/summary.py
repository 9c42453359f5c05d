"""What a person or a script wants to know of a slide: the schema `dicomfs.slide/1`.

Keys are added in later versions, never renamed or given another meaning.  docs/slide-json.md
describes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from functools import lru_cache
from typing import Any

from dicomfs.dicom.specimen import PreparationStep, Specimen
from dicomfs.slide.model import Channel, Level, Slide

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
    header = slide.instances[base.members[0]].header
    return {
        "schema": SCHEMA,
        "series_instance_uid": slide.series_instance_uid,
        "study_instance_uid": slide.study_instance_uid,
        "pyramid_uid": header.pyramid_uid,
        "frame_of_reference_uid": header.frame_of_reference_uid,
        "patient_id": about.patient_id,
        "accession_number": about.accession_number,
        "study_description": about.study_description,
        "series_number": about.series_number,
        "series_description": about.series_description,
        "container_identifier": about.container_identifier,
        "barcode": about.barcode,
        "label_text": about.label_text,
        "specimens": [_specimen(specimen) for specimen in about.specimens],
        "acquisition_datetime": iso_datetime(about.acquisition_datetime),
        "dates": {
            "study": date_and_time(about.study_date, about.study_time),
            "series": iso_datetime(about.series_datetime),
            "content": iso_datetime(about.content_datetime),
        },
        "acquisition_seconds": about.acquisition_seconds,
        "scanner": {
            "manufacturer": about.manufacturer,
            "model": about.model,
            "serial_number": about.serial_number,
            "software": about.software,
        },
        "objective_power": slide.objective_power,
        "numerical_aperture": slide.numerical_aperture,
        "mpp": _mpp(base),
        "size": [base.width, base.height],
        "imaged_volume_mm": None if about.volume_mm is None else [*map(_single, about.volume_mm)],
        "imaged_depth_um": None if about.depth_um is None else _single(about.depth_um),
        "origin_mm": None if header.origin_mm is None else list(header.origin_mm),
        "orientation": list(header.orientation),
        "icc_profile": slide.icc_profile is not None,
        "channels": [_channel(channel) for channel in slide.channels],
        "focal_planes_um": list(slide.focal_planes_um),
        "plane_spacing_um": slide.plane_spacing_um,
        "focus": {
            "method": about.focus.method,
            "extended_depth_of_field": header.extended_depth_of_field,
            "extended_planes": about.focus.extended_planes,
            "extended_step_um": about.focus.extended_step_um,
        },
        "levels": [
            _level(slide, index, level, passes_through.get(index, False))
            for index, level in enumerate(slide.levels)
        ],
        "associated": {kind: _associated(slide, level) for kind, level in slide.associated.items()},
        "files": {name: dict(facts) for name, facts in files.items()},
        "warnings": [{"code": note.code, "message": note.message} for note in slide.notes],
    }


def _specimen(specimen: Specimen) -> dict[str, Any]:
    return {
        "identifier": specimen.identifier,
        "uid": specimen.uid,
        "description": specimen.description,
        "detailed_description": specimen.detailed_description,
        "type": specimen.kind,
        "anatomy": specimen.anatomy,
        "anatomy_modifiers": list(specimen.modifiers),
        "laterality": specimen.laterality,
        "fixatives": list(specimen.fixatives),
        "embedding": list(specimen.embedding),
        "stains": list(specimen.stains),
        "preparation": [_step(step) for step in specimen.steps],
    }


def _step(step: PreparationStep) -> dict[str, Any]:
    moment = iso_datetime(step.moment)
    values = ", ".join(detail.value for detail in step.details)
    text = ": ".join(part for part in (step.kind, values) if part)
    return {
        "step": step.kind,
        "datetime": moment,
        "details": [{"name": detail.name, "value": detail.value} for detail in step.details],
        "text": f"{text} ({moment})".strip() if moment else text,
    }


def _channel(channel: Channel) -> dict[str, Any]:
    light = channel.light
    return {
        "identifier": channel.identifier,
        "description": channel.description,
        "wavelength_nm": channel.wavelength_nm,
        "illumination": list(light.methods),
        "illumination_color": light.colour,
        "illuminator": light.illuminator,
        "objective_power": channel.objective_power,
        "numerical_aperture": channel.numerical_aperture,
        "condenser_power": light.condenser_power,
        "lenses": list(light.lenses),
        "light_path_filters": _filters(
            light.light_filters, light.light_pass_nm, light.light_band_nm
        ),
        "image_path_filters": _filters(
            light.image_filters, light.image_pass_nm, light.image_band_nm
        ),
        "channel_descriptions": list(light.channels),
    }


def _filters(
    kinds: tuple[str, ...], pass_nm: float | None, band_nm: tuple[float, float] | None
) -> dict[str, Any]:
    return {
        "types": list(kinds),
        "pass_through_nm": pass_nm,
        "pass_band_nm": None if band_nm is None else list(band_nm),
    }


def _level(slide: Slide, index: int, level: Level, passes_through: bool) -> dict[str, Any]:
    base = slide.levels[0]
    downsample = (base.width / level.width + base.height / level.height) / 2
    return {
        "index": index,
        "width": level.width,
        "height": level.height,
        "downsample": _rounded(downsample),
        "mpp": _mpp(level),
        "tile_width": level.tile_width,
        "tile_height": level.tile_height,
        "frames": level.frames,
        "missing_tiles": sum(level.missing(plane) for plane in range(len(level.planes))),
        "transfer_syntax": level.encoding.transfer_syntax,
        "tiles": "pass-through" if passes_through else "decoded",
        **_pixels(slide, level),
        "instances": [slide.instances[member].header.sop_instance_uid for member in level.members],
    }


def _associated(slide: Slide, level: Level) -> dict[str, Any]:
    return {
        "width": level.width,
        "height": level.height,
        "mpp": _mpp(level),
        "transfer_syntax": level.encoding.transfer_syntax,
        **_pixels(slide, level),
        "instances": [slide.instances[member].header.sop_instance_uid for member in level.members],
    }


def _pixels(slide: Slide, level: Level) -> dict[str, Any]:
    """What is said of the pixels of a level by its first instance."""
    header = slide.instances[level.members[0]].header
    return {
        "samples": level.encoding.samples,
        "bits": level.encoding.precision,
        "photometric_interpretation": header.photometric_interpretation,
        "image_type": list(header.image_type),
        "organization": level.organization,
        "lossy": header.lossy,
        "lossy_ratio": header.lossy_ratio,
    }


def _mpp(level: Level) -> list[float] | None:
    """Micrometres per pixel, x and y."""
    if level.spacing_mm is None:
        return None
    return [_rounded(level.spacing_mm[1] * 1000), _rounded(level.spacing_mm[0] * 1000)]


@lru_cache(maxsize=1024)  # the instances of a study have the same ones
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


def date_and_time(date_value: str, time_value: str) -> str | None:
    """A DA and a TM value as ISO 8601; without the time where that makes no sense."""
    if not date_value:
        return None
    return iso_datetime(date_value + time_value) or iso_datetime(date_value)


def _rounded(value: float) -> float:
    """Without the noise that arithmetic leaves behind the digits that were written."""
    return float(f"{value:.10g}")


def _single(value: float) -> float:
    """A value of single precision, with the digits that it has."""
    return float(f"{value:.7g}")
