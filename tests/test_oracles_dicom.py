"""The judges of DICOM, tried on instances of known content and against each other."""

from collections.abc import Callable
from pathlib import Path

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
    frame_bytes,
    open_with_openslide,
)
from tests.oracles.frame_decoders import (
    decode_with_pillow,
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


@pytest.mark.parametrize(
    "pixels",
    [picture(48, 32), picture(48, 32, samples=1).astype(np.uint16) * 257],
    ids=["colour", "grey 16"],
)
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


def lengths_with_headers(dataset: Dataset, frames: list[bytes]) -> None:
    """An Extended Offset Table whose lengths count the item headers, as one writer has them."""
    set_jpeg_frames(dataset, frames)
    body = dataset.PixelData[8 + 4 * len(frames) :]
    dataset["PixelData"].value = b"\xfe\xff\x00\xe0\0\0\0\0" + body
    lengths = np.array([len(frame) + len(frame) % 2 + 8 for frame in frames], "<u8")
    dataset.ExtendedOffsetTable = (np.cumsum(lengths) - lengths).astype("<u8").tobytes()
    dataset.ExtendedOffsetTableLengths = lengths.tobytes()


@pytest.mark.parametrize(
    "encapsulate",
    [
        set_jpeg_frames,
        many_fragments,
        empty_table_many_fragments,
        no_offset_table,
        lying_offset_table,
        lengths_with_headers,
    ],
)
def test_frames_however_encapsulated(encapsulate: Encapsulate, tmp_path: Path) -> None:
    frames = [jpeg(tile) for tile in tiles(plane(4))]
    dataset = dicom_header(generate_uid(), SIZE, len(frames))
    encapsulate(dataset, frames)
    found = frame_bytes(dataset)
    assert [len(one) for one in found] == [len(frame) + len(frame) % 2 for frame in frames]
    assert all(one.startswith(frame) for one, frame in zip(found, frames, strict=True))
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
