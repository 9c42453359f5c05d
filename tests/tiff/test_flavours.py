"""What each flavour says, as other people's readers see it: directories, tags, descriptions."""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest
import tifffile
from PIL import ImageCms
from pydicom import Dataset

import dicomfs
from dicomfs.slide.build import build_slide
from dicomfs.tiff.flavours import default_flavour, plan_flavour, shown_plane
from dicomfs.tiff.slide_fields import split_datetime
from dicomfs.tiff.storage import Flavour
from tests.archive.virtual_tiff import opened
from tests.conftest import WrittenSeries
from tests.fixtures.codecs import CODECS
from tests.fixtures.headers import icc_profile
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series
from tests.slide.instances import changed, instances_of, small


@contextmanager
def shown(written: WrittenSeries, case_id: str, flavour: str) -> Iterator[tifffile.TiffFile]:
    with (
        dicomfs.open_archive(written(case_id).directory, flavours=[flavour]) as archive,
        opened(archive, flavour) as (_, tiff),
    ):
        yield tiff


def pages_of(tiff: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    return [page.aspage() for page in tiff.pages]


def value_of(page: tifffile.TiffPage, tag: int) -> object:
    found = page.tags.get(tag)
    return None if found is None else found.value


def copied(written: WrittenSeries, case_id: str, flavour: str, directory: Path) -> Path:
    with dicomfs.open_archive(written(case_id).directory, flavours=[flavour]) as archive:
        (path,) = [p for p in archive.files() if p.endswith(Flavour(flavour).suffix)]
        copy = directory / f"slide{Flavour(flavour).suffix}"
        with archive.open(path) as file:
            copy.write_bytes(file.read())
    return copy


# --- which flavour --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case_id", "flavour"),
    [
        ("jpeg-main", Flavour.SVS),
        ("native-rgb8", Flavour.SVS),
        ("jpegls-rgb8", Flavour.SVS),
        ("jpeg-grey", Flavour.OME),
        ("native-grey16", Flavour.OME),
        ("jpeg-grey-channels", Flavour.OME),
        ("jpeg-focal-planes", Flavour.OME),
        ("native-rgb-paths", Flavour.OME),
        ("non-square-spacing", Flavour.OME),  # one MPP cannot say it
    ],
)
def test_the_flavour_that_fits(case_id: str, flavour: Flavour, written: WrittenSeries) -> None:
    series = written(case_id)
    assert default_flavour(build_slide(instances_of(series))) is flavour
    with dicomfs.open_archive(series.directory) as archive:
        (path,) = [p for p in archive.files() if p.endswith((".svs", ".tif"))]
        assert path.endswith(flavour.suffix)
    assert (flavour is Flavour.SVS) == path.endswith(".svs")


