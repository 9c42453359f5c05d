"""What foreign readers are known to get wrong in anybody's file, so that it is not laid to ours.

The one job: given a reader, the facts of a TIFF and what went wrong, say the known reason, or
nothing. Each entry was measured on files of known content. A limit is of the reader and of the
coding, never of one file.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from tests.oracles.frame_decoders import UndecodableFrame, jpeg2000_header, jpeg_header
from tests.oracles.tiff_directories import (
    BITS,
    COMPRESSION,
    JPEG2000_CODES,
    JPEG_CODES,
    read_at,
    walk,
)

What: TypeAlias = Literal[
    "open", "levels", "extra", "pixels", "planes", "mpp", "objective", "associated"
]
"""`levels`: one is not seen. `extra`: something else is taken for a level."""

_VIPS: Final = frozenset({"libvips", "libvips-cli"})
_LIBTIFF: Final = _VIPS | {"libtiff", "gdal", "rasterio", "pillow"}
_OPENSLIDE: Final = frozenset({"openslide"})
_BIOFORMATS: Final = frozenset({"bioformats"})
_KNOW_PLANES: Final = _BIOFORMATS | {"tifffile"}
_KNOW_OBJECTIVE: Final = _OPENSLIDE | _KNOW_PLANES
_OTHER_UPSAMPLING: Final = 1.6
_OTHER_WAVELET: Final = 0.5
"""Mean differences that another chroma upsampling, another inverse wavelet stay below."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Of the first directory of a TIFF and its first tile. `irreversible`: JPEG 2000, 9/7."""

    flavour: str
    compression: int
    bits: int
    tile: tuple[int, int]
    irreversible: bool = False
    high_throughput: bool = False
    unmarked_rgb: bool = False


def read_facts(path: Path, flavour: str) -> Facts:
    """By this package's own parser; the stream of the first tile is looked at, not decoded.

    Raises `ValueError` where there is no directory with a tile or strip.
    """
    found = walk(path)
    if not found.directories or not found.directories[0].segments()[0].size:
        raise ValueError(f"no image in {path}: {'; '.join(map(str, found.problems))}")
    first = found.directories[0]
    code = first.integer(COMPRESSION)
    facts = Facts(flavour, code, first.integer(BITS, 1), first.segment_size)
    offsets, counts = first.segments()
    with open(path, "rb") as file:
        data = read_at(file, int(offsets[0]), int(counts[0]))
    try:
        if code in JPEG2000_CODES:
            stream = jpeg2000_header(data)
            return dataclasses.replace(
                facts,
                irreversible=not stream.reversible,
                high_throughput=stream.high_throughput,
            )
        if code in JPEG_CODES:
            jpeg = jpeg_header(data)
            marked = jpeg.jfif or jpeg.adobe_transform is not None or jpeg.subsampled
            unmarked = jpeg.component_ids == (1, 2, 3) and not marked
            return dataclasses.replace(facts, unmarked_rgb=unmarked)
    except UndecodableFrame:
        pass
    return facts


@dataclass(frozen=True, slots=True)
class _Limit:
    """`mean`: only a mean difference below it is excused."""

    readers: frozenset[str]
    what: frozenset[What]
    applies: Callable[[Facts], bool]
    reason: str
    mean: float | None = None


_ALL: Final[frozenset[What]] = frozenset({"open", "levels", "pixels", "associated"})
_EXTRA: Final[frozenset[What]] = frozenset({"extra"})
_OPEN: Final[frozenset[What]] = frozenset({"open"})
_PIXELS: Final[frozenset[What]] = frozenset({"pixels"})
_LEVELS: Final[frozenset[What]] = frozenset({"levels"})
_PLANES: Final[frozenset[What]] = frozenset({"planes"})


def _jpeg2000(facts: Facts) -> bool:
    return facts.compression in JPEG2000_CODES


_LIMITS: Final = (
    _Limit(_LIBTIFF, _ALL, _jpeg2000, "reads no JPEG 2000 in TIFF"),
    _Limit(
        _VIPS,
        _ALL,
        lambda facts: any(edge % 16 for edge in facts.tile),
        "refuses tile sizes that are no multiple of 16",
    ),
    _Limit(
        _OPENSLIDE,
        _OPEN,
        lambda facts: _jpeg2000(facts) and (facts.compression == 34712 or facts.flavour != "svs"),
        "knows JPEG 2000 under Aperio's codes in Aperio's files only",
    ),
    _Limit(
        _VIPS | {"gdal", "rasterio"},
        _EXTRA,
        lambda _: True,
        "takes a page of the slide's shape for a level",
    ),
    _Limit(_OPENSLIDE, _PIXELS, lambda facts: facts.bits > 8, "has 8 bits only"),
    _Limit(
        _BIOFORMATS,
        _LEVELS,
        lambda facts: facts.flavour == "tiff",
        "sees no pyramid in plain TIFF",
    ),
    _Limit(_BIOFORMATS, _ALL, lambda facts: facts.high_throughput, "reads no HTJ2K"),
    _Limit(
        # OpenSlide has an OpenJPEG of its own; releases of it round differently.
        _BIOFORMATS | _OPENSLIDE,
        _PIXELS,
        lambda facts: facts.irreversible,
        "another inverse 9/7 wavelet",
        mean=_OTHER_WAVELET,
    ),
    _Limit(
        _BIOFORMATS,
        _PIXELS,
        lambda facts: facts.unmarked_rgb,
        "takes unmarked components 1, 2, 3 for YCbCr",
    ),
    _Limit(
        frozenset({"rasterio"}),
        _PIXELS,
        lambda facts: facts.compression in JPEG_CODES,
        "another upsampling and inverse DCT",
        mean=_OTHER_UPSAMPLING,
    ),
    _Limit(
        _LIBTIFF | _OPENSLIDE,
        _PLANES,
        lambda _: True,
        "knows no channels and focal planes",
    ),
)


def explain(reader: str, what: What, facts: Facts, mean: float | None) -> str | None:
    """The known reason why `reader` fails at `what`; `mean` is that of a difference of pixels."""
    for limit in _LIMITS:
        small = limit.mean is None or (mean is not None and mean < limit.mean)
        if reader in limit.readers and what in limit.what and small and limit.applies(facts):
            return limit.reason
    return None


def knows_objective(reader: str, flavour: str) -> bool:
    """Plain TIFF has no place for it, and the readers of pages do not look for one.

    OpenSlide takes an OME-TIFF for a plain one.
    """
    if reader in _OPENSLIDE:
        return flavour == "svs"
    return reader in _KNOW_OBJECTIVE and flavour != "tiff"


def knows_planes(reader: str) -> bool:
    """Whether the reader tells channels and focal planes apart."""
    return reader in _KNOW_PLANES
