"""How the pixels of an instance are encoded, decided from the code stream first.

The data set's Photometric Interpretation (0028,0004) and transfer syntax often contradict the
frames; what a decoder makes of a frame does not.  So the markers decide, and the data set only
where they are silent (PS3.5 section 8, PS3.3 C.7.6.3.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dicomfs.dicom.codestream import Codec, CodeStream, Colour
from dicomfs.dicom.header import Header, Palette
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.uids import TransferSyntax, is_video, transfer_syntax_name
from dicomfs.errors import RejectedError

NATIVE = "native"
RLE = "RLE"
DEFLATE = "deflate"


@dataclass(frozen=True, slots=True)
class PixelEncoding:
    """The encoding of an instance's frames.

    codec : a `Codec`, or NATIVE, RLE, DEFLATE
    colour : of the samples as a decoder without colour conversion of its own would give them:
        YCBCR means that a reader has to convert
    sampling : sampling of luma relative to chroma, (horizontal, vertical)
    bits : bits allocated of a decoded sample, 8 or 16; precision : bits that are used
    samples : samples per pixel once decoded
    palette : for samples that are indices of colours; the decoded pixels are RGB then
    inverted : whether the smallest grey is white (MONOCHROME1)
    big_endian, planar, signed : of native samples; 8-bit samples in words of 16 are swapped too
    self_marked : whether a decoder that knows nothing else finds the right colours
    """

    codec: str
    colour: Colour
    sampling: tuple[int, int]
    bits: int
    precision: int
    samples: int
    lossless: bool
    transfer_syntax: str
    multiple_component_transform: bool = False
    big_endian: bool = False
    planar: bool = False
    signed: bool = False
    self_marked: bool = False
    palette: Palette | None = None
    inverted: bool = False

    @property
    def stored_samples(self) -> int:
        """Samples per pixel of a frame as it is stored."""
        return 1 if self.palette is not None else self.samples

    @property
    def stored_bytes(self) -> int:
        """Bytes of a stored sample that is only packed, not compressed."""
        return 2 if self.palette is not None and self.precision > 8 else self.bits // 8

    @property
    def native(self) -> bool:
        """Whether the frames are plain samples."""
        return self.codec == NATIVE

    @property
    def short_name(self) -> str:
        """For people: codec, colour, subsampling and depth, such as `JPEG YCbCr 4:2:2`."""
        sampling = "" if self.sampling == (1, 1) else f" {_SUBSAMPLING.get(self.sampling, '')}"
        depth = "" if self.bits == 8 else f" {self.bits} bit"
        return f"{self.codec} {self.colour}{sampling}{depth}"


_SUBSAMPLING = {(2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}


def decide_encoding(instance: Instance) -> PixelEncoding:
    """Decide how the frames of an instance are encoded.

    Raises RejectedError for what holds no pixels that could be shown.
    """
    header = instance.header
    syntax = instance.layout.transfer_syntax
    if is_video(syntax):
        raise RejectedError("video", "is a video stream, which has no frames to show as tiles")
    if not header.rows or not header.columns:
        raise RejectedError("no-size", "does not say how large its frames are")
    if header.bits_allocated not in (8, 16) or header.samples_per_pixel not in (1, 3):
        raise RejectedError(
            "sample-format",
            f"has {header.samples_per_pixel} samples of {header.bits_allocated} bits per pixel;"
            " slides have 1 or 3 samples of 8 or 16 bits",
        )
    stream = instance.code_stream
    if stream is None:
        encoding = _without_stream(instance)
    elif stream.codec is Codec.JPEG_XL:
        encoding = _from_header(header, stream.codec, syntax)
        if encoding.colour is Colour.YCBCR:
            recompressed = syntax == TransferSyntax.JPEG_XL_JPEG_RECOMPRESSION
            colour = Colour.RGB if recompressed else stream.colour
            encoding = replace(encoding, colour=colour or encoding.colour)
    else:
        encoding = _from_stream(header, stream, syntax)
    return _with_palette(encoding, header)


def _with_palette(encoding: PixelEncoding, header: Header) -> PixelEncoding:
    """What the photometric interpretation makes of single samples (PS3.3 C.7.6.3.1.2)."""
    if encoding.samples != 1:
        return encoding
    if header.photometric_interpretation == "MONOCHROME1":
        return replace(encoding, inverted=True)
    if header.photometric_interpretation != "PALETTE COLOR":
        return encoding
    if header.palette is None:
        raise RejectedError("palette", "has palette colour without a palette that can be read")
    return replace(
        encoding, palette=header.palette, samples=3, bits=8, colour=Colour.RGB, signed=False
    )


def _from_stream(header: Header, stream: CodeStream, syntax: str) -> PixelEncoding:
    if stream.components not in (1, 3):
        raise RejectedError(
            "components", f"has frames of {stream.components} components; slides have 1 or 3"
        )
    colour = stream.colour or _colour_of_header(header, stream)
    return PixelEncoding(
        codec=stream.codec,
        colour=colour,
        sampling=stream.sampling,
        bits=8 if stream.precision <= 8 else 16,
        precision=stream.precision,
        samples=stream.components,
        lossless=stream.reversible or syntax in _LOSSLESS,
        transfer_syntax=syntax,
        multiple_component_transform=stream.multiple_component_transform,
        signed=stream.signed or header.signed,
        # Decoders take three unmarked components for YCbCr.
        self_marked=stream.colour is not None or colour is Colour.YCBCR,
    )


def _colour_of_header(header: Header, stream: CodeStream) -> Colour:
    """The data set breaks the tie for three components that no marker names."""
    interpretation = header.photometric_interpretation
    if stream.sampling != (1, 1):
        return Colour.YCBCR  # subsampled components cannot be RGB
    return Colour.YCBCR if interpretation.startswith("YBR") else Colour.RGB


def _without_stream(instance: Instance) -> PixelEncoding:
    header, syntax = instance.header, instance.layout.transfer_syntax
    if not instance.encapsulated or syntax == TransferSyntax.ENCAPSULATED_UNCOMPRESSED:
        encoding = _from_header(header, NATIVE, syntax)
        element = instance.layout.pixel_data
        assert element is not None
        big_endian = not instance.encapsulated and instance.layout.encoding.big_endian
        return replace(
            encoding,
            sampling=(2, 1) if instance.subsampled else (1, 1),
            planar=header.planar and encoding.samples > 1,
            big_endian=big_endian and (encoding.bits > 8 or element.vr == b"OW"),
        )
    if syntax == TransferSyntax.RLE_LOSSLESS:
        return _from_header(header, RLE, syntax)
    if syntax == TransferSyntax.DEFLATED_IMAGE_FRAME:
        encoding = _from_header(header, DEFLATE, syntax)
        return replace(encoding, planar=header.planar and encoding.samples > 1)
    raise RejectedError(
        "unknown-encoding",
        f"has frames of no known encoding (transfer syntax {transfer_syntax_name(syntax)})",
    )


def _from_header(header: Header, codec: str, syntax: str) -> PixelEncoding:
    interpretation = header.photometric_interpretation
    if header.samples_per_pixel == 1:
        colour = Colour.GREY
    elif interpretation.startswith("YBR_FULL"):
        colour = Colour.YCBCR
    else:
        colour = Colour.RGB
    return PixelEncoding(
        codec=codec,
        colour=colour,
        sampling=(1, 1),
        bits=header.bits_allocated,
        precision=header.bits_stored,
        samples=header.samples_per_pixel,
        lossless=codec in (NATIVE, RLE, DEFLATE) or syntax in _LOSSLESS,
        transfer_syntax=syntax,
        signed=header.signed,
    )


_LOSSLESS = frozenset(
    (
        TransferSyntax.JPEG_LOSSLESS,
        TransferSyntax.JPEG_LOSSLESS_SV1,
        TransferSyntax.JPEG_LS_LOSSLESS,
        TransferSyntax.JPEG_2000_LOSSLESS,
        TransferSyntax.JPEG_XL_LOSSLESS,
        TransferSyntax.HTJ2K_LOSSLESS,
        TransferSyntax.HTJ2K_LOSSLESS_RPCL,
    )
)
