"""Decodes one frame to plain samples: grey or RGB, interleaved, as a decoder of its kind does it.

The size and the components that the code stream declares are checked before a decoder is called,
and so is the number of pixels.  The codecs are those of imagecodecs; they release the global
interpreter lock, so frames decode side by side in threads.
"""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from dicomfs.dicom.codestream import (
    Codec,
    CodeStream,
    Colour,
    jpeg_2000_tiles,
    read_code_stream,
)
from dicomfs.dicom.header import Palette
from dicomfs.errors import DamagedFrameError
from dicomfs.limits import Limits
from dicomfs.slide.encoding import DEFLATE, NATIVE, RLE, PixelEncoding

Samples = npt.NDArray[Any]


def decode_frame(
    data: bytes, encoding: PixelEncoding, width: int, height: int, limits: Limits
) -> Samples:
    """Decode a frame of at most width x height pixels.

    Returns uint8 or uint16 samples (int if signed), shape (rows, columns) or (rows, columns, 3).
    Frames at the edge of a slide may be smaller than their tile.

    Raises DamagedFrameError where the frame is not what it should be.
    """
    if width * height > limits.tile_pixels:
        raise DamagedFrameError(f"a frame of {width} x {height} pixels is too large to decode")
    if encoding.codec == RLE:
        samples = _run_lengths(data, encoding, width, height)
    elif encoding.codec in (NATIVE, DEFLATE):
        samples = _plain(data, encoding, width, height)
    else:
        stream = _check(data, encoding, width, height, limits)
        colour = stream.colour or encoding.colour
        if stream.codec in (Codec.JPEG_2000, Codec.HTJ2K) and stream.sampling != (1, 1):
            colour = Colour.RGB  # upsampling, the decoder converts too
        samples = _decode_stream(data, encoding.codec, colour)
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    expected = 2 if encoding.stored_samples == 1 else 3
    if samples.ndim != expected or samples.shape[0] > height or samples.shape[1] > width:
        raise DamagedFrameError(f"a frame decodes to the shape {samples.shape}")
    if encoding.palette is not None:
        return _look_up(samples, encoding.palette)
    if encoding.inverted:
        top = (1 << encoding.precision) - 1 if not encoding.signed else -1
        samples = top - samples
    return samples.astype(_dtype(encoding), copy=False)


def _look_up(samples: Samples, palette: Palette) -> Samples:
    """Indices to colours; indices outside the table have its first or last entry."""
    colours = np.frombuffer(palette.colours, np.uint8).reshape(-1, 3)
    return colours[np.clip(samples.astype(np.int64) - palette.first, 0, len(colours) - 1)]


def _dtype(encoding: PixelEncoding) -> np.dtype[Any]:
    """Of a stored sample, little endian."""
    kind = "i" if encoding.signed else "u"
    return np.dtype(f"<{kind}{encoding.stored_bytes}")


def _check(
    data: bytes, encoding: PixelEncoding, width: int, height: int, limits: Limits
) -> CodeStream:
    """Check what the code stream declares, and return it."""
    stream = read_code_stream(data[:65536]) or read_code_stream(data)
    if stream is None:
        raise DamagedFrameError("a frame does not start with the markers of its code stream")
    if (
        stream.components not in (encoding.stored_samples, 0)
        or stream.width > width
        or stream.height > height
    ):
        raise DamagedFrameError(
            f"a frame has {stream.components} components of {stream.width} x {stream.height}"
            f" pixels where {encoding.stored_samples} of {width} x {height} belong"
        )
    if stream.codec in (Codec.JPEG_2000, Codec.HTJ2K):
        tiles = jpeg_2000_tiles(data[:4096])
        if tiles > limits.codestream_tiles:
            raise DamagedFrameError(f"a frame is cut into {tiles} tiles")
    return stream


