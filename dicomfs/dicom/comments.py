"""Takes out of a frame's code stream what is not needed to decode it, in place.

Comments and application data can hold anything: JPEG COM and APPn (ITU-T T.81 B.2.4), among them
Exif and XMP; JPEG 2000 COM (T.800 A.9.2) and the boxes around a code stream (annex I).  A segment
keeps its marker and its length and its content becomes zeros, so nothing moves and every decoder
takes the stream as before.  JFIF, Adobe and ICC segments say what the colours are and stay, without
thumbnails and words.  The whole stream is walked, over all scans and tile-parts; whatever follows
its end becomes zeros too.  Knows no data set.
"""

from __future__ import annotations

import re
import struct

from dicomfs.dicom.icc import without_words

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_RESTARTS = frozenset(range(0xD0, 0xD8))
_APP0, _APP2, _APP14, _APP15 = 0xE0, 0xE2, 0xEE, 0xEF
_TABLES = frozenset((*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xF7)) - {0xC8}
"""SOFn, DHT, DAC, DQT, DNL, DRI, and SOF55 and LSE of JPEG-LS."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)

_ICC = b"ICC_PROFILE\0"
_JFIF_BYTES = 14  # JFIF\0, version, units, densities, size of the thumbnail
_ADOBE_BYTES = 12

_J2K_START = b"\xff\x4f\xff\x51"
_J2K_NEEDED = frozenset(
    (0x50, 0x51, 0x52, 0x53, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x63)
)
"""CAP, SIZ, COD, COC, TLM, PRF, PLM, PLT, CPF, QCD, QCC, RGN, POC, PPM, PPT, CRG."""
_SOT, _SOD, _EOC = 0x90, 0x93, 0xD9
_BOX_START = b"\0\0\0\x0cjP  \r\n\x87\n"


def without_comments(frame: bytes) -> bytes | None:
    """The frame with the same size and the same pixels; None for what is no JPEG or JPEG 2000."""
    data = bytearray(frame)
    if frame.startswith(b"\xff\xd8"):
        _clean_jpeg(data)
    elif frame.startswith(_J2K_START):
        _clean_jpeg_2000(data, 0, len(data))
    elif frame.startswith(_BOX_START):
        _clean_boxes(data, 0, len(data))
    else:
        return None
    return bytes(data)


def _zero(data: bytearray, start: int, end: int) -> None:
    if end > start:
        data[start:end] = bytes(end - start)


# ---------------------------------------------------------------- JPEG and JPEG-LS


def _clean_jpeg(data: bytearray) -> None:
    size = len(data)
    profiles: list[tuple[int, int]] = []
    at = 2
    while at < size:
        found = data.find(b"\xff", at)
        start = size if found < 0 else found
        _zero(data, at, start)  # decoders skip what is between segments
        at = start
        while at < size and data[at] == 0xFF:
            at += 1
        if at >= size:
            break
        marker = data[at]
        at += 1
        if marker == 0 or marker in _RESTARTS or marker in (0x01, _SOI):
            continue
        if marker == _EOI:
            _zero(data, at, size)
            break
        length = int.from_bytes(data[at : at + 2], "big") if at + 2 <= size else 0
        end = at + length
        if length < 2 or end > size:
            _zero(data, at, size)
            break
        body = at + 2
        if marker == _APP2 and data[body:end].startswith(_ICC) and end - body > len(_ICC) + 2:
            profiles.append((body + len(_ICC) + 2, end))
        elif marker == _SOS:
            following = _NEXT_MARKER.search(data, end)
            end = following.start() if following else size
        elif marker not in _TABLES:
            _zero(data, body + _kept(marker, data[body:end]), end)
        at = end
    _clean_profiles(data, profiles)


def _kept(marker: int, body: bytearray) -> int:
    """How many bytes of a segment stay."""
    if marker == _APP0 and body.startswith(b"JFIF\0"):
        return _JFIF_BYTES
    if marker == _APP14 and body.startswith(b"Adobe"):
        return _ADOBE_BYTES
    return 0


def _clean_profiles(data: bytearray, spans: list[tuple[int, int]]) -> None:
    """Take the words out of an ICC profile that lies in one segment or in several."""
    whole = b"".join(bytes(data[start:end]) for start, end in spans)
    profile = without_words(whole) or bytes(len(whole))
    at = 0
    for start, end in spans:
        data[start:end] = profile[at : at + end - start]
        at += end - start


# ---------------------------------------------------------------- JPEG 2000


def _clean_jpeg_2000(data: bytearray, start: int, stop: int) -> None:
    at = _clean_segments(data, start + 2, stop)
    while at + 12 <= stop and data[at : at + 2] == b"\xff\x90":
        (length,) = struct.unpack_from(">I", data, at + 6)
        end = at + length if length else stop
        if end > stop or end < at + 14:
            end = stop
        packets = _clean_segments(data, at + 12, end)
        if not length:
            # Packets have no marker above FF8F in them (T.800 A.1.4), so the first one is the end.
            found = data.find(b"\xff\xd9", packets, stop)
            end = stop if found < 0 else found
        at = end
    if data[at : at + 2] == b"\xff\xd9":
        at += 2
    _zero(data, at, stop)


def _clean_segments(data: bytearray, at: int, stop: int) -> int:
    """Clean the marker segments of a header; returns where the header ends."""
    while at + 2 <= stop:
        marker = data[at + 1]
        if data[at] != 0xFF:
            _zero(data, at, stop)
            return stop
        if marker in (_SOT, _SOD, _EOC):
            return at
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end < at + 4 or end > stop:
            _zero(data, at + 2, stop)
            return stop
        if marker not in _J2K_NEEDED:
            _zero(data, at + 4, end)
        at = end
    return stop


_SUPER_BOXES = frozenset((b"jp2h",))
_PLAIN_BOXES = frozenset(
    (b"jP  ", b"ftyp", b"ihdr", b"bpcc", b"pclr", b"cmap", b"cdef", b"resc", b"resd")
)


def _clean_boxes(data: bytearray, at: int, stop: int) -> None:
    """Boxes of a JP2 file (T.800 annex I): what is not needed for the picture becomes zeros."""
    while at + 8 <= stop:
        length, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if length == 1 and at + 16 <= stop:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        end = stop if length == 0 else at + length
        if end < body or end > stop:
            end = stop
        if kind in _SUPER_BOXES:
            _clean_boxes(data, body, end)
        elif kind == b"jp2c" and data[body : body + 4] == _J2K_START:
            _clean_jpeg_2000(data, body, end)
        elif kind == b"colr" and end > body and data[body] in (2, 3):
            profile = bytes(data[body + 3 : end])
            data[body + 3 : end] = without_words(profile) or bytes(len(profile))
        elif kind not in _PLAIN_BOXES and kind != b"colr":
            _zero(data, body, end)
        at = end
    _zero(data, at, stop)
