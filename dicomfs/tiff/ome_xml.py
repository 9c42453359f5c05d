"""OME-XML that describes a slide: the OME schema 2016-06.

What instrument, objective, light and filters it was seen with (PS3.3 C.8.12.5), how its planes lie,
and of the specimen what OME has no place for as keys and values.  Nothing of the patient.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from dicomfs.slide.model import Channel, Slide
from dicomfs.tiff.picture import Picture
from dicomfs.tiff.slide_fields import split_datetime

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_DETECTOR = "Detector:0:0"
_ANNOTATION = "Annotation:0"
_NAMESPACE = "dicomfs/slide"


def ome_xml(slide: Slide, base: Picture, associated: dict[str, Picture]) -> str:
    """OME-XML that describes the slide and its associated images."""
    root = ET.Element(
        "OME",
        {
            "xmlns": _SCHEMA,
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": f"{_SCHEMA} {_SCHEMA}/ome.xsd",
            "Creator": "dicomfs",
        },
    )
    _instrument(root, slide)
    image = _image(root, 0, slide.description.container_identifier or "slide")
    _acquisition(image, slide)
    _pixels(image, slide, base)
    ET.SubElement(image, "AnnotationRef", ID=_ANNOTATION)
    position = len(slide.levels[0].planes)
    for index, (name, picture) in enumerate(associated.items(), 1):
        other = _image(root, index, name)
        _plain_pixels(other, index, picture, position)
        position += 1
    _annotations(root, slide)
    xml: str = ET.tostring(root, encoding="unicode")
    return '<?xml version="1.0" encoding="UTF-8"?>' + _without_controls(xml)


def _without_controls(xml: str) -> str:
    """XML 1.0 has no way to write control characters, and DICOM texts hold them."""
    return "".join(c for c in xml if (c >= " " or c in "\t\n\r") and c not in "\ufffe\uffff")


def _instrument(root: ET.Element, slide: Slide) -> None:
    instrument = ET.SubElement(root, "Instrument", ID="Instrument:0")
    description = slide.description
    device = {
        "Manufacturer": description.manufacturer,
        "Model": description.model,
        "SerialNumber": description.serial_number,
    }
    ET.SubElement(instrument, "Microscope", {k: v for k, v in device.items() if v})
    ET.SubElement(instrument, "Detector", ID=_DETECTOR, Type="Other")
    objective = {"ID": "Objective:0:0"}
    lenses = ", ".join(dict.fromkeys(lens for one in slide.channels for lens in one.light.lenses))
    if lenses:
        objective["Model"] = lenses
    if slide.objective_power is not None:
        objective["NominalMagnification"] = f"{slide.objective_power:.10g}"
    if slide.numerical_aperture is not None:
        objective["LensNA"] = f"{slide.numerical_aperture:.10g}"
    ET.SubElement(instrument, "Objective", objective)
    for index, channel in enumerate(slide.channels):
        for side, (kinds, band_nm) in _filters(channel).items():
            described = {"ID": _filter_id(side, index)}
            if kinds:
                described["Model"] = ", ".join(kinds)
            one = ET.SubElement(instrument, "Filter", described)
            if band_nm is not None and 0 < band_nm[0] < band_nm[1]:
                ends = {"CutIn": band_nm[0], "CutOut": band_nm[1]}
                ET.SubElement(
                    one,
                    "TransmittanceRange",
                    {key: f"{end:.10g}" for key, end in ends.items()}
                    | {f"{key}Unit": "nm" for key in ends},
                )


_Filters = dict[str, tuple[tuple[str, ...], tuple[float, float] | None]]


def _filters(channel: Channel) -> _Filters:
    """The filters before and behind the slide that anything is known of: kinds and pass band."""
    light = channel.light
    both: _Filters = {
        "Excitation": (light.light_filters, light.light_band_nm),
        "Emission": (light.image_filters, light.image_band_nm),
    }
    return {side: found for side, found in both.items() if any(found)}


def _filter_id(side: str, channel: int) -> str:
    return f"Filter:{side}:{channel}"


def _image(root: ET.Element, index: int, name: str) -> ET.Element:
    return ET.SubElement(root, "Image", ID=f"Image:{index}", Name=name)


def _acquisition(image: ET.Element, slide: Slide) -> None:
    moment = split_datetime(slide.description.acquisition_datetime)
    if moment is not None:
        year, month, day, hour, minute, second = moment
        date = ET.SubElement(image, "AcquisitionDate")
        date.text = f"{year}-{month}-{day}T{hour}:{minute}:{second}"
    ET.SubElement(image, "InstrumentRef", ID="Instrument:0")
    ET.SubElement(image, "ObjectiveSettings", ID="Objective:0:0")
    origin = _origin_mm(slide)
    if origin is not None:
        place = {"X": f"{origin[0]:.10g}", "XUnit": "mm", "Y": f"{origin[1]:.10g}", "YUnit": "mm"}
        ET.SubElement(image, "StageLabel", {"Name": "slide coordinates"} | place)


def _origin_mm(slide: Slide) -> tuple[float, float] | None:
    """Where the first pixel lies in the slide coordinate system, x and y."""
    return slide.instances[slide.levels[0].members[0]].header.origin_mm


def _pixels(image: ET.Element, slide: Slide, base: Picture) -> None:
    samples = base.storage.samples
    depth = len(slide.focal_planes_um)
    attributes = _size_attributes(0, base, len(slide.channels) * samples, depth)
    if slide.mpp is not None:
        attributes |= {
            "PhysicalSizeX": f"{slide.mpp[0]:.10g}",
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": f"{slide.mpp[1]:.10g}",
            "PhysicalSizeYUnit": "µm",
        }
    if slide.plane_spacing_um is not None:
        attributes |= {
            "PhysicalSizeZ": f"{slide.plane_spacing_um:.10g}",
            "PhysicalSizeZUnit": "µm",
        }
    pixels = ET.SubElement(image, "Pixels", attributes)
    for index, channel in enumerate(slide.channels):
        _channel(pixels, index, channel, samples)
    for plane in range(len(slide.levels[0].planes)):
        channel_number, z = divmod(plane, depth)
        ET.SubElement(
            pixels,
            "TiffData",
            IFD=str(plane),
            FirstC=str(channel_number),
            FirstZ=str(z),
            FirstT="0",
            PlaneCount="1",
        )
    for plane in range(len(slide.levels[0].planes)):
        _place(pixels, slide, plane, depth)


def _channel(pixels: ET.Element, index: int, channel: Channel, samples: int) -> None:
    described = {"ID": f"Channel:0:{index}", "SamplesPerPixel": str(samples)}
    name = channel.description or channel.identifier
    if name:
        described["Name"] = name
    if channel.light.methods:
        described["IlluminationType"] = _illumination(channel)
    for key, wavelength in _wavelengths(channel).items():
        if wavelength is not None and wavelength > 0:
            described[key] = f"{wavelength:.10g}"
            described[f"{key}Unit"] = "nm"
    element = ET.SubElement(pixels, "Channel", described)
    ET.SubElement(element, "DetectorSettings", ID=_DETECTOR)
    filters = _filters(channel)
    if filters:
        path = ET.SubElement(element, "LightPath")
        for side in filters:
            ET.SubElement(path, f"{side}FilterRef", ID=_filter_id(side, index))


def _illumination(channel: Channel) -> str:
    words = " ".join(channel.light.methods).lower()
    if channel.fluorescent:
        return "Epifluorescence"
    if "brightfield" in words or "transm" in words:
        return "Transmitted"
    return "Oblique" if "oblique" in words else "Other"


def _wavelengths(channel: Channel) -> dict[str, float | None]:
    """What the filters say; else the Illumination Wave Length (0022,0055).

    Of a fluorescent path that stands for the emission too, as it does in Bio-Formats' reading of
    DICOM: it is what viewers choose a colour by, and most files say nothing else.
    """
    light, fluorescent = channel.light, channel.fluorescent
    emission = light.image_pass_nm or _middle(light.image_band_nm)
    excitation = light.light_pass_nm or _middle(light.light_band_nm)
    return {
        "EmissionWavelength": emission or (channel.wavelength_nm if fluorescent else None),
        "ExcitationWavelength": excitation or (None if fluorescent else channel.wavelength_nm),
    }


def _middle(band_nm: tuple[float, float] | None) -> float | None:
    return None if band_nm is None else sum(band_nm) / 2


def _place(pixels: ET.Element, slide: Slide, plane: int, depth: int) -> None:
    """Where a plane lies: x and y of its first pixel, z of its focal plane."""
    channel_number, z = divmod(plane, depth)
    place = {"TheZ": str(z), "TheC": str(channel_number), "TheT": "0"}
    origin = _origin_mm(slide)
    if origin is not None:
        for axis, value in zip("XY", origin, strict=True):
            place[f"Position{axis}"] = f"{value:.10g}"
            place[f"Position{axis}Unit"] = "mm"
    place["PositionZ"] = f"{slide.focal_planes_um[z]:.10g}"
    place["PositionZUnit"] = "µm"
    ET.SubElement(pixels, "Plane", place)


def _plain_pixels(image: ET.Element, index: int, picture: Picture, position: int) -> None:
    samples = picture.storage.samples
    pixels = ET.SubElement(image, "Pixels", _size_attributes(index, picture, samples, 1))
    ET.SubElement(pixels, "Channel", ID=f"Channel:{index}:0", SamplesPerPixel=str(samples))
    ET.SubElement(
        pixels, "TiffData", IFD=str(position), FirstC="0", FirstZ="0", FirstT="0", PlaneCount="1"
    )


def _size_attributes(index: int, picture: Picture, channels: int, depth: int) -> dict[str, str]:
    sign = "" if picture.storage.signed else "u"
    return {
        "ID": f"Pixels:{index}",
        "DimensionOrder": "XYZCT",
        "Type": f"{sign}int{picture.storage.bits}",
        "BigEndian": "false",
        "Interleaved": "true" if picture.storage.samples > 1 else "false",
        "SizeX": str(picture.width),
        "SizeY": str(picture.height),
        "SizeC": str(channels),
        "SizeZ": str(depth),
        "SizeT": "1",
    }


def _annotations(root: ET.Element, slide: Slide) -> None:
    """What OME has no place for, as keys and values."""
    about = slide.description
    found: list[tuple[str, str]] = [
        ("Study Instance UID", slide.study_instance_uid),
        ("Series Instance UID", slide.series_instance_uid),
        ("Container Identifier", about.container_identifier),
        ("Barcode", about.barcode),
        ("Label Text", about.label_text),
        ("Software", about.software),
        ("Focus Method", about.focus.method),
    ]
    for specimen in about.specimens:
        found += [
            ("Specimen Identifier", specimen.identifier),
            ("Specimen", specimen.description),
            ("Specimen Type", specimen.kind),
            ("Anatomy", specimen.anatomy),
            ("Laterality", specimen.laterality),
            *(("Fixative", one) for one in specimen.fixatives),
            *(("Embedding", one) for one in specimen.embedding),
            *(("Stain", one) for one in specimen.stains),
        ]
    annotations = ET.SubElement(root, "StructuredAnnotations")
    annotation = ET.SubElement(annotations, "MapAnnotation", ID=_ANNOTATION, Namespace=_NAMESPACE)
    value = ET.SubElement(annotation, "Value")
    for key, text in dict.fromkeys(found):
        if text:
            ET.SubElement(value, "M", K=key).text = text