def _decode_stream(data: bytes, codec: str, colour: Colour) -> Samples:
    try:
        if codec in (Codec.JPEG, Codec.JPEG_LOSSLESS):
            return _decode_jpeg(data, colour)
        if codec == Codec.JPEG_LS:
            # CharLS 2.4 spends half a minute on a stream that was cut off if no marker stops it.
            samples = imagecodecs.jpegls_decode(data + b"\xff\xd9")
        elif codec == Codec.JPEG_XL:
            samples = imagecodecs.jpegxl_decode(data)
        else:
            samples = imagecodecs.jpeg2k_decode(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise DamagedFrameError(f"a frame cannot be decoded: {error}") from error
    if colour is Colour.YCBCR:
        return ycbcr_to_rgb(samples)
    return samples


def _decode_jpeg(data: bytes, colour: Colour) -> Samples:
    """libjpeg is told what the components are, because it guesses where no marker says so."""
    if colour is Colour.GREY:
        return imagecodecs.jpeg8_decode(data)
    components = "YCBCR" if colour is Colour.YCBCR else "RGB"
    return imagecodecs.jpeg8_decode(data, colorspace=components, outcolorspace="RGB")


def _plain(data: bytes, encoding: PixelEncoding, width: int, height: int) -> Samples:
    """Samples that are only packed: native or deflated."""
    size = width * height * encoding.stored_samples * encoding.stored_bytes
    big_endian = encoding.big_endian
    if encoding.codec == DEFLATE:
        data = _inflate(data, size)
    if encoding.sampling == (2, 1):
        return ycbcr_to_rgb(_upsample_422(data, width, height))
    if len(data) < size:
        if size - len(data) > 1:
            raise DamagedFrameError(f"a frame has {len(data)} bytes where {size} belong")
        data = data.ljust(size, b"\0")
    dtype = _dtype(encoding)
    if big_endian and dtype.itemsize == 1:
        data, big_endian = _swap_words(data), False
    flat = np.frombuffer(data[:size], dtype.newbyteorder(">") if big_endian else dtype)
    if encoding.stored_samples == 1:
        return flat.reshape(height, width)
    if encoding.planar:
        samples = np.empty((height, width, encoding.stored_samples), flat.dtype)
        for number, plane in enumerate(flat.reshape(encoding.stored_samples, height, width)):
            samples[:, :, number] = plane  # faster than copying the transposed array
    else:
        samples = flat.reshape(height, width, encoding.stored_samples)
    return ycbcr_to_rgb(samples) if encoding.colour is Colour.YCBCR else samples


def _swap_words(data: bytes) -> bytes:
    """8-bit samples packed in 16-bit words of the other byte order (PS3.5 section 8.1.1)."""
    words = np.frombuffer(data.ljust(len(data) + len(data) % 2, b"\0"), "<u2")
    return words.byteswap().tobytes()


def _run_lengths(data: bytes, encoding: PixelEncoding, width: int, height: int) -> Samples:
    """A run-length encoded frame (PS3.5 annex G): a segment for every byte of a sample.

    Those of the first component come first, each from the most significant byte down.
    """
    bytes_each = encoding.stored_bytes
    count = encoding.stored_samples * bytes_each
    header = np.frombuffer(data[:64].ljust(64, b"\0"), "<u4").tolist()
    if header[0] != count:
        raise DamagedFrameError(f"an RLE frame has {header[0]} segments")
    bounds = [*header[1 : count + 1], len(data)]
    if bounds[0] != 64 or any(a > b for a, b in pairwise(bounds)):
        raise DamagedFrameError("an RLE frame has damaged segment offsets")
    samples = np.empty((width * height, encoding.stored_samples), _dtype(encoding))
    parts = samples.view(np.uint8)  # of a sample, the least significant byte first
    for segment, (start, end) in enumerate(pairwise(bounds)):
        component, byte = divmod(segment, bytes_each)
        unpacked = _unpacked(data[start:end], len(samples))
        parts[:, bytes_each * component + bytes_each - 1 - byte] = unpacked
    samples = samples.reshape(height, width, encoding.stored_samples)
    return ycbcr_to_rgb(samples) if encoding.colour is Colour.YCBCR else samples


def _unpacked(segment: bytes, size: int) -> npt.NDArray[np.uint8]:
    """The first `size` bytes of a segment; it may be padded."""
    try:
        unpacked = np.frombuffer(imagecodecs.packbits_decode(segment), np.uint8)
    except (RuntimeError, ValueError) as error:
        raise DamagedFrameError(f"an RLE frame cannot be decoded: {error}") from error
    if len(unpacked) < size:
        raise DamagedFrameError("an RLE segment is too short")
    return unpacked[:size]


def _inflate(data: bytes, size: int) -> bytes:
    """A raw deflate stream (RFC 1951), not a byte further than the frame may be long."""
    try:
        return zlib.decompressobj(wbits=-15).decompress(data, size)
    except zlib.error as error:
        raise DamagedFrameError(f"a deflated frame cannot be inflated: {error}") from error


def _upsample_422(data: bytes, width: int, height: int) -> Samples:
    """YBR_FULL_422 native: Y Y Cb Cr for two pixels of a row (PS3.3 C.7.6.3.1.2)."""
    size = 2 * width * height
    if width % 2 or len(data) < size:
        raise DamagedFrameError("a frame is too short for YBR_FULL_422")
    groups = np.frombuffer(data[:size], np.uint8).reshape(height, width // 2, 4)
    samples = np.empty((height, width, 3), np.uint8)
    samples[:, 0::2, 0], samples[:, 1::2, 0] = groups[:, :, 0], groups[:, :, 1]
    samples[:, :, 1] = np.repeat(groups[:, :, 2], 2, axis=1)
    samples[:, :, 2] = np.repeat(groups[:, :, 3], 2, axis=1)
    return samples


def ycbcr_to_rgb(samples: Samples) -> Samples:
    """Full-range YCbCr to RGB (ITU-T T.871 section 7), of 8 or 16 bit."""
    if samples.ndim != 3 or samples.shape[2] != 3:
        return samples
    top = float(np.iinfo(samples.dtype).max)
    middle = (top + 1) / 2
    y = samples[:, :, 0].astype(np.float32)
    cb = samples[:, :, 1].astype(np.float32) - middle
    cr = samples[:, :, 2].astype(np.float32) - middle
    rgb = np.stack((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb), axis=2)
    converted: Samples = np.clip(np.rint(rgb), 0, top).astype(samples.dtype)
    return converted
