"""The OME-XML of the flavour `ome`, read by ome-types: what it says, and that it can be read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pydicom
import pytest
from ome_types import OME, from_xml, validate_xml
from ome_types.model import Channel, Pixels
from pydicom import Dataset

import dicomfs
from dicomfs.dicom.header import Light
from dicomfs.slide.build import build_slide
from dicomfs.tiff.flavours import plan_flavour
from dicomfs.tiff.storage import Flavour
from tests.archive.virtual_tiff import opened
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import cases
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series
from tests.slide.instances import changed, small


def ome_of(written: WrittenSeries, case_id: str) -> OME:
    with (
        dicomfs.open_archive(written(case_id).directory, flavours=["ome"]) as archive,
        opened(archive, "ome") as (_, tiff),
    ):
        assert tiff.ome_metadata is not None
        validate_xml(tiff.ome_metadata)
        return from_xml(tiff.ome_metadata)


def pixels_of(ome: OME, image: int = 0) -> Pixels:
    pixels = ome.images[image].pixels
    assert isinstance(pixels, Pixels)
    return pixels


def channels_of(pixels: Pixels) -> list[Channel]:
    return [channel for channel in pixels.channels if isinstance(channel, Channel)]


def test_ome_xml_describes_the_slide(written: WrittenSeries) -> None:
    ome = ome_of(written, "jpeg-main")
    pixels = pixels_of(ome)
    assert (pixels.size_x, pixels.size_y) == (600, 450)
    assert (pixels.size_z, pixels.size_c, pixels.size_t) == (1, 3, 1)
    assert pixels.physical_size_x == pixels.physical_size_y == 0.5
    assert str(pixels.physical_size_x_unit.value) == "µm"
    assert str(pixels.type.value) == "uint8"
    (instrument,) = ome.instruments
    assert instrument.microscope is not None
    assert instrument.microscope.manufacturer == "Fixture Works"
    assert instrument.microscope.model == "Picture 1"
    assert instrument.microscope.serial_number == "4711"
    (objective,) = instrument.objectives
    assert (objective.nominal_magnification, objective.lens_na) == (20, 0.75)
    moment = ome.images[0].acquisition_date
    assert moment is not None
    assert moment.isoformat() == "2026-01-02T10:11:12"
    assert [image.name for image in ome.images] == ["C-0815", "label", "macro", "thumbnail"]
    sizes = [(image.pixels.size_x, image.pixels.size_y) for image in ome.images[1:]]
    assert sizes == [(160, 120), (200, 90), (120, 90)]
    assert [image.pixels.tiff_data_blocks[0].ifd for image in ome.images] == [0, 1, 2, 3]


def test_ome_xml_of_channels_and_planes(written: WrittenSeries) -> None:
    pixels = pixels_of(ome_of(written, "native-planes-and-paths"))
    assert (pixels.size_c, pixels.size_z) == (2, 3)
    assert pixels.physical_size_z == 2.0
    assert str(pixels.dimension_order.value) == "XYZCT"
    assert str(pixels.type.value) == "uint16"
    channels = channels_of(pixels)
    assert [channel.name for channel in channels] == ["Path 405", "Path 488"]
    assert [channel.emission_wavelength for channel in channels] == [405.0, 485.0]
    assert [channel.samples_per_pixel for channel in channels] == [1, 1]
    blocks = [(block.ifd, block.first_c, block.first_z) for block in pixels.tiff_data_blocks]
    assert blocks == [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 0), (4, 1, 1), (5, 1, 2)]


def test_ome_xml_of_several_colour_images(written: WrittenSeries) -> None:
    pixels = pixels_of(ome_of(written, "native-rgb-paths"))
    assert pixels.size_c == 6
    assert [channel.samples_per_pixel for channel in channels_of(pixels)] == [3, 3]


def test_ome_xml_says_how_wide_and_how_high_a_pixel_is(written: WrittenSeries) -> None:
    pixels = pixels_of(ome_of(written, "non-square-spacing"))
    assert (pixels.physical_size_x, pixels.physical_size_y) == (0.4, 0.5)


def test_ome_xml_holds_any_text(tmp_path: Path) -> None:
    def edit(ds: Dataset, flavour: str, level: int) -> None:
        ds.ContainerIdentifier = "<&>\"'\x1b[0m µ\uffff\ufffe"
        ds.OpticalPathSequence[0].OpticalPathDescription = "]]> \x01"

    spec = SeriesSpec(width=300, height=200, downsamples=(1,), codec="native-grey8", edit=edit)
    write_series(tmp_path / "series", spec)
    with (
        dicomfs.open_archive(tmp_path / "series", flavours=["ome"]) as archive,
        opened(archive, "ome") as (_, tiff),
    ):
        assert tiff.ome_metadata is not None
        ome = from_xml(tiff.ome_metadata)
    assert ome.images[0].name == "<&>\"'[0m µ"
    assert channels_of(pixels_of(ome))[0].name is not None


def test_negative_and_unknown_wavelengths_are_left_out(tmp_path: Path) -> None:
    (instance,) = small(tmp_path, codec="native-grey8", downsamples=(1,))
    path = instance.header.optical_paths[0]
    for wavelength in (None, 0.0, -5.0):
        odd = changed(
            instance, optical_paths=(dataclasses.replace(path, wavelength_nm=wavelength),)
        )
        slide = build_slide([odd])
        plan = plan_flavour(slide, Flavour.OME)
        header = b"".join(part for part in plan.header.parts if isinstance(part, bytes))
        assert b"Wavelength" not in header


def test_a_distance_of_planes_is_positive(tmp_path: Path) -> None:
    """The schema has no other, whichever way the planes were counted."""
    (instance,) = small(tmp_path, planes=3, downsamples=(1,))
    measures = dataclasses.replace(instance.header.measures, between_planes=-0.002)
    slide = build_slide([changed(instance, measures=measures)])
    assert slide.plane_spacing_um == 2.0
    assert slide.focal_planes_um == (-4.0, -2.0, 0.0)


@pytest.mark.parametrize("case_id", [case.id for case in cases("geometry", "header")])
def test_ome_xml_is_as_its_schema_says(case_id: str, written: WrittenSeries) -> None:
    assert ome_of(written, case_id).images


def test_ome_xml_says_where_the_planes_lie(written: WrittenSeries) -> None:
    ome = ome_of(written, "native-planes-and-paths")
    there = pydicom.dcmread(written("native-planes-and-paths").files[0].path)
    origin = there.TotalPixelMatrixOriginSequence[0]
    x, y = origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem
    planes = pixels_of(ome).planes
    assert [(plane.the_c, plane.the_z) for plane in planes] == [
        (c, z) for c in range(2) for z in range(3)
    ]
    assert [plane.position_z for plane in planes] == [0.0, 2.0, 4.0] * 2
    for plane in planes:
        assert (plane.position_x, plane.position_y) == (x, y)
        assert str(plane.position_x_unit.value) == str(plane.position_y_unit.value) == "mm"
        assert str(plane.position_z_unit.value) == "µm"
    label = ome.images[0].stage_label
    assert label is not None
    assert (label.x, label.y) == (x, y)


def test_ome_xml_says_what_is_on_the_slide(tmp_path: Path) -> None:
    def edit(ds: Dataset, flavour: str, level: int) -> None:
        ds.BarcodeValue, ds.LabelText = "0815", "Label"

    write_series(tmp_path / "series", SeriesSpec(downsamples=(1,), associated=(), edit=edit))
    with (
        dicomfs.open_archive(tmp_path / "series", flavours=["ome"]) as archive,
        opened(archive, "ome") as (_, tiff),
    ):
        ome = from_xml(str(tiff.ome_metadata))
    assert ome.structured_annotations is not None
    (annotation,) = ome.structured_annotations.map_annotations
    said = {pair.k: pair.value for pair in annotation.value.ms}
    for key, value in {
        "Barcode": "0815",
        "Label Text": "Label",
        "Container Identifier": "C-0815",
        "Stain": "hematoxylin stain",
        "Anatomy": "Lung",
    }.items():
        assert said[key] == value
    assert [one.id for one in ome.images[0].annotation_refs] == [annotation.id]
    assert "Ärztin" not in str(tiff.ome_metadata)


def test_ome_xml_of_light_and_filters(tmp_path: Path) -> None:
    (instance,) = small(tmp_path, codec="native-grey8", downsamples=(1,))
    path = instance.header.optical_paths[0]
    light = Light(
        methods=("Epifluorescence illumination",),
        lenses=("Plan apochromat",),
        light_filters=("Band pass",),
        light_band_nm=(460.0, 500.0),
        image_pass_nm=525.0,
        image_band_nm=(510.0, 540.0),
    )
    odd = changed(instance, optical_paths=(dataclasses.replace(path, light=light),))
    plan = plan_flavour(build_slide([odd]), Flavour.OME)
    header = b"".join(part for part in plan.header.parts if isinstance(part, bytes))
    xml = header[header.index(b"<?xml") : header.index(b"</OME>") + 6].decode()
    validate_xml(xml)
    ome = from_xml(xml)
    (channel,) = channels_of(pixels_of(ome))
    assert (channel.excitation_wavelength, channel.emission_wavelength) == (480, 525)
    assert channel.illumination_type is not None
    assert str(channel.illumination_type.value) == "Epifluorescence"
    (instrument,) = ome.instruments
    assert instrument.objectives[0].model == "Plan apochromat"
    bands = {
        one.id: (one.transmittance_range.cut_in, one.transmittance_range.cut_out)
        for one in instrument.filters
        if one.transmittance_range is not None
    }
    assert channel.light_path is not None
    (before,) = channel.light_path.excitation_filters
    (behind,) = channel.light_path.emission_filters
    assert (bands[before.id], bands[behind.id]) == ((460, 500), (510, 540))
    assert channel.detector_settings is not None
    assert channel.detector_settings.id == instrument.detectors[0].id
