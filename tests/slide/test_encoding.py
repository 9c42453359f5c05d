"""How frames are encoded: the code stream decides, the data set where that is silent."""

from __future__ import annotations

import dataclasses

import pytest

from dicomfs.dicom.codestream import Codec, Colour
from dicomfs.dicom.header import Palette
from dicomfs.dicom.instance import Instance
from dicomfs.errors import RejectedError
from dicomfs.slide.encoding import DEFLATE, NATIVE, RLE, PixelEncoding, decide_encoding
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import CASES
from tests.fixtures.codecs import CODECS
from tests.slide.instances import changed, instances_of

KINDS = {
    "jpeg-lossless": Codec.JPEG_LOSSLESS,
    "jpegls": Codec.JPEG_LS,
    "jpegxl": Codec.JPEG_XL,
    "jpeg": Codec.JPEG,
    "j2k": Codec.JPEG_2000,
    "htj2k": Codec.HTJ2K,
    "rle": RLE,
    "deflated-frame": DEFLATE,
    "native": NATIVE,
    "uncompressed": NATIVE,
}


def encoding_of(written: WrittenSeries, case_id: str) -> PixelEncoding:
    return decide_encoding(instances_of(written(case_id))[0])


@pytest.mark.parametrize("name", [name for name in CODECS if name in {case.id for case in CASES}])
def test_every_codec(name: str, written: WrittenSeries) -> None:
    codec = CODECS[name]
    encoding = encoding_of(written, name)
    assert encoding.codec == next(kind for start, kind in KINDS.items() if name.startswith(start))
    assert encoding.samples == encoding.stored_samples == codec.samples
    assert encoding.bits == codec.bits_allocated
    assert encoding.precision == codec.bits_stored
    assert encoding.transfer_syntax == codec.transfer_syntax
    assert encoding.native == name.startswith(("native", "uncompressed"))
    if codec.samples == 1:
        assert encoding.colour is Colour.GREY
    elif name.startswith(("jpeg-4", "jpeg-extended")) or "ycbcr" in name or "ybr" in name:
        # One coding is RGB once it is decoded: OpenJPEG converts what it has to upsample.
        assert encoding.colour is Colour.YCBCR
    else:
        assert encoding.colour is Colour.RGB
    sampling = {"422": (2, 1), "420": (2, 2), "440": (1, 2)}
    expected = next((pair for text, pair in sampling.items() if f"-{text}" in name), (1, 1))
    assert encoding.sampling == ((1, 1) if name.startswith("jpegxl") else expected)
    assert encoding.planar == (codec.planar == 1)
    swapped = name in ("native-be-grey16", "native-be-rgb8-ow")
    assert encoding.big_endian == swapped
    if codec.method is not None and name != "j2k-ycbcr-422":
        assert not encoding.lossless
    assert encoding.short_name.startswith(str(encoding.codec))


@pytest.mark.parametrize(
    ("case_id", "colour"),
    [
        ("jpeg-label-rgb-over-ycbcr", Colour.YCBCR),
        ("jpeg-label-rgb-over-bare-420", Colour.YCBCR),
        ("jpeg-label-ybr-over-rgb-adobe", Colour.RGB),
        ("jpeg-label-ybr-over-rgb-ids", Colour.RGB),
        ("j2k-label-rgb-over-rct", Colour.RGB),
        ("j2k-label-ybr-over-rct", Colour.RGB),
        ("j2k-label-ict-over-ycbcr", Colour.YCBCR),
    ],
)
def test_a_wrong_photometric_interpretation_is_not_believed(
    case_id: str, colour: Colour, written: WrittenSeries
) -> None:
    assert encoding_of(written, case_id).colour is colour


@pytest.mark.parametrize(
    ("interpretation", "colour"),
    [
        ("RGB", Colour.RGB),
        ("YBR_FULL_422", Colour.YCBCR),
        ("YBR_FULL", Colour.YCBCR),
        ("", Colour.RGB),
    ],
)
def test_the_photometric_interpretation_breaks_the_tie(
    interpretation: str, colour: Colour, written: WrittenSeries
) -> None:
    instance = changed(
        instances_of(written("jpeg-rgb-bare"))[0], photometric_interpretation=interpretation
    )
    encoding = decide_encoding(instance)
    assert encoding.colour is colour
    # A decoder that is told nothing takes three components for YCbCr.
    assert encoding.self_marked == (colour is Colour.YCBCR)


