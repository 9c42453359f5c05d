"""The judges of DICOM, tried on instances of known content and against each other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless, generate_uid

from tests.oracles.comparison import choices
from tests.oracles.dicom_series import find_series
from tests.oracles.dicom_slides import (
    AssemblyFailed,
    assemble_associated,
    assemble_level,
    open_with_openslide,
)
from tests.oracles.frame_decoders import (
    FrameHeader,
    UndecodableFrame,
    decode_frame,
    decode_with_pillow,
    jpeg_header,
    jpeg_is_ycbcr,
    ycbcr_to_rgb,
)
from tests.oracles.opened import Pixels, ReaderFailed, difference
from tests.oracles.samples import (
    MPP,
    OBJECTIVE,
    SIZES,
    TILE,
    DicomSample,
    dicom_header,
    from_tiles,
    jpeg,
    listed,
    optical_paths,
    picture,
    save,
    set_jpeg_frames,
    tiles,
    write_dicom,
)

_UID = "1.2.840.10008.1.2"
SIZE = SIZES[0]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> DicomSample:
    return write_dicom(tmp_path_factory.mktemp("slide"))


# ------------------------------------------------------------------ frames

COLOUR = picture(48, 32)
GREY = picture(48, 32, samples=1)
WIDE = GREY.astype(np.uint16) * 257

LOSSLESS: dict[str, tuple[str, bytes | bytearray, Pixels, FrameHeader]] = {
    "implicit": (_UID, COLOUR.tobytes(), COLOUR, FrameHeader(32, 48)),
    "grey 16": (
        f"{_UID}.1",
        WIDE.tobytes(),
        WIDE,
        FrameHeader(32, 48, 1, 16, "MONOCHROME2"),
    ),
    "big endian 16": (
        f"{_UID}.2",
        WIDE.astype(">u2").tobytes(),
        WIDE,
        FrameHeader(32, 48, 1, 16, "MONOCHROME2"),
    ),
    "big endian words of bytes": (
        f"{_UID}.2",
        np.frombuffer(COLOUR.tobytes(), "<u2").byteswap().tobytes(),
        COLOUR,
        FrameHeader(32, 48, big_endian_words=True),
    ),
    "planes": (
        f"{_UID}.1",
        np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0)).tobytes(),
        COLOUR,
        FrameHeader(32, 48, planar=True),
    ),
    "JPEG-LS": (f"{_UID}.4.80", imagecodecs.jpegls_encode(COLOUR), COLOUR, FrameHeader(32, 48)),
    "JPEG 2000": (
        f"{_UID}.4.90",
        imagecodecs.jpeg2k_encode(COLOUR, reversible=True, codecformat="j2k", mct=True),
        COLOUR,
        FrameHeader(32, 48, photometric="YBR_RCT"),
    ),
    "JPEG 2000 grey 16": (
        f"{_UID}.4.90",
        imagecodecs.jpeg2k_encode(WIDE, reversible=True, codecformat="j2k"),
        WIDE,
        FrameHeader(32, 48, 1, 16, "MONOCHROME2"),
    ),
    "HTJ2K": (
        f"{_UID}.4.201",
        imagecodecs.htj2k_encode(COLOUR, reversible=True),
        COLOUR,
        FrameHeader(32, 48, photometric="YBR_RCT"),
    ),
    "JPEG lossless": (
        f"{_UID}.4.70",
        imagecodecs.jpeg8_encode(COLOUR, lossless=True),
        COLOUR,
        FrameHeader(32, 48),
    ),
    "JPEG XL": (
        f"{_UID}.4.110",
        imagecodecs.jpegxl_encode(COLOUR, lossless=True),
        COLOUR,
        FrameHeader(32, 48),
    ),
    "deflated frame": (
        f"{_UID}.8.1",
        imagecodecs.deflate_encode(COLOUR.tobytes(), raw=True) + b"\0",
        COLOUR,
        FrameHeader(32, 48),
    ),
}


@pytest.mark.parametrize("name", list(LOSSLESS))
def test_a_lossless_frame_comes_back(name: str) -> None:
    syntax, data, truth, header = LOSSLESS[name]
    found = decode_frame(bytes(data), syntax, header)
    assert difference(found, truth).exact
    assert found.dtype == truth.dtype


@pytest.mark.parametrize("pixels", [COLOUR, WIDE], ids=["colour", "grey 16"])
def test_rle_as_pydicom_writes_it(pixels: Pixels, tmp_path: Path) -> None:
    grey = pixels.ndim == 2
    size, bits = (pixels.shape[1], pixels.shape[0]), 8 * pixels.dtype.itemsize
    dataset = dicom_header(
        generate_uid(),
        size,
        1,
        Rows=pixels.shape[0],
        Columns=pixels.shape[1],
        SamplesPerPixel=1 if grey else 3,
        PhotometricInterpretation="MONOCHROME2" if grey else "RGB",
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
    )
    dataset.compress(RLELossless, pixels, generate_instance_uid=False)
    path = save(dataset, tmp_path / "rle.dcm")
    assert difference(assemble_level([path]).matrices["0", 0], pixels).exact


def test_jpeg_agrees_with_pillow() -> None:
    for pixels in (COLOUR, GREY):
        stream = jpeg(pixels)
        header = FrameHeader(32, 48, 3 if pixels.ndim == 3 else 1)
        found = decode_frame(stream, f"{_UID}.4.50", header)
        assert difference(found, decode_with_pillow(stream)).exact


def without_markers(stream: bytes) -> bytes:
    """Without JFIF and Adobe segments, components numbered 1, 2, 3."""
    at, kept = 2, bytearray(stream[:2])
    while stream[at + 1] != 0xDA:
        length = 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at + 1] not in (0xE0, 0xEE):
            kept += stream[at : at + length]
        at += length
    return bytes(kept) + stream[at:]


def test_the_colour_of_a_jpeg_is_that_of_its_stream() -> None:
    def is_ycbcr(stream: bytes, photometric: str) -> bool:
        return jpeg_is_ycbcr(jpeg_header(stream), photometric)

    full = bytes(imagecodecs.jpeg8_encode(COLOUR, level=95, subsampling="444"))
    options: dict[str, Any] = {"level": 95, "colorspace": "RGB", "outcolorspace": "RGB"}
    rgb = bytes(imagecodecs.jpeg8_encode(COLOUR, **options))
    for claim in ("RGB", "YBR_FULL_422"):
        assert is_ycbcr(full, claim)  # JFIF
        assert not is_ycbcr(rgb, claim)  # Adobe, transform 0
        assert is_ycbcr(without_markers(jpeg(COLOUR)), claim)  # subsampled
    bare = without_markers(full)
    assert (is_ycbcr(bare, "RGB"), is_ycbcr(bare, "YBR_FULL_422")) == (False, True)
    assert jpeg_header(bare).adobe_transform is None
    assert not jpeg_header(bare).jfif
    wrong = decode_frame(rgb, f"{_UID}.4.50", FrameHeader(32, 48, photometric="YBR_FULL_422"))
    assert difference(wrong, COLOUR).mean < 3
    assert np.array_equal(wrong, decode_frame(rgb, f"{_UID}.4.50", FrameHeader(32, 48)))


def test_components_stored_as_ycbcr_become_rgb() -> None:
    components = np.zeros((2, 2, 3), np.uint8)
    components[..., 0] = 76
    components[..., 1], components[..., 2] = 85, 255
    assert ycbcr_to_rgb(components)[0, 0].tolist() == [254, 0, 0]
    options: dict[str, Any] = {"reversible": True, "codecformat": "j2k", "mct": False}
    stream = bytes(imagecodecs.jpeg2k_encode(components, **options))
    header = FrameHeader(2, 2, photometric="YBR_FULL_422")
    assert decode_frame(stream, f"{_UID}.4.90", header)[0, 0].tolist() == [254, 0, 0]
    as_rgb = decode_frame(stream, f"{_UID}.4.90", FrameHeader(2, 2, photometric="RGB"))
    assert np.array_equal(as_rgb, components)


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        (f"{_UID}.4.50", b"no JPEG"),
        (f"{_UID}.4.90", b"\xff\x4f\xff\x51"),
        (f"{_UID}.1", b"short"),
        (f"{_UID}.4.102", b""),
    ],
)
def test_what_cannot_be_decoded_is_one_error(syntax: str, data: bytes) -> None:
    with pytest.raises(UndecodableFrame):
        decode_frame(data, syntax, FrameHeader(32, 48))


# ------------------------------------------------------------------ levels


def plane(seed: int) -> Pixels:
    return picture(*SIZE, seed=seed)


def native(pixels: Pixels) -> list[bytes]:
    return [tile.tobytes() for tile in tiles(pixels)]


def test_tiled_full_nests_columns_rows_planes_paths(tmp_path: Path) -> None:
    truth = {(path, z): plane(10 * index + z) for index, path in enumerate("BA") for z in range(3)}
    frames = [frame for pixels in truth.values() for frame in native(pixels)]
    dataset = dicom_header(
        generate_uid(),
        SIZE,
        len(frames),
        TotalPixelMatrixFocalPlanes=3,
        NumberOfOpticalPaths=2,
        OpticalPathSequence=optical_paths("B", "A"),
        PixelData=b"".join(frames),
    )
    level = assemble_level([save(dataset, tmp_path / "stack.dcm")])
    assert (level.size, level.channels, level.focal_planes) == (SIZE, ("B", "A"), 3)
    assert set(level.matrices) == set(truth)
    for key, pixels in truth.items():
        assert np.array_equal(level.matrices[key], pixels)
        assert level.covered[key].all()


def test_a_concatenation_is_one_level(tmp_path: Path) -> None:
    frames, uid, concatenation = native(plane(0)), generate_uid(), generate_uid()
    paths: list[Path] = []
    for number, (first, last) in enumerate([(0, 5), (5, 12)], start=1):
        part = dicom_header(
            uid,
            SIZE,
            last - first,
            ConcatenationUID=concatenation,
            ConcatenationFrameOffsetNumber=first,
            InConcatenationNumber=number,
            PixelData=b"".join(frames[first:last]),
        )
        paths.append(save(part, tmp_path / f"{number}.dcm"))
    whole = assemble_level(paths[::-1])
    assert np.array_equal(whole.matrices["0", 0], plane(0))
    half = assemble_level(paths[:1])
    assert not half.covered["0", 0].all()
    assert np.array_equal(half.matrices["0", 0][:64], plane(0)[:64])


def test_listed_positions_paths_and_heights(tmp_path: Path) -> None:
    """Any order, a tile left out, one tile off the grid."""
    truth = {("x", 0): plane(1), ("x", 1): plane(2), ("y", 0): plane(3)}
    heights = {("x", 0): -1.5, ("x", 1): 4.0, ("y", 0): 9.0}
    places: list[tuple[int, int, str, float]] = []
    frames: list[bytes] = []
    for key, pixels in truth.items():
        for index, frame in enumerate(native(pixels)):
            left, top = index % 4 * TILE, index // 4 * TILE
            if key == ("y", 0) and index == 6:
                continue
            if key == ("y", 0) and index == 0:
                left, top = 3, 5
                frame = plane(3)[5 : 5 + TILE, 3 : 3 + TILE].tobytes()
            places.append((left, top, key[0], heights[key]))
            frames.append(frame)
    order = np.random.default_rng(1).permutation(len(frames))
    dataset = dicom_header(
        generate_uid(),
        SIZE,
        len(frames),
        DimensionOrganizationType="TILED_SPARSE",
        OpticalPathSequence=optical_paths("x", "y"),
        PerFrameFunctionalGroupsSequence=listed([places[index] for index in order]),
        PixelData=b"".join(frames[index] for index in order),
    )
    level = assemble_level([save(dataset, tmp_path / "sparse.dcm")])
    assert set(level.matrices) == set(truth)
    for key, pixels in truth.items():
        covered = level.covered[key]
        assert np.array_equal(level.matrices[key][covered], pixels[covered])
        assert covered.all() == (key != ("y", 0))
    hole = level.covered["y", 0][TILE : 2 * TILE, 2 * TILE : 3 * TILE]
    assert not hole.any()


Encapsulate = Callable[[Dataset, list[bytes]], None]


def no_offset_table(dataset: Dataset, frames: list[bytes]) -> None:
    set_jpeg_frames(dataset, frames)
    dataset["PixelData"].value = dataset.PixelData[8 + 4 * len(frames) :]


def lying_offset_table(dataset: Dataset, frames: list[bytes]) -> None:
    set_jpeg_frames(dataset, frames)
    dataset["PixelData"].value = dataset.PixelData[:12] + bytes(4) + dataset.PixelData[16:]


def empty_table_many_fragments(dataset: Dataset, frames: list[bytes]) -> None:
    set_jpeg_frames(dataset, frames, fragments=3)
    body = dataset.PixelData[8 + 4 * len(frames) :]
    dataset["PixelData"].value = b"\xfe\xff\x00\xe0\0\0\0\0" + body


def many_fragments(dataset: Dataset, frames: list[bytes]) -> None:
    set_jpeg_frames(dataset, frames, fragments=2)


@pytest.mark.parametrize(
    "encapsulate",
    [
        set_jpeg_frames,
        many_fragments,
        empty_table_many_fragments,
        no_offset_table,
        lying_offset_table,
    ],
)
def test_frames_however_encapsulated(encapsulate: Encapsulate, tmp_path: Path) -> None:
    frames = [jpeg(tile) for tile in tiles(plane(4))]
    dataset = dicom_header(generate_uid(), SIZE, len(frames))
    encapsulate(dataset, frames)
    level = assemble_level([save(dataset, tmp_path / "level.dcm")])
    truth = from_tiles([decode_with_pillow(frame) for frame in frames], *SIZE)
    assert np.array_equal(level.matrices["0", 0], truth)


@pytest.mark.parametrize("count", [11, 13])
def test_too_few_or_too_many_frames_are_no_level(count: int, tmp_path: Path) -> None:
    frames = (native(plane(0)) * 2)[:count]
    dataset = dicom_header(generate_uid(), SIZE, count, PixelData=b"".join(frames))
    with pytest.raises(AssemblyFailed):
        assemble_level([save(dataset, tmp_path / "level.dcm")])


def test_a_label(tmp_path: Path) -> None:
    truth = picture(50, 38, seed=5)
    dataset = dicom_header(
        generate_uid(),
        (50, 38),
        1,
        ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"],
        Rows=38,
        Columns=50,
        PixelData=truth.tobytes(),
    )
    path = save(dataset, tmp_path / "label.dcm")
    (series,) = find_series(tmp_path).values()
    assert (series.levels, set(series.associated)) == ((), {"label"})
    assert np.array_equal(assemble_associated(path), truth)


def test_a_series_and_openslide_on_it(slide: DicomSample) -> None:
    (slide.directory / "notes.txt").write_text("a stranger")
    found = find_series(slide.directory)
    assert list(found) == [slide.series_uid]
    series = found[slide.series_uid]
    assert [level.size for level in series.levels] == list(SIZES)
    assert series.levels[0].candidates[0][0].objective == OBJECTIVE
    try:
        opened = open_with_openslide(slide.paths)
    except (ImportError, OSError) as error:
        pytest.skip(str(error))
    assert (opened.levels, opened.objective) == (SIZES, OBJECTIVE)
    assert opened.mpp == pytest.approx((MPP, MPP))
    for index, level in enumerate(series.levels):
        judged = assemble_level(level.paths).matrices["0", 0]
        assert np.array_equal(judged, slide.levels[index])
        assert difference(opened.read(index), judged).exact


def test_openslide_is_kept_from_an_offset_table_of_zeros(tmp_path: Path) -> None:
    frames = [jpeg(tile) for tile in tiles(plane(4))]
    dataset = dicom_header(generate_uid(), SIZE, len(frames))
    set_jpeg_frames(dataset, frames)
    end = 8 + 4 * len(frames)
    dataset["PixelData"].value = dataset.PixelData[:8] + bytes(end - 8) + dataset.PixelData[end:]
    with pytest.raises(ReaderFailed, match="zeros"):
        open_with_openslide([save(dataset, tmp_path / "level.dcm")])


def test_copies_of_an_instance_are_choices(slide: DicomSample, tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        (tmp_path / name).write_bytes(slide.paths[0].read_bytes())
    (series,) = find_series(tmp_path).values()
    assert choices(series.levels[0]) == [(tmp_path / "a.dcm",), (tmp_path / "b.dcm",)]
