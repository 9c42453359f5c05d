"""Telling RGB from YCbCr by the samples: on pictures of known kind, lossless and lossy."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dicomfs.dicom.codestream import Colour
from dicomfs.dicom.components import judge_components, judge_jpeg_2000_frame
from tests.fixtures.codecs import CODECS
from tests.fixtures.codestreams import j2k_encode, rgb_to_ycbcr
from tests.fixtures.pixels import Pixels, picture


def _tissue(seed: int) -> Pixels:
    """Pink and violet on white, as stained tissue is."""
    rng = np.random.default_rng(seed)
    blots = rng.random((64, 64)).repeat(4, 0).repeat(4, 1)[..., None]
    noise = rng.normal(0, 4, (256, 256, 3))
    pink, violet, white = np.array([225, 150, 190]), np.array([110, 70, 150]), np.array([243.0] * 3)
    mixed = np.where(blots > 0.6, white, np.where(blots > 0.3, pink, violet))
    return np.clip(mixed + noise, 0, 255).astype(np.uint8)


PICTURES: dict[str, Pixels] = {
    **{f"picture {seed}": picture(200, 160, seed=seed) for seed in range(6)},
    **{f"tissue {seed}": _tissue(seed) for seed in range(4)},
    "white": np.full((64, 64, 3), 244, np.uint8),
    "white with noise": np.random.default_rng(1).integers(236, 250, (64, 64, 3)).astype(np.uint8),
}


@pytest.mark.parametrize("name", list(PICTURES))
def test_rgb_is_rgb(name: str) -> None:
    assert judge_components(PICTURES[name]) is Colour.RGB


@pytest.mark.parametrize("name", list(PICTURES))
def test_ycbcr_is_ycbcr(name: str) -> None:
    assert judge_components(rgb_to_ycbcr(PICTURES[name])) is Colour.YCBCR


@pytest.mark.parametrize("name", ["picture 1", "tissue 2"])
def test_16_bit(name: str) -> None:
    rgb = PICTURES[name]
    assert judge_components(rgb.astype(np.uint16) * 257) is Colour.RGB
    assert judge_components(rgb_to_ycbcr(rgb).astype(np.uint16) * 257) is Colour.YCBCR


@pytest.mark.parametrize("name", ["picture 0", "tissue 0"])
@pytest.mark.parametrize("level", [None, 30])
def test_frames_of_jpeg_2000(name: str, level: int | None) -> None:
    """As they are stored, and after a lossy compression that pushes samples out of gamut."""

    def encode(samples: Pixels) -> bytes:
        data = imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(samples), level, codecformat="J2K", mct=False,
            reversible=level is None,
        )  # fmt: skip
        return bytes(data)

    rgb = PICTURES[name]
    assert judge_jpeg_2000_frame(encode(rgb)) is Colour.RGB
    assert judge_jpeg_2000_frame(encode(rgb_to_ycbcr(rgb))) is Colour.YCBCR


def test_a_frame_that_is_none_is_not_judged() -> None:
    tile = np.ascontiguousarray(picture(64, 64))
    good = CODECS["j2k-rgb"].encode(tile)
    assert judge_jpeg_2000_frame(good) is Colour.RGB
    for frame in (b"", b"\xff\x4f\xff\x51", good[:60], bytes(500)):
        assert judge_jpeg_2000_frame(frame) is None
    grey = j2k_encode(np.ascontiguousarray(picture(64, 64, channels=1)), reversible=True, mct=False)
    assert judge_jpeg_2000_frame(grey) is None