@pytest.mark.parametrize(("planes", "middle"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_flavours_of_one_plane_show_the_middle_one(
    planes: int, middle: int, tmp_path: Path
) -> None:
    slide = build_slide(small(tmp_path, planes=planes))
    assert shown_plane(slide) == middle
    for flavour in (Flavour.SVS, Flavour.TIFF):
        plan = plan_flavour(slide, flavour)
        assert {picture.plane for picture in plan.pictures} == {middle}


def test_flavours_of_one_slide_are_beside_each_other(written: WrittenSeries) -> None:
    with dicomfs.open_archive(written("jpeg-main").directory, flavours=["ome", "svs"]) as archive:
        names = sorted(path.rpartition("/")[2] for path in archive.files() if "/C-" in path)
    stems = {name.split(".")[0] for name in names}
    assert len(stems) == 1
    assert {name.partition(".")[2] for name in names} == {
        "ome.tif",
        "svs",
        "json",
        "dicom.json",
        "label.jpg",
        "overview.jpg",
        "thumbnail.jpg",
    }


# --- the directories ------------------------------------------------------------------------------


def test_svs_lists_its_directories_as_aperio_does(written: WrittenSeries) -> None:
    with shown(written, "jpeg-main", "svs") as tiff:
        assert tiff.is_svs
        assert tiff.is_bigtiff
        pages = pages_of(tiff)
        shapes = [(page.imagewidth, page.imagelength, page.is_tiled) for page in pages]
        assert shapes == [
            (600, 450, True),
            (120, 90, False),  # the thumbnail comes second
            (300, 225, True),
            (150, 112, True),
            (160, 120, False),
            (200, 90, False),
        ]
        assert [value_of(page, 254) for page in pages] == [0, 0, 0, 0, 1, 9]
        subs = [sub.aspage() for sub in pages[0].pages or ()]
        assert [(sub.imagewidth, sub.imagelength) for sub in subs] == [(300, 225), (150, 112)]
        assert all(value_of(sub, 254) == 1 for sub in subs)
        assert [sub.dataoffsets for sub in subs] == [page.dataoffsets for page in pages[2:4]]


def test_tiff_is_a_plain_pyramid(written: WrittenSeries) -> None:
    with shown(written, "jpeg-main", "tiff") as tiff:
        pages = pages_of(tiff)
        assert [(page.imagewidth, page.is_tiled) for page in pages] == [
            (600, True),
            (300, True),
            (150, True),
            (160, False),
            (200, False),
        ]
        assert [value_of(page, 254) for page in pages] == [0, 1, 1, 1, 9]
        assert [page.description for page in pages] == ["", "", "", "label", "macro"]


def test_ome_lists_planes_then_images_then_the_pyramid(written: WrittenSeries) -> None:
    with shown(written, "native-planes-and-paths", "ome") as tiff:
        assert tiff.is_ome
        pages = pages_of(tiff)
        assert [page.imagewidth for page in pages] == [330] * 6 + [165]
        assert all(len(page.pages or ()) == 1 for page in pages[:6])
    with shown(written, "jpeg-main", "ome") as tiff:
        pages = pages_of(tiff)
        assert [(page.imagewidth, page.is_tiled) for page in pages] == [
            (600, True),
            (160, False),
            (200, False),
            (120, False),
            (300, True),
            (150, True),
        ]


# --- tags -----------------------------------------------------------------------------------------

JPEG_PHOTOMETRIC = {"jpeg-4": 6, "jpeg-rgb": 2, "jpeg-grey": 1, "jpeg-extended-4": 6, "jpeg-ext": 1}
SUBSAMPLING = {"422": (2, 1), "420": (2, 2)}


@pytest.mark.parametrize("name", [name for name in CODECS if name.startswith("jpeg-")])
@pytest.mark.parametrize("flavour", ["svs", "tiff"])
def test_tags_of_jpeg_say_what_the_stream_holds(
    name: str, flavour: str, written: WrittenSeries
) -> None:
    """OpenSlide, libtiff and libvips obey the tags blindly."""
    with shown(written, name, flavour) as tiff:
        page = pages_of(tiff)[0]
        if name.startswith("jpeg-lossless"):
            assert value_of(page, 259) == 1
            return
        assert value_of(page, 259) == 7
        photometric = next(n for start, n in JPEG_PHOTOMETRIC.items() if name.startswith(start))
        assert value_of(page, 262) == photometric
        sampling = (
            SUBSAMPLING.get(next((s for s in SUBSAMPLING if s in name), ""))
            if photometric == 6
            else None
        )
        assert value_of(page, 530) == sampling
        if photometric == 6:
            assert value_of(page, 532) == (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
        else:
            assert value_of(page, 532) is None


@pytest.mark.parametrize(
    ("case_id", "flavour", "compression", "photometric"),
    [
        ("j2k-rct", "svs", 33005, 2),
        ("j2k-rct", "ome", 34712, 2),
        ("j2k-rct", "tiff", 1, 2),
        ("j2k-grey16", "ome", 34712, 1),
        ("j2k-grey16", "svs", 1, 1),
        ("j2k-ycbcr", "ome", 1, 2),
        ("native-rgb8", "svs", 1, 2),
        ("native-grey16", "ome", 1, 1),
        ("htj2k-rct", "svs", 1, 2),
        ("rle-grey16", "tiff", 1, 1),
    ],
)
def test_tags_of_other_encodings(
    case_id: str, flavour: str, compression: int, photometric: int, written: WrittenSeries
) -> None:
    codec = CODECS[case_id]
    with shown(written, case_id, flavour) as tiff:
        page = pages_of(tiff)[0]
        assert (value_of(page, 259), value_of(page, 262)) == (compression, photometric)
        bits = (codec.bits_allocated,) * codec.samples
        assert page.tags[258].value == (bits if codec.samples > 1 else bits[0])
        assert value_of(page, 277) == codec.samples
        assert (value_of(page, 284), value_of(page, 274)) == (1, 1)
        assert np.ravel(page.tags[339].value).tolist() == [1] * codec.samples
        assert value_of(page, 530) is None


def resolution(page: tifffile.TiffPage) -> tuple[float, float]:
    x, y = (page.tags[tag].value for tag in (282, 283))
    return x[0] / x[1], y[0] / y[1]


@pytest.mark.parametrize("flavour", ["svs", "ome", "tiff"])
@pytest.mark.parametrize("case_id", ["jpeg-main", "non-square-spacing", "uneven-downsamples"])
def test_resolution_in_pixels_per_centimetre(
    case_id: str, flavour: str, written: WrittenSeries
) -> None:
    series = written(case_id)
    by_size = {(level.columns, level.rows): level for level in series.levels}
    with shown(written, case_id, flavour) as tiff:
        for page in pages_of(tiff):
            level = by_size.get((page.imagewidth, page.imagelength))
            if level is not None:
                assert value_of(page, 296) == 3
                expected = (10_000 / level.mpp[0], 10_000 / level.mpp[1])
                assert resolution(page) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("flavour", ["svs", "ome", "tiff"])
def test_no_spacing_no_resolution(flavour: str, written: WrittenSeries) -> None:
    with shown(written, "without-SharedFunctionalGroupsSequence", flavour) as tiff:
        for page in pages_of(tiff):
            assert (value_of(page, 282), value_of(page, 283), value_of(page, 296)) == (
                None,
                None,
                None,
            )


@pytest.mark.parametrize("flavour", ["svs", "ome", "tiff"])
def test_scanner_date_and_profile(flavour: str, written: WrittenSeries) -> None:
    with shown(written, "jpeg-main", flavour) as tiff:
        first = pages_of(tiff)[0]
        assert value_of(first, 269) == "C-0815"
        assert value_of(first, 271) == "Fixture Works"
        assert value_of(first, 272) == "Picture 1"
        assert value_of(first, 305) == "1.0"
        assert value_of(first, 306) == "2026:01:02 10:11:12"
        assert all(
            value_of(page, 34675) == icc_profile() for page in pages_of(tiff) if page.is_tiled
        )
    with shown(written, "without-icc", flavour) as tiff:
        assert all(value_of(page, 34675) is None for page in pages_of(tiff))
    with shown(written, "jpeg-grey", flavour) as tiff:
        assert all(value_of(page, 34675) is None for page in pages_of(tiff))


def test_the_name_of_the_patient_shows_nowhere(written: WrittenSeries, tmp_path: Path) -> None:
    for flavour in ("svs", "ome", "tiff"):
        assert "Ärztin".encode() not in copied(written, "jpeg-main", flavour, tmp_path).read_bytes()


# --- svs ------------------------------------------------------------------------------------------


def test_svs_has_the_properties_of_aperio(written: WrittenSeries, tmp_path: Path) -> None:
    path = copied(written, "jpeg-main", "svs", tmp_path)
    with openslide.OpenSlide(path) as slide:
        properties = slide.properties
        assert properties["openslide.vendor"] == "aperio"
        assert float(properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert float(properties["openslide.objective-power"]) == 20
        assert properties["aperio.Date"] == "01/02/26"
        assert properties["aperio.Time"] == "10:11:12"
        assert properties["aperio.ScanScope ID"] == "4711"
        assert properties["aperio.Filename"] == "C-0815"
        assert properties["aperio.ImageID"] == "C-0815"
        assert properties["aperio.OriginalWidth"] == "600"
        assert properties["aperio.OriginalHeight"] == "450"
        there = pydicom.dcmread(written("jpeg-main").files[0].path)
        origin = there.TotalPixelMatrixOriginSequence[0]
        assert float(properties["aperio.Left"]) == origin.XOffsetInSlideCoordinateSystem
        assert float(properties["aperio.Top"]) == origin.YOffsetInSlideCoordinateSystem
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile()))
        assert properties["aperio.ICC Profile"] == profile.profile.profile_description
        assert set(slide.associated_images) == {"thumbnail", "label", "macro"}
        assert slide.level_dimensions == ((600, 450), (300, 225), (150, 112))


def test_svs_texts_cannot_break_the_description(tmp_path: Path) -> None:
    """`|` and `=` separate its keys and values."""

    def edit(ds: Dataset, flavour: str, level: int) -> None:
        ds.ContainerIdentifier = "a|AppMag = 99|b=c"
        ds.DeviceSerialNumber = "x\ty"
        ds.BarcodeValue = "0123=4"
        ds.LabelText = "two\r\nlines"

    spec = SeriesSpec(width=300, height=200, downsamples=(1,), edit=edit)
    write_series(tmp_path / "series", spec)
    with (
        dicomfs.open_archive(tmp_path / "series", flavours=["svs"]) as archive,
        opened(archive, "svs") as (_, tiff),
    ):
        keys = dict(part.split(" = ", 1) for part in pages_of(tiff)[0].description.split("|")[1:])
    assert float(keys["AppMag"]) == 20
    assert keys["Filename"] == "a AppMag   99 b c"
    assert keys["Barcode"] == "0123 4"
    assert keys["Title"] == "two  lines"


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("20260102101112.25+0100", ("2026", "01", "02", "10", "11", "12")),
        ("20260102", ("2026", "01", "02", "00", "00", "00")),
        ("20161231235960", ("2016", "12", "31", "23", "59", "59")),
        ("n/a", None),
        ("2026", None),
        ("20261301101112", None),
        ("20260230", None),
        ("20260101256161", None),
    ],
)
def test_dates_that_are_none_are_left_out(
    value: str, parts: tuple[str, ...] | None, tmp_path: Path
) -> None:
    assert split_datetime(value) == parts
    (instance,) = small(tmp_path, downsamples=(1,))
    about = dataclasses.replace(instance.header.description, acquisition_datetime=value)
    slide = build_slide([changed(instance, description=about)])
    for flavour in Flavour:
        plan = plan_flavour(slide, flavour)
        header = b"".join(part for part in plan.header.parts if isinstance(part, bytes))
        written = b"AcquisitionDate" in header or b"|Date = " in header
        assert written == (parts is not None and flavour is not Flavour.TIFF)
        tag = struct.pack("<HH", 306, 2)
        assert (tag in header) == (parts is not None)


