"""The flavour `ome`: OME-TIFF, for channels, focal planes, grey and 16 bit.

every plane of level 0 with its reduced levels as SubIFDs | label, macro, thumbnail | the reduced
levels of the first plane again, for readers that know no SubIFDs (docs/readers.md)

Planes come in the order XYZCT, which is the order of TILED_FULL (PS3.3 C.7.6.17.3).  The metadata
follows the OME schema 2016-06.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from dicomfs.slide.model import Slide
from dicomfs.tiff.directory import Directory
from dicomfs.tiff.picture import Picture, Pictures
from dicomfs.tiff.slide_fields import (
    REDUCED,
    associated_directory,
    level_directory,
    split_datetime,
)

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_ASSOCIATED = {"label": "label", "overview": "macro", "thumbnail": "thumbnail"}


def directories(slide: Slide, pictures: Pictures) -> Sequence[Directory]:
    """The chain of directories that shows all planes of a slide."""
    associated = {
        _ASSOCIATED[kind]: pictures.stripped(level) for kind, level in slide.associated.items()
    }
    planes = range(len(slide.levels[0].planes))
    chain = []
    for plane in planes:
        levels = [pictures.tiled(level, plane) for level in slide.levels]
        children = tuple(
            level_directory(slide, level, subfile_type=REDUCED) for level in levels[1:]
        )
        description = ome_xml(slide, levels[0], associated) if plane == 0 else None
        chain.append(
            level_directory(
                slide,
                levels[0],
                subfile_type=0,
                description=description,
                children=children,
                scanner=plane == 0,
            )
        )
    for picture in associated.values():
        chain.append(associated_directory(slide, picture, subfile_type=0))
    for level in slide.levels[1:]:
        chain.append(level_directory(slide, pictures.tiled(level, 0), subfile_type=REDUCED))
    return chain


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
    position = len(slide.levels[0].planes)
    for index, (name, picture) in enumerate(associated.items(), 1):
        other = _image(root, index, name)
        _plain_pixels(other, index, picture, position)
        position += 1
    xml: str = ET.tostring(root, encoding="unicode")
    return '<?xml version="1.0" encoding="UTF-8"?>' + _without_controls(xml)


def _without_controls(xml: str) -> str:
    """XML 1.0 has no way to write control characters, and DICOM texts hold them."""
    return "".join(c for c in xml if (c >= " " or c in "\t\n\r") and c not in "\ufffe\uffff")


def _instrument(root: ET.Element, slide: Slide) -> None:
    instrument = ET.SubElement(root, "Instrument", ID="Instrument:0")
    description = slide.description
    microscope = {
        "Manufacturer": description.manufacturer,
        "Model": description.model,
        "SerialNumber": description.serial_number,
    }
    ET.SubElement(instrument, "Microscope", {k: v for k, v in microscope.items() if v})
    objective = {"ID": "Objective:0:0"}
    if slide.objective_power is not None:
        objective["NominalMagnification"] = f"{slide.objective_power:.10g}"
    if slide.numerical_aperture is not None:
        objective["LensNA"] = f"{slide.numerical_aperture:.10g}"
    ET.SubElement(instrument, "Objective", objective)


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
        described = {"ID": f"Channel:0:{index}", "SamplesPerPixel": str(samples)}
        name = channel.description or channel.identifier
        if name:
            described["Name"] = name
        if channel.wavelength_nm is not None and channel.wavelength_nm > 0:
            key = "EmissionWavelength" if channel.fluorescent else "ExcitationWavelength"
            described[key] = f"{channel.wavelength_nm:.10g}"
            described[f"{key}Unit"] = "nm"
        ET.SubElement(pixels, "Channel", described)
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
