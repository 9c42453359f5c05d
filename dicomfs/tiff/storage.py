"""How the frames of an encoding stand in a TIFF: as they are, or decoded.

What each reader decodes was measured, see docs/readers.md.  A frame passes through where all the
readers that a flavour is for decode it with the right colours; otherwise its pixels are stored
uncompressed and interleaved, which every reader takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from dicomfs.dicom.codestream import Codec, Colour
from dicomfs.slide.encoding import PixelEncoding


class Flavour(StrEnum):
    """The kinds of TIFF that dicomfs writes; the value is what a user types."""

    SVS = "svs"
    OME = "ome"
    TIFF = "tiff"

    @property
    def suffix(self) -> str:
        """File name suffix; readers choose by it."""
        return {"svs": ".svs", "ome": ".ome.tif", "tiff": ".tif"}[self.value]


class Compression(IntEnum):
    """Values of the Compression tag (259)."""

    NONE = 1
    JPEG = 7
    APERIO_JPEG_2000_RGB = 33005
    JPEG_2000 = 34712


class Photometric(IntEnum):
    """Values of the PhotometricInterpretation tag (262)."""

    MIN_IS_BLACK = 1
    RGB = 2
    YCBCR = 6


@dataclass(frozen=True, slots=True)
class Storage:
    """The tags that say how a picture's tiles are stored.

    subsampling : value of tag 530; None where the tag has to be absent
    pass_through : whether a tile is a frame's own bytes
    """

    compression: Compression
    photometric: Photometric
    samples: int
    bits: int
    signed: bool
    subsampling: tuple[int, int] | None
    pass_through: bool


def storage_of(encoding: PixelEncoding, flavour: Flavour, *, decode: bool = False) -> Storage:
    """How frames of an encoding are stored in a flavour; `decode` rules out passing through."""
    compression = None if decode else _as_it_is(encoding, flavour)
    if compression is None:
        return _decoded(encoding)
    photometric = _PHOTOMETRIC[encoding.colour]
    subsampling = None
    if photometric is Photometric.YCBCR and encoding.sampling[0] != 1:
        # Absent it is read correctly everywhere; present it must equal the stream, and readers
        # exist that trip over (1, 1) and (1, 2).
        subsampling = encoding.sampling
    return Storage(
        compression,
        photometric,
        encoding.samples,
        encoding.bits,
        encoding.signed,
        subsampling,
        pass_through=True,
    )


_PHOTOMETRIC = {
    Colour.GREY: Photometric.MIN_IS_BLACK,
    Colour.RGB: Photometric.RGB,
    Colour.YCBCR: Photometric.YCBCR,
}


def _as_it_is(encoding: PixelEncoding, flavour: Flavour) -> Compression | None:
    """The compression under which a frame's own bytes are a tile; None where they cannot be."""
    if encoding.palette is not None or encoding.inverted:
        return None
    if encoding.native:
        plain = not (encoding.big_endian or encoding.planar or encoding.colour is Colour.YCBCR)
        return Compression.NONE if plain else None
    if encoding.codec == Codec.JPEG:
        return Compression.JPEG if encoding.bits == 8 else None
    if encoding.signed or encoding.precision not in (8, 16):
        return None  # TIFF readers take the depth from the tag, and it has to be one of these
    if encoding.codec == Codec.JPEG_2000 and encoding.colour is not Colour.YCBCR:
        if flavour is Flavour.OME:
            return Compression.JPEG_2000
        # OpenSlide takes three components of 8 bit there, and no others.
        if flavour is Flavour.SVS and encoding.samples == 3 and encoding.bits == 8:
            return Compression.APERIO_JPEG_2000_RGB
    return None


def _decoded(encoding: PixelEncoding) -> Storage:
    photometric = Photometric.RGB if encoding.samples == 3 else Photometric.MIN_IS_BLACK
    return Storage(
        Compression.NONE,
        photometric,
        encoding.samples,
        encoding.bits,
        encoding.signed,
        None,
        pass_through=False,
    )
