"""Code streams lose what is no picture, and not a pixel."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dicomfs.dicom.comments import without_comments
from tests.deidentify.planting import (
    WORD,
    found_in,
    icc_profile,
    planted_jpeg,
    planted_jpeg_2000,
    segment,
)

Picture = NDArray[np.uint8]
SECRET = WORD.encode()


def picture() -> Picture:
    y, x = np.mgrid[0:96, 0:80]
    noise = np.random.default_rng(1).integers(0, 60, (96, 80))
    return np.stack([x * 2 + noise, y * 2, x + y + noise], axis=2).astype(np.uint8)


def pillow(**options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture()).save(out, "JPEG", **options)
    return out.getvalue()


JPEGS: dict[str, bytes] = {
    "plain": pillow(quality=90),
    "progressive": pillow(quality=90, progressive=True),
    "restarts": pillow(quality=90, restart_marker_rows=1),
    "full": pillow(quality=95, subsampling=0, keep_rgb=True),
    "optimised": pillow(quality=30, optimize=True),
    "exif": pillow(quality=90, exif=b"Exif\0\0" + SECRET, comment=SECRET),
    "icc": pillow(quality=90, icc_profile=icc_profile()),
    "icc-in-parts": pillow(quality=90, icc_profile=icc_profile() + bytes(70_000)),
}


def decoded(frame: bytes) -> Picture:
    return np.asarray(Image.open(io.BytesIO(frame)))


def cleaned(frame: bytes) -> bytes:
    after = without_comments(frame)
    assert after is not None
    assert len(after) == len(frame)
    return after


@pytest.mark.parametrize("way", range(6))
@pytest.mark.parametrize("name", JPEGS)
def test_jpeg(name: str, way: int) -> None:
    frame = planted_jpeg(JPEGS[name], way)
    assert found_in(frame)
    after = cleaned(frame)
    assert not found_in(after)
    np.testing.assert_array_equal(decoded(after), decoded(frame))
    np.testing.assert_array_equal(imagecodecs.jpeg8_decode(after), imagecodecs.jpeg8_decode(frame))
    assert cleaned(after) == after


def test_a_comment_between_two_scans() -> None:
    frame = JPEGS["progressive"]
    places = [at for at in range(2, len(frame) - 1) if frame[at : at + 2] == b"\xff\xda"]
    assert len(places) > 5
    for at in places:
        planted = frame[:at] + segment(0xFE, SECRET) + frame[at:]
        after = cleaned(planted)
        assert SECRET not in after
        np.testing.assert_array_equal(decoded(after), decoded(frame))


def test_the_thumbnail_of_jfif_goes() -> None:
    frame = JPEGS["plain"]
    at = frame.index(b"JFIF\0")
    body = frame[at : at + 12] + b"\x01\x01" + SECRET[:3]
    length = int.from_bytes(frame[4:6], "big")
    planted = frame[:2] + segment(0xE0, body) + frame[4 + length :]
    after = cleaned(planted)
    assert SECRET[:3] not in after
    assert after[: 6 + 14] == planted[: 6 + 14]
    np.testing.assert_array_equal(decoded(after), decoded(frame))


def test_what_lies_between_segments_goes() -> None:
    frame = JPEGS["plain"]
    at = frame.index(b"\xff\xdb")
    after = cleaned(frame[:at] + SECRET + frame[at:])
    assert SECRET not in after
    np.testing.assert_array_equal(decoded(after), decoded(frame))


def test_a_segment_that_is_too_long_takes_the_rest_along() -> None:
    frame = JPEGS["plain"][:2] + b"\xff\xfe\xff\xff" + SECRET
    assert SECRET not in cleaned(frame)


def j2k(**options: object) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(picture(), codecformat="j2k", **options))  # type: ignore[arg-type]


J2KS = {"reversible": j2k(reversible=True), "lossy": j2k(level=40), "levels": j2k(resolutions=3)}


def with_open_end(frame: bytes) -> bytes:
    """The last tile-part does not say how long it is (T.800 A.4.2)."""
    at = frame.rindex(b"\xff\x90\x00\x0a")
    return frame[: at + 6] + bytes(4) + frame[at + 10 :]


@pytest.mark.parametrize("change", [lambda frame: frame, with_open_end], ids=["closed", "open"])
@pytest.mark.parametrize("way", range(3))
@pytest.mark.parametrize("name", J2KS)
def test_jpeg_2000(name: str, way: int, change: Callable[[bytes], bytes]) -> None:
    frame = planted_jpeg_2000(change(J2KS[name]), way)
    assert found_in(frame)
    after = cleaned(frame)
    assert not found_in(after)
    np.testing.assert_array_equal(
        imagecodecs.jpeg2k_decode(after), imagecodecs.jpeg2k_decode(J2KS[name])
    )


def test_the_boxes_of_jp2() -> None:
    frame = bytes(imagecodecs.jpeg2k_encode(picture(), codecformat="jp2", reversible=True))
    for kind in (b"xml ", b"uuid", b"free"):
        box = struct.pack(">I4s", 8 + len(SECRET), kind) + SECRET
        at = frame.index(b"jp2h") - 4
        for planted in (frame[:at] + box + frame[at:], frame + box):
            after = cleaned(planted)
            assert SECRET not in after
            np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(after), picture())


def test_anything_else_is_no_such_frame() -> None:
    assert without_comments(b"") is None
    assert without_comments(SECRET) is None


@pytest.mark.parametrize("frame", [*JPEGS.values(), *J2KS.values()])
def test_damage_is_borne(frame: bytes) -> None:
    """Whatever is in a frame: the size stays, nothing is raised, and nothing comes in."""
    chance = random.Random(5)
    for _ in range(60):
        data = bytearray(frame[: chance.randrange(4, len(frame))])
        for _ in range(chance.randrange(8)):
            data[chance.randrange(4, len(data))] = chance.choice([0xFF, 0, 0xFE, 0x90, 0xD9, 0x64])
        after = cleaned(bytes(data))
        if b"ICC_P" not in data:
            assert all(new in (0, old) for new, old in zip(after, data, strict=True))
