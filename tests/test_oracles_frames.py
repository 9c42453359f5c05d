"""The decoders of bare frames, tried on streams made here and against each other."""

from typing import Any

import imagecodecs
import numpy as np
import pytest

from tests.oracles.frame_decoders import (
    FrameHeader,
    UndecodableFrame,
    components_belie_the_header,
    decode_frame,
    decode_with_pillow,
    jpeg_header,
    jpeg_is_ycbcr,
    ycbcr_to_rgb,
)
from tests.oracles.opened import Pixels, difference
from tests.oracles.samples import jpeg, picture

_UID = "1.2.840.10008.1.2"

COLOUR = picture(48, 32)
GREY = picture(48, 32, samples=1)
WIDE = GREY.astype(np.uint16) * 257

LOSSLESS: dict[str, tuple[str, bytes | bytearray, Pixels, FrameHeader]] = {
    "implicit": (_UID, COLOUR.tobytes(), COLOUR, FrameHeader(32, 48)),
    "grey 16": (
        f"{_UID}.1",
        WIDE.tobytes(),
        WIDE,
        FrameHeader(32, 48, 1, 16, "MONOCHROME2"),
    ),
    "big endian 16": (
        f"{_UID}.2",
        WIDE.astype(">u2").tobytes(),
        WIDE,
        FrameHeader(32, 48, 1, 16, "MONOCHROME2"),
    ),
    "big endian words of bytes": (
        f"{_UID}.2",
        np.frombuffer(COLOUR.tobytes(), "<u2").byteswap().tobytes(),
        COLOUR,
        FrameHeader(32, 48, big_endian_words=True),
    ),
    "planes": (
        f"{_UID}.1",
        np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0)).tobytes(),
        COLOUR,
        FrameHeader(32, 48, planar=True),
    ),
    "JPEG-LS": (f"{_UID}.4.80", imagecodecs.jpegls_encode(COLOUR), COLOUR, FrameHeader(32, 48)),
    "JPEG 2000": (
        f"{_UID}.4.90",
        imagecodecs.jpeg2k_encode(COLOUR, reversible=True, codecformat="j2k", mct=True),
        COLOUR,
        FrameHeader(32, 48, photometric="YBR_RCT"),
    ),
    "JPEG 2000 grey 16": (
        f"{_UID}.4.90",
        imagecodecs.jpeg2k_encode(WIDE, reversible=True, codecformat="j2k"),
        WIDE,
        FrameHeader(32, 48, 1, 16, "MONOCHROME2"),
    ),
    "HTJ2K": (
        f"{_UID}.4.201",
        imagecodecs.htj2k_encode(COLOUR, reversible=True),
        COLOUR,
        FrameHeader(32, 48, photometric="YBR_RCT"),
    ),
    "JPEG lossless": (
        f"{_UID}.4.70",
        imagecodecs.jpeg8_encode(COLOUR, lossless=True),
        COLOUR,
        FrameHeader(32, 48),
    ),
    "JPEG XL": (
        f"{_UID}.4.110",
        imagecodecs.jpegxl_encode(COLOUR, lossless=True),
        COLOUR,
        FrameHeader(32, 48),
    ),
    "deflated frame": (
        f"{_UID}.8.1",
        imagecodecs.deflate_encode(COLOUR.tobytes(), raw=True) + b"\0",
        COLOUR,
        FrameHeader(32, 48),
    ),
}


@pytest.mark.parametrize("name", list(LOSSLESS))
def test_a_lossless_frame_comes_back(name: str) -> None:
    syntax, data, truth, header = LOSSLESS[name]
    found = decode_frame(bytes(data), syntax, header)
    assert difference(found, truth).exact
    assert found.dtype == truth.dtype


def test_jpeg_agrees_with_pillow() -> None:
    for pixels in (COLOUR, GREY):
        stream = jpeg(pixels)
        header = FrameHeader(32, 48, 3 if pixels.ndim == 3 else 1)
        found = decode_frame(stream, f"{_UID}.4.50", header)
        assert difference(found, decode_with_pillow(stream)).exact


