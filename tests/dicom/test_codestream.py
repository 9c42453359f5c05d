"""What the first bytes of a frame tell, against Pillow, imagecodecs and the fixtures' own facts."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dicomfs.dicom.codestream import Codec, CodeStream, Colour, read_code_stream
from tests.fixtures.codecs import CODECS
from tests.fixtures.codestreams import JFIF, adobe, jpeg_rgb_encode, jpeg_ycbcr_encode
from tests.fixtures.pixels import Pixels, picture
from tests.oracles.frame_decoders import jpeg2000_header

ROWS, COLUMNS = 96, 128
STREAMS = [
    name for name in CODECS if not name.startswith(("native", "rle", "deflated", "uncompressed"))
]
KINDS = {
    "jpeg-lossless": Codec.JPEG_LOSSLESS,
    "jpegls": Codec.JPEG_LS,
    "jpegxl": Codec.JPEG_XL,
    "jpeg": Codec.JPEG,
    "j2k": Codec.JPEG_2000,
    "htj2k": Codec.HTJ2K,
}
SAMPLING = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2)}


@cache
def frame(name: str) -> bytes:
    codec = CODECS[name]
    tile = picture(COLUMNS, ROWS, channels=codec.samples, bits=codec.bits_stored)
    return codec.encode(np.ascontiguousarray(tile))


def stream_of(name: str) -> CodeStream:
    stream = read_code_stream(frame(name))
    assert stream is not None
    return stream


@pytest.mark.parametrize("name", STREAMS)
def test_size_and_depth(name: str) -> None:
    codec = CODECS[name]
    stream = stream_of(name)
    assert stream.codec is next(kind for start, kind in KINDS.items() if name.startswith(start))
    seen = codec.decode(frame(name), ROWS, COLUMNS)
    assert (stream.height, stream.width) == seen.shape[:2] == (ROWS, COLUMNS)
    if stream.codec is Codec.JPEG_XL:  # the rest is known to its decoder alone
        assert (stream.components, stream.precision) == (0, 0)
        return
    assert stream.components == (1 if seen.ndim == 2 else 3)
    assert stream.precision == codec.bits_stored
    assert not stream.signed


@pytest.mark.parametrize("name", [name for name in STREAMS if name.startswith("jpeg-4")])
def test_jpeg_in_ycbcr(name: str) -> None:
    _, sampling, markers = name.split("-")
    stream = stream_of(name)
    with Image.open(io.BytesIO(frame(name))) as image:
        assert (stream.width, stream.height) == image.size
        layers = image.layer  # type: ignore[attr-defined]
        assert stream.sampling == (layers[0][1] // layers[1][1], layers[0][2] // layers[1][2])
        assert stream.marked == ("jfif" in image.info or "adobe_transform" in image.info)
    assert stream.sampling == SAMPLING[sampling]
    # Three unmarked components that are not subsampled could be anything.
    silent = markers == "bare" and sampling == "444"
    assert stream.colour is (None if silent else Colour.YCBCR)
    assert not stream.reversible


@pytest.mark.parametrize(
    ("name", "colour", "marked"),
    [
        ("jpeg-rgb-adobe", Colour.RGB, True),
        ("jpeg-rgb-ids", Colour.RGB, False),
        ("jpeg-rgb-bare", None, False),
        ("jpeg-grey", Colour.GREY, True),
        ("jpeg-grey-bare", Colour.GREY, False),
        ("jpeg12-grey", Colour.GREY, True),
        ("jpeg-lossless-rgb8", None, True),
        ("jpeg-lossless-sv1-grey16", Colour.GREY, True),
        ("jpegls-rgb8", None, False),
        ("jpegls-grey16", Colour.GREY, False),
    ],
)
def test_other_jpeg(name: str, colour: Colour | None, marked: bool) -> None:
    stream = stream_of(name)
    assert stream.colour is colour
    if not name.startswith(("jpeg-lossless", "jpeg12")):
        assert stream.marked == marked
    assert stream.sampling == (1, 1)
    assert stream.reversible == name.startswith("jpeg-lossless")


@pytest.mark.parametrize("name", [name for name in STREAMS if name.startswith(("j2k", "htj2k"))])
def test_jpeg_2000(name: str) -> None:
    stream = stream_of(name)
    header = jpeg2000_header(frame(name))
    assert (stream.width, stream.height) == (header.columns, header.rows)
    assert stream.components == header.components
    assert stream.reversible == header.reversible
    assert (stream.codec is Codec.HTJ2K) == header.high_throughput
    transformed = name.endswith(("-rct", "-ict"))
    assert stream.multiple_component_transform == transformed
    if CODECS[name].samples == 1:
        assert stream.colour is Colour.GREY
    else:
        assert stream.colour is (Colour.RGB if transformed else None)
    assert stream.sampling == ((2, 1) if name == "j2k-ycbcr-422" else (1, 1))


def test_jpeg_2000_in_a_file_format() -> None:
    """JP2 boxes around the code stream, against the standard and seen all the same."""
    tile = np.ascontiguousarray(picture(COLUMNS, ROWS))
    data = bytes(imagecodecs.jpeg2k_encode(tile, codecformat="JP2", mct=True, reversible=True))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG2000", (COLUMNS, ROWS))
    stream = read_code_stream(data)
    assert stream is not None
    assert (stream.codec, stream.width, stream.height) == (Codec.JPEG_2000, COLUMNS, ROWS)
    assert stream.multiple_component_transform


SIZES = """8x8 256x256 240x200 200x240 16x9 512x512 1x1 513x300 9000x4
150x100 100x150 64x48 320x180 100x80 80x40 120x100 600x500"""


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("size", [tuple(map(int, pair.split("x"))) for pair in SIZES.split()])
def test_the_size_of_jpeg_xl(size: tuple[int, int], container: bool) -> None:
    """Small and large sides, and those of the ratios that have a code of their own."""
    tile = np.zeros((size[1], size[0], 3), np.uint8)
    data = bytes(imagecodecs.jpegxl_encode(tile, usecontainer=container, effort=1))
    assert data.startswith(b"\0\0\0\x0cJXL ") == container
    stream = read_code_stream(data)
    assert stream is not None
    assert (stream.codec, stream.width, stream.height) == (Codec.JPEG_XL, *size)


def _tile() -> Pixels:
    return np.ascontiguousarray(picture(COLUMNS, ROWS))


@pytest.mark.parametrize(
    ("head", "colour"),
    [
        (JFIF + adobe(0), Colour.YCBCR),  # libjpeg believes JFIF first
        (adobe(0), Colour.RGB),
        (adobe(1), Colour.YCBCR),
        (adobe(2), Colour.YCBCR),
        (b"\xff\xe0\x00\x07Other", None),
        (b"\xff\xee\x00\x07Other", None),
        (b"\xff\xff\xff" + adobe(0), Colour.RGB),  # fill bytes before a marker, T.81 B.1.1.2
        (b"\xff\xfe\x40\x00" + bytes(0x3FFE) + adobe(0), Colour.RGB),  # behind a long comment
    ],
)
def test_markers_name_the_colour(head: bytes, colour: Colour | None) -> None:
    data = jpeg_rgb_encode(_tile(), head, b"\x01\x02\x03")
    stream = read_code_stream(data)
    assert stream is not None
    assert stream.colour is colour
    if colour is not None and not head.startswith(b"\xff\xff"):
        # What a decoder that is told nothing makes of it.
        plain = np.asarray(imagecodecs.jpeg8_decode(data)).astype(int)
        expected = imagecodecs.jpeg8_decode(data, colorspace=colour.value.upper(),
                                            outcolorspace="RGB")  # fmt: skip
        assert np.array_equal(plain, expected)


def test_subsampled_components_are_no_rgb() -> None:
    data = jpeg_ycbcr_encode(_tile(), "420", b"")
    assert data[2:4] != b"\xff\xe0"
    stream = read_code_stream(data)
    assert stream is not None
    assert stream.colour is Colour.YCBCR


@pytest.mark.parametrize("name", STREAMS)
def test_a_part_of_a_stream_tells_the_same_or_nothing(name: str) -> None:
    whole = stream_of(name)
    data = frame(name)
    told = [read_code_stream(data[:size]) for size in range(min(len(data), 1200))]
    # That a JPEG was recompressed is told by a box behind the size.
    assert {stream and replace(stream, colour=whole.colour) for stream in told} <= {None, whole}
    assert told[-1] == whole
    first = told.index(whole)
    assert all(stream == whole for stream in told[first:])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\x00\x01\x02\x03\x04",
        b"\xff\xd8\xff\xe0\x00\x00",
        b"\xff\xd8\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00",
        b"\xff\xd8\xff\xc0\x00\x05\x08\x00\x10",
        b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x03\x01\x11\x00",  # one of three components
        b"\xff\xd8\xff\xc0\x00\x08\x08\x00\x10\x00\x10\x00",  # no component
        b"\xff\x4f\xff\x51\x00\x29" + bytes(60),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        b"\xff\x0a\x41\x10",
        b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
        b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ",
        b"RIFF....WEBP",
        bytes(64),
    ],
)
def test_what_is_no_stream_tells_nothing(data: bytes) -> None:
    assert read_code_stream(data) is None


def test_a_component_without_samples_tells_nothing() -> None:
    body = b"\x08\x00\x10\x00\x10\x03\x01\x11\x00\x02\x00\x00\x03\x00\x00"
    assert read_code_stream(b"\xff\xd8\xff\xc0\x00\x11" + body) is None


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b""]))
def test_no_bytes_make_it_fail(data: bytes, start: bytes) -> None:
    stream = read_code_stream(start + data)
    assert stream is None or stream.components >= 0


@pytest.mark.parametrize("name", ["jpeg-422-jfif", "j2k-rct", "jpegls-rgb8"])
def test_no_changed_byte_makes_it_fail(name: str) -> None:
    data = bytearray(frame(name)[:400])
    for at in range(len(data)):
        before = data[at]
        for value in (0, 0xFF, before ^ 0x80):
            data[at] = value
            read_code_stream(bytes(data))
        data[at] = before
    assert read_code_stream(bytes(data)) == read_code_stream(frame(name)[:400])