def test_a_colour_that_the_stream_marks_needs_no_help(written: WrittenSeries) -> None:
    for case_id in ("jpeg-422-jfif", "jpeg-rgb-adobe", "jpeg-rgb-ids", "jpeg-grey"):
        assert encoding_of(written, case_id).self_marked


@pytest.fixture
def native(written: WrittenSeries) -> Instance:
    return instances_of(written("native-rgb8"))[0]


def with_syntax(instance: Instance, transfer_syntax: str, *, encapsulated: bool = True) -> Instance:
    element = instance.layout.pixel_data
    assert element is not None
    length = None if encapsulated else element.length
    layout = dataclasses.replace(
        instance.layout,
        transfer_syntax=transfer_syntax,
        pixel_data=dataclasses.replace(element, length=length),
    )
    return dataclasses.replace(instance, layout=layout)


@pytest.mark.parametrize(
    "suffix", [".4.100", ".4.101", ".4.102.1", ".4.106", ".4.108", ".7.1", ".7.3"]
)
def test_video_is_rejected_by_name(suffix: str, native: Instance) -> None:
    with pytest.raises(RejectedError) as raised:
        decide_encoding(with_syntax(native, "1.2.840.10008.1.2" + suffix))
    assert raised.value.code == "video"


@pytest.mark.parametrize("suffix", ["1.2.3.4", "1.2.840.10008.1.2.4.92", ""])
def test_unknown_encodings_are_rejected_by_name(suffix: str, native: Instance) -> None:
    with pytest.raises(RejectedError) as raised:
        decide_encoding(with_syntax(native, suffix))
    assert raised.value.code == "unknown-encoding"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"rows": 0}, "no-size"),
        ({"columns": 0}, "no-size"),
        ({"bits_allocated": 1}, "sample-format"),
        ({"bits_allocated": 32}, "sample-format"),
        ({"samples_per_pixel": 2}, "sample-format"),
        ({"samples_per_pixel": 4}, "sample-format"),
        ({"samples_per_pixel": 1, "photometric_interpretation": "PALETTE COLOR"}, "palette"),
    ],
)
def test_formats_that_slides_do_not_have(
    fields: dict[str, object], code: str, native: Instance
) -> None:
    with pytest.raises(RejectedError) as raised:
        decide_encoding(changed(native, **fields))
    assert raised.value.code == code


@pytest.mark.parametrize("components", [2, 4])
def test_streams_of_other_components_are_rejected(components: int, written: WrittenSeries) -> None:
    instance = instances_of(written("jpeg-422-jfif"))[0]
    assert instance.code_stream is not None
    stream = dataclasses.replace(instance.code_stream, components=components)
    with pytest.raises(RejectedError) as raised:
        decide_encoding(dataclasses.replace(instance, code_stream=stream))
    assert raised.value.code == "components"


def test_length_decides_whether_pixel_data_is_encapsulated(native: Instance) -> None:
    """Not the transfer syntax: a native value is native whatever its name."""
    wrong = with_syntax(native, "1.2.840.10008.1.2.4.50", encapsulated=False)
    assert decide_encoding(wrong).native


def test_indices_of_a_palette_are_rgb(written: WrittenSeries) -> None:
    grey = instances_of(written("native-grey16"))[0]
    palette = Palette(0, bytes(range(30)))
    encoding = decide_encoding(
        changed(grey, photometric_interpretation="PALETTE COLOR", palette=palette)
    )
    assert (encoding.samples, encoding.bits, encoding.colour) == (3, 8, Colour.RGB)
    assert (encoding.stored_samples, encoding.stored_bytes) == (1, 2)
    assert encoding.palette == palette


def test_white_may_be_zero(written: WrittenSeries) -> None:
    grey = instances_of(written("native-grey8"))[0]
    inverted = changed(grey, photometric_interpretation="MONOCHROME1")
    assert decide_encoding(inverted).inverted
    assert not decide_encoding(grey).inverted
