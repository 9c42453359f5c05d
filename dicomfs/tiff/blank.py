"""The tile that stands where a slide has none.

TIFF has no word for a missing tile that all readers understand, so every gap points at one tile of
the picture's own encoding and of one colour: Recommended Absent Pixel CIELab Value (0048,0015)
where it makes sense, else white, and black where the samples are grey (PS3.3 C.8.12.14.1.1).
"""

from __future__ import annotations

from functools import lru_cache

import imagecodecs
import numpy as np

from dicomfs.dicom.codestream import Colour
from dicomfs.slide.encoding import PixelEncoding
from dicomfs.tiff.storage import Compression, Photometric, Storage

WHITE = (255, 255, 255)


def absent_colour(encoding: PixelEncoding, cielab: tuple[int, int, int] | None) -> tuple[int, ...]:
    """The 8-bit samples of a pixel that is not there: (R, G, B), or (grey,)."""
    if encoding.colour is Colour.GREY:
        return (0,)
    if cielab is None:
        return WHITE
    lightness, a, b = cielab
    # PCS encoding (PS3.3 C.10.7.1.1): 0..65535 for L* 0..100, and for a*, b* of -128..127.
    rgb = _cielab_to_srgb(lightness * 100 / 65535, a * 255 / 65535 - 128, b * 255 / 65535 - 128)
    # Real files carry 65535\\0\\0, meant as white: no display has such a colour.
    return rgb if rgb is not None else WHITE


def _cielab_to_srgb(lightness: float, a: float, b: float) -> tuple[int, int, int] | None:
    """sRGB of a CIELab D50 colour (ICC PCS, Bradford-adapted sRGB matrix); None out of gamut."""
    fy = (lightness + 16) / 116
    xyz = [_inverse(f) * white for f, white in
           zip((fy + a / 500, fy, fy - b / 200), (0.96422, 1.0, 0.82521), strict=True)]  # fmt: skip
    matrix = (
        (3.1338561, -1.6168667, -0.4906146),
        (-0.9787684, 1.9161415, 0.0334540),
        (0.0719453, -0.2289914, 1.4052427),
    )
    linear = [sum(m * v for m, v in zip(row, xyz, strict=True)) for row in matrix]
    if min(linear) < -0.02 or max(linear) > 1.02:
        return None
    red, green, blue = (round(255 * _companded(min(max(c, 0.0), 1.0))) for c in linear)
    return red, green, blue


def _inverse(f: float) -> float:
    return f**3 if f**3 > 216 / 24389 else (116 * f - 16) / (24389 / 27)


def _companded(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


@lru_cache(maxsize=64)
def blank_tile(
    storage: Storage, sampling: tuple[int, int], width: int, height: int, colour: tuple[int, ...]
) -> bytes:
    """A tile of one colour as the storage wants it; deterministic, because a file's size needs it.

    sampling : luma relative to chroma of the frames that the tile stands beside
    """
    dtype = np.uint16 if storage.bits == 16 else np.uint8
    scale = 257 if storage.bits == 16 else 1
    pixels = np.empty((height, width, storage.samples), dtype)
    pixels[:] = [value * scale for value in colour]
    if storage.samples == 1:
        pixels = pixels[:, :, 0]
    if storage.compression is Compression.NONE:
        return pixels.tobytes()
    if storage.compression is Compression.JPEG:
        if storage.photometric is Photometric.MIN_IS_BLACK:
            return bytes(imagecodecs.jpeg8_encode(pixels, level=90))
        if storage.photometric is Photometric.RGB:
            return bytes(
                imagecodecs.jpeg8_encode(pixels, level=90, colorspace="RGB", outcolorspace="RGB")
            )
        return bytes(
            imagecodecs.jpeg8_encode(
                pixels,
                level=90,
                colorspace="RGB",
                outcolorspace="YCBCR",
                subsampling=_SUBSAMPLING[sampling],
            )
        )
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K", mct=False))


_SUBSAMPLING = {
    (1, 1): "444",
    (2, 1): "422",
    (2, 2): "420",
    (1, 2): "440",
    (4, 1): "411",
    (4, 2): "410",
}
