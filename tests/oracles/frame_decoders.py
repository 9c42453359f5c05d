"""One bare frame of a DICOM image to pixels, by Pillow and imagecodecs.

The one job: decode the bytes of a single frame, with the colour its own code stream declares and
the data set only where the stream is silent. Knows no files and no place of a frame. Transfer
syntaxes: PS3.5 Annex A; JPEG markers: ITU-T T.81; JPEG 2000 markers: ITU-T T.800 Annex A.
"""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.oracles.opened import Pixels

_PREFIX: Final = "1.2.840.10008.1.2"
IMPLICIT: Final = _PREFIX
BIG_ENDIAN: Final = f"{_PREFIX}.2"
JPEG: Final = frozenset(f"{_PREFIX}.4.{number}" for number in (50, 51, 57, 70))
JPEG_LS: Final = frozenset(f"{_PREFIX}.4.{number}" for number in (80, 81))
JPEG_2000: Final = frozenset(f"{_PREFIX}.4.{number}" for number in (90, 91))
HTJ2K: Final = frozenset(f"{_PREFIX}.4.{number}" for number in (201, 202, 203))
JPEG_XL: Final = frozenset(f"{_PREFIX}.4.{number}" for number in (110, 111, 112))
RLE: Final = f"{_PREFIX}.5"
DEFLATED_FRAME: Final = f"{_PREFIX}.8.1"
ENCAPSULATED_RAW: Final = f"{_PREFIX}.1.98"
NATIVE: Final = frozenset({IMPLICIT, BIG_ENDIAN, f"{_PREFIX}.1", f"{_PREFIX}.1.99"})

_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS_FRAME: Final = 0xC3
_CODING_ERROR: Final = 24
_RARE: Final = 0.1
_FRAMES_TO_JUDGE: Final = 24


class UndecodableFrame(Exception):
    """No decoder for it, or the decoder refused it."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What the data set says of every frame of an instance. Sizes in pixels."""

    rows: int
    columns: int
    samples: int = 3
    bits_allocated: int = 8
    photometric: str = "RGB"
    planar: bool = False
    big_endian_words: bool = False
    """Native 8-bit data of VR OW in Explicit VR Big Endian: the bytes of each word are swapped."""


# ------------------------------------------------------------------ markers


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """`sampling`: (horizontal, vertical) factor of each component, in order of their ids."""

    frame_marker: int
    precision: int
    rows: int
    columns: int
    component_ids: tuple[int, ...]
    sampling: tuple[tuple[int, int], ...]
    jfif: bool
    adobe_transform: int | None

    @property
    def subsampled(self) -> bool:
        return len(set(self.sampling)) > 1


def jpeg_header(stream: bytes) -> JpegHeader:
    """Walk the segments up to the start of frame. JPEG-LS is told by its own marker F7."""
    if stream[:2] != b"\xff\xd8":
        raise UndecodableFrame("no SOI marker")
    jfif, adobe = False, None
    position = 2
    while position + 4 <= len(stream):
        if stream[position] != 0xFF:
            raise UndecodableFrame(f"no marker at byte {position}")
        marker = stream[position + 1]
        if marker == 0xFF:  # a fill byte before the marker
            position += 1
            continue
        (length,) = struct.unpack_from(">H", stream, position + 2)
        body = stream[position + 4 : position + 2 + length]
        if marker == 0xE0 and body[:5] == b"JFIF\0":
            jfif = True
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker in _START_OF_FRAME or marker == 0xF7:
            precision, rows, columns, count = struct.unpack_from(">BHHB", body)
            parts = [body[6 + 3 * index : 9 + 3 * index] for index in range(count)]
            return JpegHeader(
                frame_marker=marker,
                precision=precision,
                rows=rows,
                columns=columns,
                component_ids=tuple(part[0] for part in parts),
                sampling=tuple((part[1] >> 4, part[1] & 15) for part in parts),
                jfif=jfif,
                adobe_transform=adobe,
            )
        position += 2 + length
    raise UndecodableFrame("no start of frame")


def jpeg_is_ycbcr(header: JpegHeader, photometric: str) -> bool:
    """The colour of three components: JFIF, Adobe, ids "RGB", subsampling, then the data set."""
    if len(header.component_ids) != 3:
        return False
    if header.jfif:
        return True
    if header.adobe_transform is not None:
        return header.adobe_transform == 1
    if bytes(header.component_ids) == b"RGB":
        return False
    return header.subsampled or photometric.startswith("YBR")


@dataclass(frozen=True, slots=True)
class Jpeg2000Header:
    """Of SIZ and COD. `reversible`: the 5/3 wavelet; `transform`: a colour transform is in use."""

    columns: int
    rows: int
    components: int
    precision: int
    subsampled: bool
    transform: bool
    reversible: bool
    high_throughput: bool


