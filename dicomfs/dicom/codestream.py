"""What the code stream of a frame says about itself.

The header of a data set often contradicts the frames (see PS3.5 8.2 for what it should say); TIFF
readers obey the tag they are given.  So size, components, sampling and colour are taken from the
markers: JPEG from ITU-T T.81 annex B, JFIF (T.871) and the Adobe APP14 segment, JPEG-LS from T.87
annex C, JPEG 2000 from T.800 annex A, of JPEG XL the size alone.  Works on the first bytes of
a frame; knows no data set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Codec(StrEnum):
    """The family of a code stream."""

    JPEG = "JPEG"
    JPEG_LOSSLESS = "lossless JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"
    HTJ2K = "HTJ2K"
    JPEG_XL = "JPEG XL"


class Colour(StrEnum):
    """What the decoded components of a frame are."""

    GREY = "grey"
    RGB = "RGB"
    YCBCR = "YCbCr"


@dataclass(frozen=True, slots=True)
class CodeStream:
    """Facts of a code stream, from its markers alone.

    width, height : pixels; components : their number; precision : bits per sample; of JPEG XL these
        two are not known, and 0.
    sampling : horizontal and vertical sampling of the first component relative to the second,
        (1, 1) without subsampling, (2, 1) for 4:2:2, (2, 2) for 4:2:0.
    colour : what the stream says that it holds once its own transforms are undone as a decoder of
        its kind undoes them; None where it says nothing.
    reversible : whether the stream is lossless.
    multiple_component_transform : JPEG 2000 only, Table A.17.
    marked : JPEG only; whether JFIF or Adobe marks the colour.
    """

    codec: Codec
    width: int
    height: int
    components: int
    precision: int
    sampling: tuple[int, int] = (1, 1)
    colour: Colour | None = None
    reversible: bool = False
    multiple_component_transform: bool = False
    marked: bool = False
    signed: bool = False


def read_code_stream(head: bytes) -> CodeStream | None:
    """Facts of the code stream that starts with `head`.

    None where the bytes are of no known kind, or end before the markers that count.
    """
    if head.startswith(b"\xff\xd8"):
        return _read_jpeg(head)
    if head.startswith(b"\xff\x4f\xff\x51"):
        return _read_jpeg_2000(head)
    if head.startswith(b"\0\0\0\x0cjP  \r\n\x87\n"):
        at = head.find(b"\xff\x4f\xff\x51")
        return _read_jpeg_2000(head[at:]) if at > 0 else None
    if head.startswith(b"\xff\x0a"):
        return _read_jpeg_xl(head)
    if head.startswith(b"\0\0\0\x0cJXL \r\n\x87\n"):
        boxes = _jpeg_xl_boxes(head)
        start = boxes.get(b"jxlc", boxes.get(b"jxlp", len(head)) + 4)
        stream = _read_jpeg_xl(head[start:])
        # A decoder makes RGB of a recompressed JPEG, whatever its components were.
        if stream is not None and b"jbrd" in boxes:
            return replace(stream, colour=Colour.RGB)
        return stream
    return None


_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOF_JPEG_LS = 0xF7
_LOSSLESS = frozenset((0xC3, 0xC7, 0xCB, 0xCF))


def _read_jpeg(head: bytes) -> CodeStream | None:
    jfif = False
    adobe: int | None = None
    at = 2
    while at + 4 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        size = int.from_bytes(head[at + 2 : at + 4], "big")
        body = head[at + 4 : at + 2 + size]
        if size < 2 or marker in (0xD9, 0xDA):
            return None
        if marker in _SOF or marker == _SOF_JPEG_LS:
            return _jpeg_frame(marker, body, jfif, adobe)
        if marker == 0xE0 and body.startswith(b"JFIF\0"):
            jfif = True
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        at += 2 + size
    return None


def _jpeg_frame(marker: int, body: bytes, jfif: bool, adobe: int | None) -> CodeStream | None:
    if len(body) < 6 or len(body) < 6 + 3 * body[5] or not body[5]:
        return None
    precision, components = body[0], body[5]
    height = int.from_bytes(body[1:3], "big")
    width = int.from_bytes(body[3:5], "big")
    identifiers = bytes(body[6 + 3 * i] for i in range(components))
    factors = [(body[7 + 3 * i] >> 4, body[7 + 3 * i] & 15) for i in range(components)]
    if marker == _SOF_JPEG_LS:
        codec = Codec.JPEG_LS
    else:
        codec = Codec.JPEG_LOSSLESS if marker in _LOSSLESS else Codec.JPEG
    sampling = (1, 1)
    if components == 3 and codec is Codec.JPEG:
        if factors[1] != factors[2] or 0 in factors[1]:
            return None
        sampling = (factors[0][0] // factors[1][0], factors[0][1] // factors[1][1])
    colour: Colour | None = None
    if components == 1:
        colour = Colour.GREY
    elif components == 3 and codec is Codec.JPEG:
        # A decoder that is told nothing (libjpeg's jdapimin.c) decides in the same order.
        if jfif:
            colour = Colour.YCBCR
        elif adobe is not None:
            colour = Colour.RGB if adobe == 0 else Colour.YCBCR
        elif identifiers == b"RGB":
            colour = Colour.RGB
        elif sampling != (1, 1):
            colour = Colour.YCBCR
    return CodeStream(
        codec,
        width,
        height,
        components,
        precision,
        sampling,
        colour,
        reversible=codec is Codec.JPEG_LOSSLESS,
        marked=jfif or adobe is not None,
    )


def _read_jpeg_2000(head: bytes) -> CodeStream | None:
    if len(head) < 42:
        return None
    size = int.from_bytes(head[4:6], "big")
    capabilities = int.from_bytes(head[6:8], "big")
    x1, y1, x0, y0 = (int.from_bytes(head[i : i + 4], "big") for i in (8, 12, 16, 20))
    components = int.from_bytes(head[40:42], "big")
    if size < 38 + 3 * components or len(head) < 42 + 3 * components or not components:
        return None
    if x1 <= x0 or y1 <= y0:
        return None
    depth = head[42]
    steps = [(head[43 + 3 * i], head[44 + 3 * i]) for i in range(components)]
    sampling = (1, 1)
    if components == 3 and 0 not in steps[0]:
        sampling = (steps[1][0] // steps[0][0], steps[1][1] // steps[0][1])
    cod = _find_segment(head, 4 + size, 0x52)
    if cod is None or len(cod) < 10:
        return None
    transform = bool(cod[4])
    high_throughput = bool(capabilities & 0x4000)
    return CodeStream(
        Codec.HTJ2K if high_throughput else Codec.JPEG_2000,
        x1 - x0,
        y1 - y0,
        components,
        (depth & 0x7F) + 1,
        sampling,
        Colour.GREY if components == 1 else Colour.RGB if transform else None,
        reversible=cod[9] == 1,
        multiple_component_transform=transform,
        signed=bool(depth & 0x80),
    )


def jpeg_2000_tiles(head: bytes) -> int:
    """How many tiles a JPEG 2000 code stream is cut into (T.800 A.5.1); 0 for anything else."""
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(head) < at + 40:
        return 0
    sides = [int.from_bytes(head[at + i : at + i + 4], "big") for i in range(8, 40, 4)]
    x1, y1, _, _, width, height, x, y = sides
    if not width or not height:
        return 0
    return -(-max(0, x1 - x) // width) * -(-max(0, y1 - y) // height)


def _read_jpeg_xl(head: bytes) -> CodeStream | None:
    """The size header (ISO/IEC 18181-1 D.2); its bits count from the least significant on."""
    if len(head) < 12 or head[:2] != b"\xff\x0a":
        return None
    bits = int.from_bytes(head[2:12], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def side() -> int:
        return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

    small = take(1)
    height = side()
    ratio = take(3)
    width = height * _JPEG_XL_RATIOS[ratio][0] // _JPEG_XL_RATIOS[ratio][1] if ratio else side()
    return CodeStream(Codec.JPEG_XL, width, height, 0, 0)


def _jpeg_xl_boxes(head: bytes) -> dict[bytes, int]:
    """Where the contents of the boxes of a container start, by kind (18181-2 section 9).

    Of several parts of a code stream ("jxlp"), the first; a part starts with its number, 4 bytes.
    """
    found: dict[bytes, int] = {}
    at = 12
    while at + 8 <= len(head):
        found.setdefault(head[at + 4 : at + 8], at + 8)
        at += max(8, int.from_bytes(head[at : at + 4], "big"))
    return found


_JPEG_XL_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def _find_segment(head: bytes, at: int, marker: int) -> bytes | None:
    """The body of the first marker segment of a kind in a JPEG 2000 main header."""
    while at + 4 <= len(head) and head[at] == 0xFF and head[at + 1] not in (0x90, 0xD9):
        size = int.from_bytes(head[at + 2 : at + 4], "big")
        if size < 2:
            return None
        if head[at + 1] == marker:
            body = head[at + 4 : at + 2 + size]
            return body if len(body) == size - 2 else None
        at += 2 + size
    return None