def without_markers(stream: bytes) -> bytes:
    """Without JFIF and Adobe segments, components numbered 1, 2, 3."""
    at, kept = 2, bytearray(stream[:2])
    while stream[at + 1] != 0xDA:
        length = 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at + 1] not in (0xE0, 0xEE):
            kept += stream[at : at + length]
        at += length
    return bytes(kept) + stream[at:]


def test_the_colour_of_a_jpeg_is_that_of_its_stream() -> None:
    def is_ycbcr(stream: bytes, photometric: str) -> bool:
        return jpeg_is_ycbcr(jpeg_header(stream), photometric)

    full = bytes(imagecodecs.jpeg8_encode(COLOUR, level=95, subsampling="444"))
    options: dict[str, Any] = {"level": 95, "colorspace": "RGB", "outcolorspace": "RGB"}
    rgb = bytes(imagecodecs.jpeg8_encode(COLOUR, **options))
    for claim in ("RGB", "YBR_FULL_422"):
        assert is_ycbcr(full, claim)  # JFIF
        assert not is_ycbcr(rgb, claim)  # Adobe, transform 0
        assert is_ycbcr(without_markers(jpeg(COLOUR)), claim)  # subsampled
    bare = without_markers(full)
    assert (is_ycbcr(bare, "RGB"), is_ycbcr(bare, "YBR_FULL_422")) == (False, True)
    assert jpeg_header(bare).adobe_transform is None
    assert not jpeg_header(bare).jfif
    wrong = decode_frame(rgb, f"{_UID}.4.50", FrameHeader(32, 48, photometric="YBR_FULL_422"))
    assert difference(wrong, COLOUR).mean < 3
    assert np.array_equal(wrong, decode_frame(rgb, f"{_UID}.4.50", FrameHeader(32, 48)))


def test_components_stored_as_ycbcr_become_rgb() -> None:
    components = np.zeros((2, 2, 3), np.uint8)
    components[..., 0] = 76
    components[..., 1], components[..., 2] = 85, 255
    assert ycbcr_to_rgb(components)[0, 0].tolist() == [254, 0, 0]
    options: dict[str, Any] = {"reversible": True, "codecformat": "j2k", "mct": False}
    stream = bytes(imagecodecs.jpeg2k_encode(components, **options))
    header = FrameHeader(2, 2, photometric="YBR_FULL_422")
    assert decode_frame(stream, f"{_UID}.4.90", header)[0, 0].tolist() == [254, 0, 0]
    as_rgb = decode_frame(stream, f"{_UID}.4.90", FrameHeader(2, 2, photometric="RGB"))
    assert np.array_equal(as_rgb, components)


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        (f"{_UID}.4.50", b"no JPEG"),
        (f"{_UID}.4.90", b"\xff\x4f\xff\x51"),
        (f"{_UID}.1", b"short"),
        (f"{_UID}.4.102", b""),
    ],
)
def test_what_cannot_be_decoded_is_one_error(syntax: str, data: bytes) -> None:
    with pytest.raises(UndecodableFrame):
        decode_frame(data, syntax, FrameHeader(32, 48))


def test_rgb_under_a_ybr_label_is_noticed() -> None:
    """Bright and pale as a slide is; a frame of tissue alone could be read either way."""
    bright = np.full((64, 64, 3), 240, np.uint8)
    bright[16:40, 16:40] = picture(24, 24) // 4 + np.array([150, 90, 140], np.uint8)
    options: dict[str, Any] = {"reversible": True, "codecformat": "j2k"}
    plain = bytes(imagecodecs.jpeg2k_encode(bright, mct=False, **options))
    assert components_belie_the_header([plain] * 3, "YBR_FULL_422")
    assert not components_belie_the_header([plain], "RGB")
    transformed = bytes(imagecodecs.jpeg2k_encode(bright, mct=True, **options))
    assert not components_belie_the_header([transformed], "YBR_RCT")
    stored = np.zeros_like(bright)
    stored[..., 0] = 235
    stored[..., 1:] = 128
    stored[16:40, 16:40] = 120, 140, 150
    honest = bytes(imagecodecs.jpeg2k_encode(stored, mct=False, **options))
    assert not components_belie_the_header([honest], "YBR_FULL")
