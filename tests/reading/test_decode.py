"""Decoding a frame: every coding against the fixtures' own decoders, damage as one error only."""

from __future__ import annotations

import dataclasses
import random
import time
import zlib

import imagecodecs
import numpy as np
import pytest
from pydicom.pixels.encoders.base import RLELosslessEncoder

from dicomfs.dicom.header import Palette
from dicomfs.errors import DamagedFrameError
from dicomfs.limits import DEFAULT_LIMITS, Limits
from dicomfs.reading.decode import decode_frame, ycbcr_to_rgb
from dicomfs.slide.encoding import DEFLATE, NATIVE, RLE, PixelEncoding, decide_encoding
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import CASES
from tests.fixtures.codecs import CODECS
from tests.fixtures.codestreams import rgb_to_ycbcr
from tests.fixtures.codestreams import ycbcr_to_rgb as reference_ycbcr_to_rgb
from tests.fixtures.pixels import picture
from tests.fixtures.series import Frame
from tests.slide.instances import instances_of

NAMES = [name for name in CODECS if name in {case.id for case in CASES}]
TILE = 128


def known(written: WrittenSeries, name: str) -> tuple[Frame, PixelEncoding]:
    """The first frame of a series of the codec, and what was decided about it."""
    series = written(name)
    return series.levels[0].frames[0], decide_encoding(instances_of(series)[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_codec(name: str, written: WrittenSeries) -> None:
    frame, encoding = known(written, name)
    codec = CODECS[name]
    expected = codec.decode(frame.data, TILE, TILE)
    for data in (frame.data, frame.data + b"\0"):  # as it is, and padded
        samples = decode_frame(data, encoding, TILE, TILE, DEFAULT_LIMITS)
        assert (samples.shape, samples.dtype) == (expected.shape, expected.dtype)
        difference = np.abs(samples.astype(np.int64) - expected)
        assert difference.max() <= int("ycbcr" in name or "ybr" in name)


@pytest.mark.promise("S-14")
@pytest.mark.parametrize("name", NAMES)
def test_damaged_frames_raise_one_error(name: str, written: WrittenSeries) -> None:
    """Cut off, empty, filled with something else: a frame of the right shape, or the one error."""
    frame, encoding = known(written, name)
    rng = random.Random(1)
    damaged = [
        b"",
        b"\0",
        bytes(len(frame.data)),
        frame.data[: len(frame.data) // 2],
        frame.data[:20],
        frame.data[::-1],
        b"\xff\xd8\xff\xd9",
    ]
    for _ in range(6):
        changed = bytearray(frame.data)
        for _ in range(8):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        damaged.append(bytes(changed))
    for data in damaged:
        try:
            samples = decode_frame(data, encoding, TILE, TILE, DEFAULT_LIMITS)
        except DamagedFrameError:
            continue
        assert samples.shape[:2] <= (TILE, TILE)
        assert samples.ndim == (2 if encoding.samples == 1 else 3)


@pytest.mark.parametrize("name", ["jpegls-rgb8", "jpegls-grey8", "jpegls-grey16"])
def test_streams_that_are_cut_off_do_not_hold_up_a_decoder(
    name: str, written: WrittenSeries
) -> None:
    frame, encoding = known(written, name)
    began = time.monotonic()
    for size in range(100, len(frame.data) - 10, len(frame.data) // 40):
        with pytest.raises(DamagedFrameError):
            decode_frame(frame.data[:size], encoding, TILE, TILE, DEFAULT_LIMITS)
    assert time.monotonic() - began < 10  # it was half a minute for some sizes


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if n.startswith(("jpeg-", "j2k", "htj2k", "jpegls", "jpegxl", "jpeg12"))],
)
def test_frames_larger_than_they_should_be_are_not_decoded(
    name: str, written: WrittenSeries
) -> None:
    frame, encoding = known(written, name)
    for width, height in ((TILE - 1, TILE), (TILE, TILE - 1), (16, 16)):
        with pytest.raises(DamagedFrameError, match="128 x 128"):
            decode_frame(frame.data, encoding, width, height, DEFAULT_LIMITS)


def test_a_bomb_is_refused_before_it_goes_off(written: WrittenSeries) -> None:
    """Sizes that a stream declares are checked before a decoder sees it."""
    _, jpeg = known(written, "jpeg-422-jfif")
    _, j2k = known(written, "j2k-rct")
    _, xl = known(written, "jpegxl-rgb8")
    whole = np.full((2000, 2000, 3), 255, np.uint8)
    for encoding, data in (
        (jpeg, imagecodecs.jpeg8_encode(whole)),
        (j2k, imagecodecs.jpeg2k_encode(whole, codecformat="J2K", mct=True)),
        (xl, imagecodecs.jpegxl_encode(whole, effort=1)),
    ):
        with pytest.raises(DamagedFrameError, match="2000 x 2000"):
            decode_frame(bytes(data), encoding, TILE, TILE, DEFAULT_LIMITS)


def test_the_number_of_pixels_has_a_limit(written: WrittenSeries) -> None:
    frame, encoding = known(written, "native-rgb8")
    with pytest.raises(DamagedFrameError, match="too large"):
        decode_frame(frame.data, encoding, TILE, TILE, Limits(tile_pixels=TILE * TILE - 1))


def test_other_components_than_declared(written: WrittenSeries) -> None:
    grey, grey_encoding = known(written, "jpeg-grey")
    rgb, rgb_encoding = known(written, "jpeg-rgb-adobe")
    for frame, encoding in ((grey, rgb_encoding), (rgb, grey_encoding)):
        with pytest.raises(DamagedFrameError, match="components"):
            decode_frame(frame.data, encoding, TILE, TILE, DEFAULT_LIMITS)
    xl_grey, _ = known(written, "jpegxl-grey16")
    _, xl_encoding = known(written, "jpegxl-rgb8")
    with pytest.raises(DamagedFrameError, match="shape"):
        decode_frame(xl_grey.data, xl_encoding, TILE, TILE, DEFAULT_LIMITS)


def test_frames_at_the_edge_may_be_smaller(written: WrittenSeries) -> None:
    series = written("cropped-edges-jpeg")
    encoding = decide_encoding(instances_of(series)[0])
    last = series.levels[0].frames[-1]
    samples = decode_frame(last.data, encoding, TILE, TILE, DEFAULT_LIMITS)
    assert samples.shape == (250 - 128, 330 - 256, 3)


def test_a_stream_is_believed_before_the_data_set(written: WrittenSeries) -> None:
    """Frames of one instance need not be alike."""
    frame, _ = known(written, "jpeg-rgb-adobe")
    _, ycbcr = known(written, "jpeg-422-jfif")
    expected = CODECS["jpeg-rgb-adobe"].decode(frame.data, TILE, TILE)
    samples = decode_frame(frame.data, ycbcr, TILE, TILE, DEFAULT_LIMITS)
    np.testing.assert_array_equal(samples, expected)


# --- samples that are only packed -----------------------------------------------------------------


@pytest.fixture
def native(written: WrittenSeries) -> PixelEncoding:
    return known(written, "native-rgb8")[1]


def test_the_last_byte_may_be_missing(native: PixelEncoding) -> None:
    pixels = picture(15, 15)
    samples = decode_frame(pixels.tobytes()[:-1], native, 15, 15, DEFAULT_LIMITS)
    assert samples[14, 14, 2] == 0
    np.testing.assert_array_equal(samples.ravel()[:-1], pixels.ravel()[:-1])
    with pytest.raises(DamagedFrameError, match="bytes"):
        decode_frame(pixels.tobytes()[:-2], native, 15, 15, DEFAULT_LIMITS)


def test_signed_samples(written: WrittenSeries) -> None:
    _, encoding = known(written, "native-grey16")
    values = np.arange(-8, 8, dtype="<i2").reshape(4, 4)
    signed = dataclasses.replace(encoding, signed=True)
    samples = decode_frame(values.tobytes(), signed, 4, 4, DEFAULT_LIMITS)
    assert samples.dtype == np.dtype("<i2")
    np.testing.assert_array_equal(samples, values)


def test_white_may_be_zero(written: WrittenSeries) -> None:
    for name, top in (("native-grey8", 255), ("native-grey16", 65535)):
        frame, encoding = known(written, name)
        plain = decode_frame(frame.data, encoding, TILE, TILE, DEFAULT_LIMITS)
        inverted = dataclasses.replace(encoding, inverted=True)
        samples = decode_frame(frame.data, inverted, TILE, TILE, DEFAULT_LIMITS)
        np.testing.assert_array_equal(samples, top - plain)
        assert samples.dtype == plain.dtype


def test_palettes(written: WrittenSeries) -> None:
    _, grey = known(written, "native-grey8")
    colours = np.arange(30, dtype=np.uint8).reshape(10, 3)
    encoding = dataclasses.replace(grey, palette=Palette(5, colours.tobytes()), samples=3)
    indices = np.array([[0, 5, 6], [14, 15, 255]], np.uint8)
    samples = decode_frame(indices.tobytes(), encoding, 3, 2, DEFAULT_LIMITS)
    # Beyond its ends the table has its first and its last entry.
    np.testing.assert_array_equal(samples, colours[[[0, 0, 1], [9, 9, 9]]])


def test_odd_width_in_pairs_of_pixels_is_damage(written: WrittenSeries) -> None:
    _, encoding = known(written, "native-ybr-full-422")
    with pytest.raises(DamagedFrameError, match="YBR_FULL_422"):
        decode_frame(bytes(2 * 15 * 4), encoding, 15, 4, DEFAULT_LIMITS)


@pytest.mark.parametrize(
    "header",
    [
        (0, 64),
        (16, 64),
        (3, 64, 200, 100),  # offsets that go back
        (3, 60, 100, 200),
        (3, 64, 1 << 31, 1 << 31),
        (2, 64, 100),  # two segments for three samples
    ],
)
def test_damaged_run_length_headers(header: tuple[int, ...], native: PixelEncoding) -> None:
    data = np.array(header, "<u4").tobytes().ljust(64, b"\0") + bytes(300)
    encoding = dataclasses.replace(native, codec=RLE)
    with pytest.raises(DamagedFrameError):
        decode_frame(data, encoding, 16, 16, DEFAULT_LIMITS)


@pytest.mark.parametrize("segments", [1, 6])
def test_another_number_of_segments_is_damage(segments: int, native: PixelEncoding) -> None:
    """All the bytes are there, but nothing says which component they belong to (PS3.5 G.2)."""
    size = 16 * 16 * 3 // segments
    segment = bytes([129, 0]) * (size // 128)  # 128 zeros each
    offsets = [64 + number * len(segment) for number in range(segments)]
    data = np.array([segments, *offsets], "<u4").tobytes().ljust(64, b"\0") + segment * segments
    encoding = dataclasses.replace(native, codec=RLE)
    with pytest.raises(DamagedFrameError, match=f"{segments} segments"):
        decode_frame(data, encoding, 16, 16, DEFAULT_LIMITS)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("dtype", ["<u1", "<u2"])
def test_run_lengths_as_pydicom_writes_them(
    samples: int, dtype: str, native: PixelEncoding
) -> None:
    shape = (13, 21, samples) if samples > 1 else (13, 21)
    pixels = np.random.default_rng(samples).integers(0, 60_000, shape).astype(dtype)
    bits = 8 * pixels.itemsize
    data = RLELosslessEncoder.encode(
        pixels,
        encoding_plugin="pydicom",
        rows=13,
        columns=21,
        samples_per_pixel=samples,
        number_of_frames=1,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="RGB" if samples > 1 else "MONOCHROME2",
        planar_configuration=0,
    )
    encoding = dataclasses.replace(native, codec=RLE, samples=samples, bits=bits)
    decoded = decode_frame(data, encoding, 21, 13, DEFAULT_LIMITS)
    np.testing.assert_array_equal(decoded, pixels)
    assert decoded.dtype == dtype


def test_a_deflated_bomb_is_inflated_no_further_than_needed(native: PixelEncoding) -> None:
    encoding = dataclasses.replace(native, codec=DEFLATE)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(bytes(50_000_000)) + compressor.flush()
    samples = decode_frame(bomb, encoding, 16, 16, DEFAULT_LIMITS)
    assert samples.shape == (16, 16, 3)
    assert encoding.codec != NATIVE


# --- colour ---------------------------------------------------------------------------------------


def test_every_ycbcr_colour() -> None:
    """All of luma, and chroma in steps, against the conversion of the fixtures."""
    grid = np.stack(
        np.meshgrid(np.arange(256), np.arange(0, 256, 5), np.arange(0, 256, 5), indexing="ij"),
        axis=-1,
    ).reshape(-1, 52, 3)
    samples = grid.astype(np.uint8)
    difference = ycbcr_to_rgb(samples).astype(int) - reference_ycbcr_to_rgb(samples)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 1e-4


def test_colour_survives_there_and_back() -> None:
    rgb = picture(64, 64)
    assert np.abs(ycbcr_to_rgb(rgb_to_ycbcr(rgb)).astype(int) - rgb).max() <= 2


def test_16_bit_colour() -> None:
    white = np.full((2, 2, 3), (65535, 32768, 32768), np.uint16)
    assert ycbcr_to_rgb(white).tolist() == np.full((2, 2, 3), 65535).tolist()
    assert ycbcr_to_rgb(white).dtype == np.uint16