def jpeg2000_header(stream: bytes) -> Jpeg2000Header:
    """Walk the main header; a code stream inside JP2 boxes is found by its first two markers."""
    start = stream.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise UndecodableFrame("no SOC and SIZ marker")
    (capabilities,) = struct.unpack_from(">H", stream, start + 6)
    x1, y1, x0, y0 = struct.unpack_from(">4I", stream, start + 8)
    (count,) = struct.unpack_from(">H", stream, start + 40)
    parts = [stream[start + 42 + 3 * index : start + 45 + 3 * index] for index in range(count)]
    position = start + 4 + struct.unpack_from(">H", stream, start + 4)[0]
    while position + 4 <= len(stream):
        marker, length = struct.unpack_from(">HH", stream, position)
        if marker == 0xFF52:
            return Jpeg2000Header(
                columns=x1 - x0,
                rows=y1 - y0,
                components=count,
                precision=(parts[0][0] & 127) + 1,
                subsampled=any(part[1:] != b"\1\1" for part in parts),
                transform=stream[position + 8] == 1,
                reversible=stream[position + 13] == 1,
                high_throughput=bool(capabilities & 0x4000),
            )
        position += 2 + length
    raise UndecodableFrame("no COD marker")


# ------------------------------------------------------------------ colour


def _unclipped_rgb(pixels: Pixels) -> NDArray[np.int64]:
    """Full-range ITU-R BT.601 in the 16-bit fixed point of libjpeg (jdcolor.c)."""
    y, cb, cr = (pixels[..., index].astype(np.int64) for index in range(3))
    cb, cr = cb - 128, cr - 128
    half = 1 << 15
    red = y + ((91881 * cr + half) >> 16)
    green = y + ((-22554 * cb - 46802 * cr + half) >> 16)
    blue = y + ((116130 * cb + half) >> 16)
    return np.stack((red, green, blue), axis=-1)


def ycbcr_to_rgb(pixels: Pixels) -> Pixels:
    """Full-range YCbCr as JPEG has it to RGB, uint8."""
    return np.clip(_unclipped_rgb(pixels), 0, 255).astype(np.uint8)


def could_be_ycbcr(components: Pixels) -> bool:
    """Whether three components, read as YCbCr, give colours that exist.

    A slide is bright and pale: its RGB, read as YCbCr, is out of range nearly everywhere, while
    real YCbCr leaves the range only by the errors of a lossy coding.
    """
    rgb = _unclipped_rgb(components)
    impossible = np.any((rgb < -_CODING_ERROR) | (rgb > 255 + _CODING_ERROR), axis=-1)
    return float(impossible.mean()) < _RARE


def _shown(pixels: Pixels, ycbcr: bool) -> Pixels:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return ycbcr_to_rgb(pixels) if ycbcr and pixels.ndim == 3 else pixels


# ------------------------------------------------------------------ decoders


def _native(data: bytes, header: FrameHeader, big_endian: bool) -> Pixels:
    if header.bits_allocated not in (8, 16):
        raise UndecodableFrame(f"{header.bits_allocated} bits allocated")
    rows, columns, samples = header.rows, header.columns, header.samples
    if header.photometric == "YBR_FULL_422":
        # PS3.3 C.7.6.3.1.2: Y1 Y2 Cb Cr for each two pixels of a row.
        if header.bits_allocated != 8 or columns % 2:
            raise UndecodableFrame("native YBR_FULL_422 of odd width or more than 8 bits")
        pairs = np.frombuffer(data, np.uint8)[: rows * columns * 2].reshape(rows, columns // 2, 4)
        chroma = pairs[..., 2:].repeat(2, axis=1)
        luma = pairs[..., :2].reshape(rows, columns, 1)
        return ycbcr_to_rgb(np.concatenate((luma, chroma), axis=2))
    if header.big_endian_words:
        data = np.frombuffer(data[: len(data) & ~1], np.uint16).byteswap().tobytes()
    dtype = np.dtype(f"{'>' if big_endian else '<'}u{header.bits_allocated // 8}")
    count = rows * columns * samples
    flat = np.frombuffer(data, dtype, count=count).astype(dtype.newbyteorder("="))
    if samples == 1:
        return flat.reshape(rows, columns)
    if header.planar:
        pixels = np.moveaxis(flat.reshape(samples, rows, columns), 0, -1)
    else:
        pixels = flat.reshape(rows, columns, samples)
    return _shown(pixels, header.photometric == "YBR_FULL")


def _jpeg(data: bytes, header: FrameHeader) -> Pixels:
    markers = jpeg_header(data)
    ycbcr = jpeg_is_ycbcr(markers, header.photometric)
    if markers.frame_marker == _LOSSLESS_FRAME:
        return _shown(np.ascontiguousarray(imagecodecs.jpegsof3_decode(data)), ycbcr)
    if len(markers.component_ids) == 1:
        return _shown(imagecodecs.jpeg8_decode(data), False)
    space = "YCBCR" if ycbcr else "RGB"
    return imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace="RGB")