@pytest.mark.parametrize(
    "spacing", [(1e-9, 1e-9), (1e-12, 0.0005), (1e-320, 1e-320), (1e300, 1e300)]
)
@pytest.mark.parametrize("flavour", ["svs", "ome", "tiff"])
def test_absurd_spacings_harm_nothing(
    spacing: tuple[float, float], flavour: str, tmp_path: Path
) -> None:
    """What no RATIONAL can hold is left out."""
    (instance,) = small(tmp_path, downsamples=(1,))
    measures = dataclasses.replace(instance.header.measures, spacing=spacing)
    plan = plan_flavour(build_slide([changed(instance, measures=measures)]), Flavour(flavour))
    assert plan.size > 0


def test_svs_without_anything_known(tmp_path: Path) -> None:
    dropped = ("OpticalPathSequence", "SharedFunctionalGroupsSequence", "AcquisitionDateTime")
    spec = SeriesSpec(width=300, height=200, downsamples=(1,), drop=dropped)
    write_series(tmp_path / "series", spec)
    with (
        dicomfs.open_archive(tmp_path / "series", flavours=["svs"]) as archive,
        opened(archive, "svs") as (_, tiff),
    ):
        description = pages_of(tiff)[0].description
        assert description.startswith("Aperio ")
        assert "MPP" not in description
        assert "AppMag" not in description
