"""Small files of known content, to try the oracles on.

The one job: write a slide of a few tiles as SVS, OME-TIFF, plain TIFF and DICOM, by tifffile and
pydicom, and say what is in it. Only the tests of the oracles use it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from tests.oracles.dicom_series import WSM_SOP_CLASS
from tests.oracles.frame_decoders import decode_with_pillow
from tests.oracles.opened import Pixels

TILE: Final = 64
WIDTH: Final = 200
HEIGHT: Final = 150
SIZES: Final = ((200, 150), (100, 75), (50, 38))
MPP: Final = 0.25
OBJECTIVE: Final = 40.0
CENTIMETRE: Final[dict[str, Any]] = {
    "resolution": (1e4 / MPP, 1e4 / MPP),
    "resolutionunit": "CENTIMETER",
}


def picture(width: int, height: int, *, samples: int = 3, seed: int = 0) -> Pixels:
    """Smooth colour with detail, no two tiles alike; uint8."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (9 + 4 * index) + seed) + np.cos(y / (7 + index)) for index in range(3)]
    pixels = np.stack([60 * wave + 128 for wave in waves], axis=-1)
    pixels[(x // 16 + y // 16) % 5 == seed % 5] += 20
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    return pixels if samples == 3 else np.ascontiguousarray(pixels[..., 0])


def tiles(pixels: Pixels, edge: int = TILE) -> Iterator[Pixels]:
    """Row by row, each of full size, filled up by its last pixels."""
    rows, columns = pixels.shape[:2]
    for top in range(0, rows, edge):
        for left in range(0, columns, edge):
            part = pixels[top : top + edge, left : left + edge]
            missing = [(0, edge - part.shape[0]), (0, edge - part.shape[1])]
            yield np.pad(part, missing + [(0, 0)] * (pixels.ndim - 2), mode="edge")


def jpeg(pixels: Pixels) -> bytes:
    """Baseline JPEG with JFIF; colour as YCbCr 4:2:0."""
    return bytes(imagecodecs.jpeg8_encode(pixels, level=90, subsampling="420"))


def from_tiles(decoded: Sequence[Pixels], width: int, height: int, edge: int = TILE) -> Pixels:
    """The matrix that decoded tiles make up."""
    across = -(-width // edge)
    rows = [
        np.concatenate(decoded[at : at + across], axis=1) for at in range(0, len(decoded), across)
    ]
    return np.concatenate(rows, axis=0)[:height, :width]


@dataclass(frozen=True, slots=True)
class Sample:
    """A TIFF and the pixels of its levels; for several planes by [channel][plane]."""

    path: Path
    levels: tuple[Pixels, ...]
    associated: dict[str, Pixels]


def write_svs(path: Path) -> Sample:
    """Aperio's layout: level 0, thumbnail, levels, label, macro; JPEG tiles, others raw strips."""
    header = "Aperio Image Library v12\r\n200x150 (64x64) JPEG"
    text = f"{header}|AppMag = {OBJECTIVE:g}|MPP = {MPP}"
    levels: list[Pixels] = []
    associated = {
        # Smaller than the smallest level: Bio-Formats takes the smallest page for the thumbnail.
        "thumbnail": picture(40, 30, seed=7),
        "label": picture(40, 48, seed=8),
        "macro": picture(96, 40, seed=9),
    }
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for index, (width, height) in enumerate(SIZES):
            streams = [jpeg(tile) for tile in tiles(picture(width, height, seed=index))]
            decoded = [decode_with_pillow(stream) for stream in streams]
            levels.append(from_tiles(decoded, width, height))
            writer.write(
                iter(streams),
                shape=(height, width, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                compression="jpeg",
                subsampling=(2, 2),
                description=text,
                metadata=None,
                **CENTIMETRE,
            )
            if index == 0:
                _write_strip(writer, associated["thumbnail"], text, 0)
        _write_strip(writer, associated["label"], f"{header}\r\nlabel 40x48", 1)
        _write_strip(writer, associated["macro"], f"{header}\r\nmacro 96x40", 9)
    return Sample(path, tuple(levels), associated)


def _write_strip(writer: Any, pixels: Pixels, text: str, kind: int) -> None:
    writer.write(
        pixels,
        photometric="rgb",
        rowsperstrip=pixels.shape[0],
        subfiletype=kind,
        description=text,
        metadata=None,
        **CENTIMETRE,
    )


def write_plain(path: Path) -> Sample:
    """A chain of raw tiled pages, NewSubfileType 1 on the reduced ones; classic TIFF."""
    levels = tuple(picture(*size, seed=index) for index, size in enumerate(SIZES))
    with tifffile.TiffWriter(path) as writer:
        for index, pixels in enumerate(levels):
            writer.write(
                pixels,
                tile=(TILE, TILE),
                photometric="rgb",
                subfiletype=int(index > 0),
                metadata=None,
                **CENTIMETRE,
            )
    return Sample(path, levels, {})


def write_ome(path: Path, *, channels: int = 2, planes: int = 3) -> Sample:
    """Sixteen bits, channels and focal planes, levels in SubIFDs; pixels (C, Z, rows, columns)."""
    levels: list[Pixels] = []
    for index, (width, height) in enumerate(SIZES):
        seeds = range(100 * index, 100 * index + channels * planes)
        stack = np.stack([picture(width, height, samples=1, seed=seed) for seed in seeds])
        wide = stack.astype(np.uint16) * 257 + np.arange(channels * planes)[:, None, None]
        levels.append(wide.astype(np.uint16).reshape(channels, planes, height, width))
    names = [f"Path {number}" for number in range(channels)]
    metadata: dict[str, Any] = {"axes": "CZYX", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as writer:
        for index, pixels in enumerate(levels):
            writer.write(
                pixels,
                tile=(TILE, TILE),
                photometric="minisblack",
                subifds=len(levels) - 1 if index == 0 else None,
                subfiletype=int(index > 0),
                metadata={**metadata, "Channel": {"Name": names}} if index == 0 else None,
                **CENTIMETRE,
            )
    return Sample(path, tuple(levels), {})


# ------------------------------------------------------------------ DICOM


def _items(**attributes: object) -> Items:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return Items([item])


def dicom_header(series_uid: str, size: tuple[int, int], frames: int, **others: object) -> Dataset:
    """A WSM volume of RGB tiles, native little endian, TILED_FULL, until `others` says else."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(WSM_SOP_CLASS)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = series_uid
    dataset.StudyInstanceUID = generate_uid()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.Modality, dataset.InstanceNumber, dataset.NumberOfFrames = "SM", 1, frames
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = size
    dataset.TotalPixelMatrixFocalPlanes = 1
    dataset.Rows = dataset.Columns = TILE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration, dataset.PixelRepresentation = 0, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.OpticalPathSequence = _items(
        OpticalPathIdentifier="0", ObjectiveLensPower=str(OBJECTIVE)
    )
    spacing = _items(PixelSpacing=[MPP / 1000, MPP / 1000], SpacingBetweenSlices="0.002")
    dataset.SharedFunctionalGroupsSequence = _items(PixelMeasuresSequence=spacing)
    for keyword, value in others.items():
        setattr(dataset, keyword, value)
    return dataset


def listed(places: Sequence[tuple[int, int, str, float]]) -> Items:
    """Per-frame groups from (x, y) of the top left pixel, 0-based, optical path, height in µm."""
    groups = Items()
    for x, y, path, height in places:
        group = Dataset()
        group.PlanePositionSlideSequence = _items(
            ColumnPositionInTotalImagePixelMatrix=x + 1,
            RowPositionInTotalImagePixelMatrix=y + 1,
            ZOffsetInSlideCoordinateSystem=str(height),
        )
        group.OpticalPathIdentificationSequence = _items(OpticalPathIdentifier=path)
        groups.append(group)
    return groups


def optical_paths(*names: str) -> Items:
    """An Optical Path Sequence."""
    return Items([_items(OpticalPathIdentifier=name)[0] for name in names])


def set_jpeg_frames(dataset: Dataset, frames: Sequence[bytes], *, fragments: int = 1) -> None:
    """Encapsulate, with a Basic Offset Table."""
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate(list(frames), fragments_per_frame=fragments)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def save(dataset: Dataset, path: Path) -> Path:
    """With preamble and file meta information."""
    dataset.save_as(path, enforce_file_format=True)
    return path


@dataclass(frozen=True, slots=True)
class DicomSample:
    """A series of three JPEG levels; frames of each level row by row."""

    directory: Path
    series_uid: str
    paths: tuple[Path, ...]
    frames: tuple[tuple[bytes, ...], ...]
    levels: tuple[Pixels, ...]


def write_dicom(directory: Path) -> DicomSample:
    """The pictures of `write_svs`, one instance for each level."""
    uid = generate_uid()
    paths: list[Path] = []
    frames: list[tuple[bytes, ...]] = []
    levels: list[Pixels] = []
    directory.mkdir(parents=True, exist_ok=True)
    for index, size in enumerate(SIZES):
        streams = tuple(jpeg(tile) for tile in tiles(picture(*size, seed=index)))
        scale = MPP / 1000 * WIDTH / size[0]
        spacing = _items(PixelSpacing=[scale, scale])
        dataset = dicom_header(
            uid,
            size,
            len(streams),
            PhotometricInterpretation="YBR_FULL_422",
            InstanceNumber=index + 1,
            SharedFunctionalGroupsSequence=_items(PixelMeasuresSequence=spacing),
        )
        set_jpeg_frames(dataset, streams)
        paths.append(save(dataset, directory / f"{index}.dcm"))
        frames.append(streams)
        levels.append(from_tiles([decode_with_pillow(one) for one in streams], *size))
    return DicomSample(directory, uid, tuple(paths), tuple(frames), tuple(levels))


def write_passthrough(path: Path, slide: DicomSample) -> Path:
    """A plain pyramid whose tiles are the frames of the slide."""
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for index, streams in enumerate(slide.frames):
            width, height = SIZES[index]
            writer.write(
                iter(streams),
                shape=(height, width, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                compression="jpeg",
                subsampling=(2, 2),
                subfiletype=int(index > 0),
                metadata=None,
                **CENTIMETRE,
            )
    return path
