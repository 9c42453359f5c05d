"""The header of an instance, against pydicom; values that break their VR hide nothing."""

from __future__ import annotations

import pydicom
import pytest

from dicomfs.dicom.encoding import Encoding
from dicomfs.dicom.header import Header, parse_header
from dicomfs.dicom.instance import Instance, Stranger
from dicomfs.dicom.read import read_instance
from tests.conftest import WrittenSeries
from tests.dicom.objects import ENCODINGS, Writer, drive
from tests.fixtures.codecs import DEFLATED
from tests.fixtures.strangers import write_strangers

CASES = [
    "jpeg-main",
    "j2k-rct-concatenation-sparse",
    "native-implicit-sparse-private",
    "native-be-grey16",
    "native-planes-and-paths",
    "native-no-preamble",
    "jpeg-422-jfif-private-nested",
    "jpeg-422-jfif-sparse-gaps",
    "group-lengths",
    "non-square-spacing",
    "jpeg-dual-tiff",
]

encodings = pytest.mark.parametrize("writer", ENCODINGS.values(), ids=ENCODINGS)


@pytest.mark.parametrize("case_id", CASES)
def test_pydicom_says_the_same(case_id: str, written: WrittenSeries) -> None:
    series = written(case_id)
    assert series.spec.transfer_syntax != DEFLATED
    for path in series.paths:
        data = path.read_bytes()
        instance = drive(read_instance(len(data)), data)
        assert isinstance(instance, Instance)
        ds = pydicom.dcmread(path, force=True)
        header = instance.header
        assert header.sop_class_uid == ds.SOPClassUID
        assert header.sop_instance_uid == ds.SOPInstanceUID
        assert header.series_instance_uid == ds.SeriesInstanceUID
        assert header.study_instance_uid == ds.StudyInstanceUID
        assert header.image_type == tuple(ds.ImageType)
        assert (header.rows, header.columns) == (ds.Rows, ds.Columns)
        assert header.samples_per_pixel == ds.SamplesPerPixel
        assert (header.bits_allocated, header.bits_stored) == (ds.BitsAllocated, ds.BitsStored)
        assert header.photometric_interpretation == ds.PhotometricInterpretation
        assert header.planar == (ds.get("PlanarConfiguration", 0) == 1)
        assert header.number_of_frames == ds.NumberOfFrames
        assert header.total_columns == ds.TotalPixelMatrixColumns
        assert header.total_rows == ds.TotalPixelMatrixRows
        assert header.focal_planes == ds.TotalPixelMatrixFocalPlanes
        assert header.dimension_organization == ds.get("DimensionOrganizationType", "")
        shared = ds.SharedFunctionalGroupsSequence[0]
        spacing = shared.PixelMeasuresSequence[0].PixelSpacing
        assert header.measures.spacing == (spacing[0], spacing[1])
        assert header.orientation == tuple(ds.ImageOrientationSlide)
        origin = ds.TotalPixelMatrixOriginSequence[0]
        assert header.origin_mm == (
            origin.XOffsetInSlideCoordinateSystem,
            origin.YOffsetInSlideCoordinateSystem,
        )
        assert header.frame_of_reference_uid == ds.get("FrameOfReferenceUID", "")
        assert header.pyramid_uid == ds.get("PyramidUID", "")
        assert header.acquisition_uid == ds.AcquisitionUID
        assert header.lossy == (ds.LossyImageCompression == "01")
        assert len(header.optical_paths) == len(ds.OpticalPathSequence)
        for path_seen, item in zip(header.optical_paths, ds.OpticalPathSequence, strict=True):
            assert path_seen.identifier == item.OpticalPathIdentifier
            assert path_seen.description == item.get("OpticalPathDescription", "")
            assert path_seen.wavelength_nm == item.get("IlluminationWaveLength")
            assert path_seen.objective_power == item.ObjectiveLensPower
            assert path_seen.numerical_aperture == item.ObjectiveLensNumericalAperture
            assert path_seen.icc_profile == item.get("ICCProfile")
            meaning = item.IlluminationTypeCodeSequence[0].CodeMeaning
            assert path_seen.illumination == meaning
        part = header.concatenation
        assert (part.uid if part else "") == ds.get("ConcatenationUID", "")
        if part is not None:
            assert part.number == ds.InConcatenationNumber
            assert part.total == ds.InConcatenationTotalNumber
            assert part.frame_offset == ds.ConcatenationFrameOffsetNumber
        about = header.description
        assert about.patient_id == ds.PatientID
        assert about.patient_name == str(ds.PatientName) == "Fixture^Ärztin"
        assert about.container_identifier == ds.ContainerIdentifier
        assert about.acquisition_datetime == ds.AcquisitionDateTime
        assert about.label_text == ds.get("LabelText", "")