def _jpeg2000(data: bytes, header: FrameHeader) -> Pixels:
    markers = jpeg2000_header(data)
    if markers.high_throughput:
        pixels = imagecodecs.htj2k_decode(data)
    else:
        pixels = imagecodecs.jpeg2k_decode(data)
    # With a transform in the stream the decoder has undone it. Without one, the components are
    # what the data set says; YBR_RCT needs nine bits and cannot be stored as components.
    stored = header.photometric in ("YBR_FULL", "YBR_FULL_422", "YBR_ICT") or markers.subsampled
    ycbcr = markers.components == 3 and not markers.transform and stored
    return _shown(pixels, ycbcr)


def components_belie_the_header(frames: Sequence[bytes], photometric: str) -> bool:
    """Whether JPEG 2000 frames without a transform hold RGB under a YBR label, as writers do.

    Judged over frames of the whole instance: a frame of nothing but tissue can be read either way.
    """
    if not photometric.startswith("YBR"):
        return False
    chosen = frames[:: -(-len(frames) // _FRAMES_TO_JUDGE)]
    headers = [jpeg2000_header(frame) for frame in chosen]
    if any(one.transform or one.subsampled or one.components != 3 for one in headers):
        return False
    decoded = [imagecodecs.jpeg2k_decode(frame).reshape(-1, 3) for frame in chosen]
    return not could_be_ycbcr(np.concatenate(decoded))


def _rle(data: bytes, header: FrameHeader) -> Pixels:
    dtype = np.dtype(f"<u{header.bits_allocated // 8}")
    planes = imagecodecs.dicomrle_decode(data, dtype)
    flat = np.frombuffer(planes, dtype).astype(dtype.newbyteorder("="))
    shape = (header.samples, header.rows, header.columns)
    pixels = np.moveaxis(flat[: int(np.prod(shape))].reshape(shape), 0, -1)
    return _shown(np.ascontiguousarray(pixels), header.photometric == "YBR_FULL")


def decode_frame(data: bytes, transfer_syntax: str, header: FrameHeader) -> Pixels:
    """Pixels of one frame: (rows, columns) or RGB (rows, columns, 3), of the size of its stream.

    Raises `UndecodableFrame`, whatever the decoder raised.
    """
    try:
        if transfer_syntax in NATIVE or transfer_syntax == ENCAPSULATED_RAW:
            return _native(data, header, transfer_syntax == BIG_ENDIAN)
        if transfer_syntax == DEFLATED_FRAME:
            # Raw deflate (RFC 1951); a pad byte may follow.
            return _native(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data), header, False)
        if transfer_syntax in JPEG:
            return _jpeg(data, header)
        if transfer_syntax in JPEG_2000 or transfer_syntax in HTJ2K:
            return _jpeg2000(data, header)
        if transfer_syntax in JPEG_LS:
            ycbcr = header.photometric.startswith("YBR")
            return _shown(imagecodecs.jpegls_decode(data), ycbcr)
        if transfer_syntax in JPEG_XL:
            return _shown(imagecodecs.jpegxl_decode(data), False)
        if transfer_syntax == RLE:
            return _rle(data, header)
    except UndecodableFrame:
        raise
    except Exception as error:
        raise UndecodableFrame(f"{type(error).__name__}: {error}") from error
    raise UndecodableFrame(f"no decoder for {transfer_syntax}")


def decode_with_pillow(data: bytes) -> Pixels:
    """A second opinion on JPEG and JPEG 2000, with Pillow's own idea of the colour."""
    with Image.open(io.BytesIO(data), formats=("JPEG", "JPEG2000")) as image:
        return np.asarray(image.convert("RGB") if image.mode == "YCbCr" else image)


def starts_like_a_frame(data: bytes, transfer_syntax: str) -> bool:
    """Whether the first bytes are those of a code stream of the transfer syntax."""
    starts: Mapping[Any, tuple[bytes, ...]] = {
        JPEG: (b"\xff\xd8",),
        JPEG_LS: (b"\xff\xd8",),
        JPEG_2000: (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP"),
        HTJ2K: (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP"),
        JPEG_XL: (b"\xff\x0a", b"\0\0\0\x0cJXL"),
    }
    for family, accepted in starts.items():
        if transfer_syntax in family:
            return data.startswith(accepted)
    return len(data) > 0
