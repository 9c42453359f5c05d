"""The tile that stands where a slide has none: decoded by others, it is of the right colour."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from dicomfs.dicom.codestream import Codec, Colour
from dicomfs.slide.encoding import NATIVE, PixelEncoding
from dicomfs.tiff.blank import absent_colour, blank_tile
from dicomfs.tiff.storage import Flavour, storage_of


def encoding(
    codec: str, colour: Colour, *, bits: int = 8, sampling: tuple[int, int] = (1, 1)
) -> PixelEncoding:
    return PixelEncoding(
        codec=codec,
        colour=colour,
        sampling=sampling,
        bits=bits,
        precision=bits,
        samples=1 if colour is Colour.GREY else 3,
        lossless=False,
        transfer_syntax="",
        multiple_component_transform=codec == Codec.JPEG_2000,
    )


RGB = encoding(NATIVE, Colour.RGB)
GREY = encoding(NATIVE, Colour.GREY)


def encoded_lab(lightness: float, a: float, b: float) -> tuple[int, int, int]:
    """PS3.3 C.10.7.1.1: L* 0..100 and a*, b* -128..127 as 0..65535."""
    return (
        round(lightness / 100 * 65535),
        round((a + 128) / 255 * 65535),
        round((b + 128) / 255 * 65535),
    )


def test_white_for_colour_and_black_for_grey() -> None:
    assert absent_colour(RGB, None) == (255, 255, 255)
    assert absent_colour(GREY, None) == (0,)
    assert absent_colour(GREY, encoded_lab(50, 0, 0)) == (0,)


@pytest.mark.parametrize(
    "lab",
    [(100, 0, 0), (0, 0, 0), (54, 0, 0), (54, 79, 68), (95, 2, -1), (90, 5, -3), (40, -20, 30)],
)
def test_colours_of_the_cielab_value(lab: tuple[int, int, int]) -> None:
    """As a colour management system converts them, which has a in 8 bits here, b likewise."""
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("LAB"),
        ImageCms.createProfile("sRGB"),
        "LAB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    pixel = Image.new("LAB", (1, 1))
    pixel.putdata([(round(lab[0] * 2.55), lab[1] + 128, lab[2] + 128)])
    converted = ImageCms.applyTransform(pixel, transform)
    assert converted is not None
    expected = np.asarray(converted)[0, 0].astype(int)
    assert np.abs(np.subtract(absent_colour(RGB, encoded_lab(*lab)), expected)).max() <= 3


@pytest.mark.parametrize("value", [(65535, 0, 0), (30000, 65535, 65535), (0, 65535, 0)])
def test_a_colour_that_no_display_has_means_white(value: tuple[int, int, int]) -> None:
    """Real files carry 65535\\0\\0."""
    assert absent_colour(RGB, value) == (255, 255, 255)


@pytest.mark.parametrize("flavour", list(Flavour))
@pytest.mark.parametrize("colour", [Colour.RGB, Colour.YCBCR, Colour.GREY])
@pytest.mark.parametrize("sampling", [(1, 1), (2, 1), (2, 2), (1, 2)])
def test_jpeg(flavour: Flavour, colour: Colour, sampling: tuple[int, int]) -> None:
    if colour is not Colour.YCBCR and sampling != (1, 1):
        return
    one = encoding(Codec.JPEG, colour, sampling=sampling)
    rgb = (240, 235, 245) if one.samples == 3 else (17,)
    data = blank_tile(storage_of(one, flavour), sampling, 128, 96, rgb)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (128, 96)
        layers = image.layer  # type: ignore[attr-defined]
        if one.samples == 3:
            assert (layers[0][1] // layers[1][1], layers[0][2] // layers[1][2]) == sampling
    kind = {Colour.RGB: "RGB", Colour.YCBCR: "YCBCR", Colour.GREY: "GRAYSCALE"}[colour]
    out = "GRAYSCALE" if colour is Colour.GREY else "RGB"
    pixels = imagecodecs.jpeg8_decode(data, colorspace=kind, outcolorspace=out)
    assert np.abs(pixels.reshape(-1, len(rgb)).astype(int) - rgb).max() <= 2


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [Colour.RGB, Colour.GREY])
def test_jpeg_2000(colour: Colour, bits: int) -> None:
    one = encoding(Codec.JPEG_2000, colour, bits=bits)
    rgb = (240, 235, 245) if one.samples == 3 else (0,)
    data = blank_tile(storage_of(one, Flavour.OME), (1, 1), 128, 96, rgb)
    pixels = imagecodecs.jpeg2k_decode(data)
    assert pixels.shape[:2] == (96, 128)
    assert pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    scale = 1 if bits == 8 else 257
    np.testing.assert_array_equal(
        pixels.reshape(-1, len(rgb)), np.tile(np.array(rgb) * scale, (128 * 96, 1))
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [Colour.RGB, Colour.GREY])
def test_uncompressed(colour: Colour, bits: int) -> None:
    one = encoding(NATIVE, colour, bits=bits)
    rgb = (255, 255, 255) if one.samples == 3 else (0,)
    data = blank_tile(storage_of(one, Flavour.TIFF), (1, 1), 32, 16, rgb)
    value = 0 if one.samples == 1 else 255
    assert data == bytes([value]) * (32 * 16 * one.samples * bits // 8)


def test_the_same_bytes_every_time() -> None:
    """The size of a file follows from them."""
    storage = storage_of(encoding(Codec.JPEG, Colour.YCBCR, sampling=(2, 2)), Flavour.SVS)
    first = blank_tile(storage, (2, 2), 256, 256, (255, 255, 255))
    blank_tile.cache_clear()
    assert blank_tile(storage, (2, 2), 256, 256, (255, 255, 255)) == first