@pytest.mark.parametrize("name", ["ct.dcm", "seg.dcm", "ann.dcm", "sr.dcm", "DICOMDIR"])
def test_other_objects_are_strangers(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    stranger = write_strangers(tmp_path_factory.mktemp("strangers"))[name]
    data = stranger.path.read_bytes()
    found = drive(read_instance(len(data)), data)
    assert isinstance(found, Stranger)
    ds = pydicom.dcmread(stranger.path)
    assert found.header.sop_class_uid == ds.get("SOPClassUID", "")
    assert found.header.series_instance_uid == ds.get("SeriesInstanceUID", "")
    assert found.header.modality == ds.get("Modality", "")


# --- values that break their VR -------------------------------------------------------------------


def parsed(writer: Writer, *elements: bytes) -> Header:
    encoding = Encoding(implicit_vr=writer.implicit, big_endian=writer.order == ">")
    return parse_header(b"".join(elements), encoding, b"")


@encodings
def test_nothing_at_all(writer: Writer) -> None:
    header = parsed(writer)
    assert header.sop_class_uid == header.photometric_interpretation == header.flavour == ""
    assert (header.rows, header.columns, header.total_rows, header.total_columns) == (0, 0, 0, 0)
    assert (header.number_of_frames, header.focal_planes) == (1, 1)
    assert (header.samples_per_pixel, header.bits_allocated, header.bits_stored) == (1, 8, 8)
    assert header.measures.spacing is None
    assert header.origin_mm is None
    assert header.concatenation is None
    assert header.absent_pixel_cielab is None
    assert header.palette is None
    assert (header.optical_paths, header.orientation) == ((), ())
    assert header.z_um == 0.0


NUMBERS = [
    (0x00280008, "IS", b"12", "number_of_frames", 12),
    (0x00280008, "IS", b" 12 ", "number_of_frames", 12),
    (0x00280008, "IS", b"12\0\0", "number_of_frames", 12),
    (0x00280008, "IS", b"12.0", "number_of_frames", 12),
    (0x00280008, "IS", b"12\\7", "number_of_frames", 12),
    (0x00280008, "IS", b"+3", "number_of_frames", 3),
    (0x00280008, "IS", b"-3", "number_of_frames", 1),
    (0x00280008, "IS", b"twelve", "number_of_frames", 1),
    (0x00280008, "IS", b"", "number_of_frames", 1),
    (0x00280008, "IS", b"nan ", "number_of_frames", 1),
    (0x00280008, "IS", b"inf ", "number_of_frames", 1),
    (0x00280008, "IS", b"9" * 400, "number_of_frames", 1),
    (0x00280008, "IS", b"\xff\xfe\xfd", "number_of_frames", 1),
    (0x00280010, "US", b"", "rows", 0),
    (0x00280010, "IS", b"256 ", "rows", 256),
    (0x00480006, "UL", b"\1\2", "total_columns", 0),
]


@pytest.mark.parametrize(("tag", "vr", "value", "field", "expected"), NUMBERS)
def test_numbers_that_are_none(tag: int, vr: str, value: bytes, field: str, expected: int) -> None:
    writer = Writer()
    assert getattr(parsed(writer, writer.element(tag, vr, value)), field) == expected


SPACINGS = [
    (b"0.0005\\0.0004", (0.0005, 0.0004)),
    (b" 0.0005 \\ 0.0004 ", (0.0005, 0.0004)),
    (b"5e-4\\4E-4", (0.0005, 0.0004)),
    (b"0.0005\\0.0004\\1", (0.0005, 0.0004)),
    (b"0.000500000000000000000001\\0.0004", (0.0005, 0.0004)),  # too long for a DS
    (b"0.0005", None),
    (b"0.0005\\", None),
    (b"0,0005\\0,0004", None),
    (b"0\\0", None),
    (b"-1\\1", None),
    (b"nan\\nan", None),
    (b"inf\\1", None),
    (b"a\\b", None),
    (b"", None),
]


@encodings
@pytest.mark.parametrize(("value", "expected"), SPACINGS)
def test_spacings_that_are_none(
    writer: Writer, value: bytes, expected: tuple[float, float] | None
) -> None:
    measures = writer.sequence(0x00289110, [writer.item(writer.element(0x00280030, "DS", value))])
    shared = writer.sequence(0x52009229, [writer.item(measures)])
    header = parsed(writer, shared)
    if expected is None:
        assert header.measures.spacing is None
    else:
        assert header.measures.spacing == pytest.approx(expected, abs=1e-12)


def test_spacing_elsewhere_stands_in() -> None:
    """In the first frame's item, or at the top level, where it stood before functional groups."""
    writer = Writer()
    spacing = writer.element(0x00280030, "DS", "0.002\\0.001")
    measures = writer.sequence(0x00289110, [writer.item(spacing)])
    encoding = Encoding(implicit_vr=False, big_endian=False)
    assert parse_header(b"", encoding, measures).measures.spacing == (0.002, 0.001)
    assert parse_header(spacing, encoding, b"").measures.spacing == (0.002, 0.001)
    other = writer.element(0x00280030, "DS", "9\\9")
    assert parse_header(other, encoding, measures).measures.spacing == (0.002, 0.001)


CHARACTER_SETS = [
    (b"ISO_IR 100", "Ä".encode("latin-1"), "Ä"),
    (b"ISO_IR 192", "Ä".encode(), "Ä"),
    (b"ISO_IR 144", "Ж".encode("iso8859-5"), "Ж"),
    (b"GB18030", "王".encode("gb18030"), "王"),
    (b"\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B", "山田"),
    (b"", "Ä".encode(), "Ä"),
    (b"", "Ä".encode("latin-1"), "Ä"),
    (b"ISO_IR 999", "Ä".encode(), "Ä"),
    (b"ISO-IR 100", "Ä".encode("latin-1"), "Ä"),
    (b"latin1", "Ä".encode("latin-1"), "Ä"),
    (b"ISO_IR 192", "Ä".encode("latin-1"), "Ä"),
    (b"\xff\xfe", b"plain", "plain"),
    (b"ISO_IR 192\\ISO_IR 100", "Ä".encode(), "Ä"),
    (b"\\ISO 2022 IR 999", b"plain", "plain"),
]


@encodings
@pytest.mark.parametrize(("declared", "value", "expected"), CHARACTER_SETS)
def test_texts_in_character_sets_right_and_wrong(
    writer: Writer, declared: bytes, value: bytes, expected: str
) -> None:
    """Warnings are errors in these tests: none of pydicom's comes through either."""
    header = parsed(
        writer,
        writer.element(0x00080005, "CS", declared),
        writer.element(0x00081030, "LO", value),
        writer.element(0x00100010, "PN", value),
    )
    assert header.description.study_description == expected
    assert header.description.patient_name == expected


@pytest.mark.parametrize("declared", [b"\\ISO 2022 IR 87", b"ISO_IR 192", b"ISO_IR 100", b"x"])
def test_texts_that_cannot_be_decoded_are_texts_all_the_same(declared: bytes) -> None:
    writer = Writer()
    header = parsed(
        writer,
        writer.element(0x00080005, "CS", declared),
        writer.element(0x00081030, "LO", b"\x1b$Bgarb\xff\xfe"),
        writer.element(0x00100020, "LO", b"P-1"),
    )
    assert "garb" in header.description.study_description
    assert header.description.patient_id == "P-1"


def test_texts_are_stripped() -> None:
    writer = Writer()
    header = parsed(
        writer,
        writer.element(0x00080018, "UI", b"1.2.3\0\0\0"),
        writer.element(0x00080008, "CS", b" ORIGINAL \\PRIMARY\\ volume\\NONE "),
        writer.element(0x00280004, "CS", b"rgb \0"),
        writer.element(0x00181020, "LO", b"1.0\\2.0 \\"),
    )
    assert header.sop_instance_uid == "1.2.3"
    assert header.image_type == ("ORIGINAL", "PRIMARY", "volume", "NONE")
    assert header.flavour == "VOLUME"
    assert header.photometric_interpretation == "RGB"
    assert header.description.software == "1.0 2.0"


def test_elements_of_an_unknown_or_wrong_vr() -> None:
    writer = Writer()
    header = parsed(
        writer,
        writer.element(0x00280010, "UN", b"\0\1"),  # 256
        writer.element(0x00480105, "LO", b"no sequence"),
        writer.element(0x00480302, "UL", b"\2\0\0\0"),
        writer.element(0x52009229, "OB", bytes(6)),
    )
    assert header.rows == 256
    assert header.optical_paths == ()
    assert header.optical_path_count == 2
    assert header.measures.spacing is None


def test_a_private_tag_changes_nothing() -> None:
    writer = Writer()
    noise = writer.element(0x00091001, "OB", b"\xfe\xff\x00\xe0" * 20)
    rows = writer.element(0x00280010, "US", b"\0\1")
    assert parsed(writer, noise, rows) == parsed(writer, rows)


@encodings
@pytest.mark.parametrize("bits", [8, 16])
def test_palettes(writer: Writer, bits: int) -> None:
    """PS3.3 C.7.6.3.1.5 and .6: entries of 16 bits, or of 8 packed two to a word."""
    colours = [(10 * n, 200 - n, n * n) for n in range(16)]
    elements = []
    for index in range(3):
        descriptor = writer.pack("H", 16, 3, bits)
        elements.append(writer.element(0x00281101 + index, "US", descriptor))
    for index in range(3):
        column = [colour[index] for colour in colours]
        if bits == 16:
            words = [value * 257 for value in column]
        else:
            words = [low | high << 8 for low, high in zip(column[::2], column[1::2], strict=True)]
        elements.append(writer.element(0x00281201 + index, "OW", writer.pack("H", *words)))
    palette = parsed(writer, *elements).palette
    assert palette is not None
    assert palette.first == 3
    assert palette.colours == bytes(value for colour in colours for value in colour)


def test_palettes_that_are_none() -> None:
    writer = Writer()
    descriptor = writer.pack("H", 4, 0, 8)
    descriptors = [writer.element(0x00281101 + n, "US", descriptor) for n in range(3)]
    tables = [writer.element(0x00281201 + n, "OW", bytes([1, 2, 3, 4])) for n in range(3)]
    assert parsed(writer, *descriptors, *tables).palette is not None
    assert parsed(writer, *descriptors, *tables[:2]).palette is None
    assert parsed(writer, *descriptors[:2], *tables).palette is None
    short = writer.element(0x00281203, "OW", bytes([1, 2]))
    assert parsed(writer, *descriptors, *tables[:2], short).palette is None
    empty = [writer.element(0x00281201 + n, "OW", b"") for n in range(3)]
    assert parsed(writer, *descriptors, *empty).palette is None


def test_the_colour_of_absent_pixels() -> None:
    writer = Writer()
    for values, expected in (((60000, 32896, 32000), (60000, 32896, 32000)), ((1, 2), None)):
        element = writer.element(0x00480015, "US", writer.pack("H", *values))
        assert parsed(writer, element).absent_pixel_cielab == expected
