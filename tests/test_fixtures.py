"""The fixture factory, checked with other people's code.

What the factory says of the slides it writes has to be what pydicom, wsidicom, OpenSlide, Pillow,
dciodvfy and dcmtk say of them; else no test that rests on it means anything.
"""

import ast
import io
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np
import openslide
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from tests.fixtures.cases import Case
from tests.fixtures.catalogue import BY_ID, CASES
from tests.fixtures.codecs import CODECS, DEFLATED, Codec
from tests.fixtures.dicom_readers import (
    largest_difference,
    openslide_levels,
    pydicom_levels,
    wsidicom_levels,
)
from tests.fixtures.large import small_jpeg, write_beyond_4_gib, write_large
from tests.fixtures.pixels import Pixels, downsample, picture
from tests.fixtures.series import Series, SeriesSpec
from tests.fixtures.strangers import truncated, write_strangers
from tests.fixtures.wsm import TRAILING_SENTINEL, write_series

# The readers warn of what the cases do on purpose.
pytestmark = pytest.mark.filterwarnings("ignore")

_REPOSITORY: Final = Path(__file__).parents[1]

# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_every_place_of_a_picture_is_distinct(channels: int, bits: int) -> None:
    whole = picture(256, 256, channels=channels, bits=bits).astype(np.int64)
    tiles = [
        whole[top : top + 64, left : left + 64]
        for top in range(0, 256, 64)
        for left in range(0, 256, 64)
    ]
    enough = (1 << bits) // 64
    for index, tile in enumerate(tiles):
        for other in tiles[index + 1 :]:
            assert np.abs(tile - other).mean() > enough
        for moved in (tile[::-1], tile[:, ::-1], tile.swapaxes(0, 1)):
            assert np.abs(tile - moved).mean() > enough


def test_pictures_are_deterministic_and_seeds_differ() -> None:
    fresh: Callable[..., Pixels] = picture.__wrapped__
    np.testing.assert_array_equal(fresh(100, 80), picture(100, 80))
    assert (np.abs(fresh(100, 80).astype(int) - fresh(100, 80, seed=1)) > 0).mean() > 0.9


def test_downsampling_takes_box_means() -> None:
    pixels = np.array([[0, 2, 9, 9, 1], [4, 6, 9, 9, 1], [7, 7, 7, 7, 7]], dtype=np.uint8)
    np.testing.assert_array_equal(downsample(pixels, 2), [[3, 9]])


# --- codecs ---------------------------------------------------------------------------------------

_ADOBE_RGB: Final = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


def _tile(codec: Codec) -> Pixels:
    return picture(128, 96, channels=codec.samples, bits=codec.bits_stored)


def _pillow(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _has_foreign_decoder(name: str) -> bool:
    """Whether `_foreign_decode` knows one; pydicom and wsidicom decode most others in the cases."""
    if name in ("jpeg12-grey", "j2k-ycbcr"):
        return False
    return name.startswith(("jpeg-", "j2k", "rle"))


def _foreign_decode(codec: Codec, data: bytes) -> Pixels:
    """The frame's pixels by a decoder that is not the factory's."""
    name = codec.name
    if name == "jpeg-rgb-bare":
        return _pillow(data[:2] + _ADOBE_RGB + data[2:])
    if name.startswith("jpeg-lossless"):
        return np.asarray(imagecodecs.jpegsof3_decode(data))
    if name.startswith("rle"):
        dtype = f"<u{codec.bits_allocated // 8}"
        plain = imagecodecs.dicomrle_decode(data, dtype)
        planes = np.frombuffer(plain, dtype).reshape(codec.samples, 96, 128)
        return planes[0] if codec.samples == 1 else np.moveaxis(planes, 0, -1)
    return _pillow(data)


@pytest.mark.parametrize("name", list(CODECS))
def test_codec_is_deterministic_and_lossless_where_it_says_so(name: str) -> None:
    codec = CODECS[name]
    tile = _tile(codec)
    data = codec.encode(tile)
    decoded = codec.decode(data, 96, 128)
    assert codec.encode(tile) == data
    assert (decoded.shape, decoded.dtype) == (tile.shape, tile.dtype)
    difference = np.abs(decoded.astype(np.int64) - tile)
    assert codec.lossless == (int(difference.max()) == 0)
    assert difference.mean() < 5 << (codec.bits_stored - 8)


@pytest.mark.parametrize("name", [name for name in CODECS if _has_foreign_decoder(name)])
def test_decoding_agrees_with_a_foreign_decoder(name: str) -> None:
    codec = CODECS[name]
    data = codec.encode(_tile(codec))
    seen = _foreign_decode(codec, data)
    difference = np.abs(seen.astype(np.int64) - codec.decode(data, 96, 128))
    # YCbCr components of JPEG 2000 become RGB in each program with a rounding of its own.
    assert difference.max() <= int(name == "j2k-ycbcr-422")


@pytest.mark.skipif(shutil.which("dcmdjpeg") is None, reason="needs dcmtk")
@pytest.mark.parametrize("name", ["jpeg12-grey", "jpeg-lossless-sv1-grey16", "jpeg-422-jfif"])
def test_dcmtk_decodes_jpeg(name: str, tmp_path: Path) -> None:
    spec = SeriesSpec(width=128, height=96, downsamples=(1,), tile=(96, 128), codec=name)
    series = write_series(tmp_path, spec)
    plain = tmp_path / "plain.dcm"
    subprocess.run(["dcmdjpeg", "+cn", series.paths[0], plain], check=True, capture_output=True)
    seen = pixel_array(pydicom.dcmread(plain), raw=True)
    expected = series.levels[0].pixels[0, 0]
    if name == "jpeg-422-jfif":
        expected = np.asarray(
            imagecodecs.jpeg8_decode(
                series.levels[0].frames[0].data, colorspace="YCBCR", outcolorspace="YCBCR"
            )
        )
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize(
    ("markers", "jfif", "adobe"), [("jfif", True, None), ("adobe", False, 1), ("bare", False, None)]
)
@pytest.mark.parametrize("sampling", ["444", "422", "420", "440"])
def test_jpeg_carries_the_markers_its_name_says(
    sampling: str, markers: str, jfif: bool, adobe: int | None
) -> None:
    codec = CODECS[f"jpeg-{sampling}-{markers}"]
    factors = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2)}
    with Image.open(io.BytesIO(codec.encode(_tile(codec)))) as image:
        assert ("jfif" in image.info) == jfif
        assert image.info.get("adobe_transform") == adobe
        layers = image.layer  # type: ignore[attr-defined]
        assert [layer[:3] for layer in layers] == [(1, *factors[sampling]), (2, 1, 1), (3, 1, 1)]


# --- conformance ----------------------------------------------------------------------------------

_FALSE_POSITIVES: Final = re.compile(
    "|".join(
        [
            # Parts of concatenations and TILED_SPARSE with gaps have fewer frames than tiles.
            r"NumberOfFrames does not match expected value for tiled total pixel matrix",
            # Transfer syntaxes and SOP classes younger than the validator.
            r"[Uu]ndefined (value )?length.*(illegal|not permitted)",
        ]
    )
)
_UNKNOWN_TO_VALIDATOR: Final = ("htj2k", "jpegxl", "deflated-frame", "uncompressed")


def _validated(case: Case) -> bool:
    """Whether dciodvfy is there, can read the case's files, and has nothing to find in them."""
    return (
        shutil.which("dciodvfy") is not None
        and case.conforming
        and case.spec.transfer_syntax != DEFLATED
        and case.spec.preamble in ("zero", "tiff")
        and not case.spec.codec.startswith(_UNKNOWN_TO_VALIDATOR)
    )


def _validation_errors(path: Path) -> list[str]:
    run = subprocess.run(
        ["dciodvfy", "-new", path], capture_output=True, check=False, text=True, errors="replace"
    )
    lines = (run.stdout + run.stderr).splitlines()
    # The name of the object it took the file for: proof that it looked.
    assert "VLWholeSlideMicroscopyImage" in lines
    return [x for x in lines if x.startswith("Error") and not _FALSE_POSITIVES.search(x)]


# --- series ---------------------------------------------------------------------------------------


def _pydicom_decodes(codec: Codec) -> bool:
    try:
        return get_decoder(UID(codec.transfer_syntax)).is_available
    except NotImplementedError:
        return not codec.encapsulated


def _check_bytes(series: Series) -> None:
    """Every frame's bytes stand where the series says, and nowhere overlap."""
    contents = [path.read_bytes() for path in series.paths]
    for level in (*series.levels, *series.associated.values()):
        ends: dict[int, int] = {}
        for frame in level.frames:
            content = contents[frame.file]
            stored = b"".join(content[s.start : s.start + s.length] for s in frame.spans)
            assert stored == frame.data
            assert frame.spans[0].start >= ends.get(frame.file, 0)
            ends[frame.file] = frame.spans[-1].start + frame.spans[-1].length


def _check_frames(series: Series) -> None:
    """pydicom finds the frames' bytes, padding apart."""
    for index, file in enumerate(series.files):
        known = [
            frame.data
            for level in (*series.levels, *series.associated.values())
            for frame in level.frames
            if frame.file == index
        ]
        if not known:
            continue
        ds = pydicom.dcmread(file.path)
        seen = generate_frames(ds.PixelData, number_of_frames=len(known))
        for expected, got in zip(known, seen, strict=True):
            assert got[: len(expected)] == expected
            assert not got[len(expected) :].strip(b"\x00")


def _check_against_the_picture(case: Case, series: Series) -> None:
    """Whole planes of level 0 are the picture before encoding, with no reader between."""
    level = series.levels[0]
    for (path, plane), pixels in level.pixels.items():
        whole = picture(
            level.columns,
            level.rows,
            channels=level.codec.samples,
            bits=level.codec.bits_stored,
            seed=100 * path + plane,
        )
        np.testing.assert_array_equal(pixels, whole)


def _check_readers(case: Case, series: Series) -> None:
    """The readers named in the case see the known pixels on every level."""
    codecs = {level.codec for level in series.levels}
    if "pydicom" in case.readers and all(_pydicom_decodes(codec) for codec in codecs):
        seen = pydicom_levels(series.paths)
        assert len(seen) == len(series.levels)
        off_by_one = any(codec.photometric.startswith("YBR_FULL") for codec in codecs)
        for level in series.levels:
            difference = largest_difference(level.pixels, seen[level.rows, level.columns])
            assert difference <= max(case.tolerance, int(off_by_one))
    for name, read in (("wsidicom", wsidicom_levels), ("openslide", openslide_levels)):
        if name in case.readers:
            for level, pixels in zip(series.levels, read(series), strict=True):
                assert largest_difference(level.pixels, pixels) <= case.tolerance


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_others_see_what_the_case_says(case: Case, tmp_path: Path) -> None:
    series = write_series(tmp_path, case.spec)
    if case.spec.transfer_syntax != DEFLATED:
        _check_bytes(series)
    encapsulated = all(level.codec.encapsulated for level in series.levels)
    if encapsulated and not case.damaged and case.spec.fragment_size is None:
        _check_frames(series)
    gapless = not case.spec.gaps and not case.unusable_levels and case.spec.layout == "grid"
    if case.lossless and gapless:
        _check_against_the_picture(case, series)
    _check_readers(case, series)
    if _validated(case):
        # The last of a kind: a small one, and of a concatenation one that starts behind frame 0.
        for path in {file.flavour: file.path for file in series.files}.values():
            assert _validation_errors(path) == []


def test_ids_are_unique_and_name_the_series() -> None:
    assert len(BY_ID) == len(CASES)
    assert all(case.spec.name == case.id for case in CASES)


def test_associated_images_are_exact_in_openslide(tmp_path: Path) -> None:
    series = write_series(tmp_path, BY_ID["jpeg-main"].spec)
    names = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}
    with openslide.OpenSlide(series.paths[0]) as slide:
        for flavour, name in names.items():
            seen = np.asarray(slide.associated_images[name].convert("RGB"))
            np.testing.assert_array_equal(seen, series.associated[flavour].pixels[0, 0])


def test_spacing_is_row_then_column(tmp_path: Path) -> None:
    series = write_series(tmp_path, BY_ID["non-square-spacing"].spec)
    assert series.levels[0].mpp == pytest.approx((0.4, 0.5))
    with openslide.OpenSlide(series.paths[0]) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.4)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.5)
        assert float(slide.properties["openslide.objective-power"]) == series.objective_power


@pytest.mark.parametrize("offsets", ["zeros", "wrapped", "short", "shifted"])
def test_a_damaged_table_differs_from_the_right_one(offsets: str, tmp_path: Path) -> None:
    right = write_series(tmp_path / "right", BY_ID["jpeg-422-jfif"].spec)
    wrong = write_series(tmp_path / "wrong", BY_ID[f"jpeg-offsets-{offsets}"].spec)
    tables = []
    for series in (right, wrong):
        value = pydicom.dcmread(series.paths[0]).PixelData
        length = int.from_bytes(value[4:8], "little")
        tables.append(np.frombuffer(value[8 : 8 + length], dtype="<u4"))
    assert len(tables[1]) == len(tables[0]) - (offsets == "short")
    if offsets != "short":
        assert (tables[0] != tables[1]).any()


def test_trailing_element_follows_pixel_data(tmp_path: Path) -> None:
    series = write_series(tmp_path, BY_ID["jpeg-trailing"].spec)
    for path in series.paths:
        assert TRAILING_SENTINEL in path.read_bytes()
        assert pydicom.dcmread(path)[0xFFFC, 0xFFFC].value.startswith(TRAILING_SENTINEL)


@pytest.mark.parametrize("name", ["jpeg-main", "j2k-rct-sparse-gaps", "rle-grey16-planes"])
def test_writing_is_deterministic(name: str, tmp_path: Path) -> None:
    first = write_series(tmp_path / "first", BY_ID[name].spec)
    second = write_series(tmp_path / "second", BY_ID[name].spec)
    for one, other in zip(first.paths, second.paths, strict=True):
        assert one.read_bytes() == other.read_bytes()


# --- large, strangers -----------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", ["explicit", "undefined"])
@pytest.mark.parametrize("table", ["bot", "empty", "eot"])
def test_large_instances_are_what_they_say(lengths: str, table: str, tmp_path: Path) -> None:
    large = write_large(
        tmp_path / "large.dcm",
        300,
        lengths=lengths,  # type: ignore[arg-type]
        table=table,  # type: ignore[arg-type]
    )
    ds = pydicom.dcmread(large.path)
    assert (ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns) == (large.rows, large.columns)
    seen = [
        (
            item.PlanePositionSlideSequence[0].RowPositionInTotalImagePixelMatrix - 1,
            item.PlanePositionSlideSequence[0].ColumnPositionInTotalImagePixelMatrix - 1,
        )
        for item in ds.PerFrameFunctionalGroupsSequence
    ]
    assert seen == [tuple(place) for place in large.positions.tolist()]
    assert len(set(seen)) == 300
    frames = list(generate_frames(ds.PixelData, number_of_frames=300))
    assert frames == [large.frame] * 300
    content = large.path.read_bytes()
    for offset in large.offsets.tolist():
        assert content[offset : offset + len(large.frame)] == large.frame
    if table == "bot":
        with openslide.OpenSlide(large.path) as slide:
            corner = slide.read_region((0, 0), 0, (64, 64)).convert("RGB")
        np.testing.assert_array_equal(np.asarray(corner), _pillow(small_jpeg()))


def test_frames_lie_beyond_4_gib(tmp_path: Path) -> None:
    large = write_beyond_4_gib(tmp_path / "beyond.dcm")
    # A file with holes: it must not take the room it seems to.
    assert large.path.stat().st_size > 9 << 30
    assert large.path.stat().st_blocks * 512 < 1 << 20
    with large.path.open("rb") as file:
        for offset in large.offsets.tolist():
            file.seek(offset - 8)
            assert file.read(4) == b"\xfe\xff\x00\xe0"
            assert int.from_bytes(file.read(4), "little") == 3 << 29
            assert file.read(len(large.frame)) == large.frame
        file.seek(int(large.offsets[0]) - 8 - 6 * 4)
        table: NDArray[np.uint32] = np.frombuffer(file.read(24), dtype="<u4")
    assert (np.diff(table.astype(np.int64)) < 0).any()


def test_strangers_are_what_they_say(tmp_path: Path) -> None:
    for name, stranger in write_strangers(tmp_path).items():
        if stranger.dicom:
            ds = pydicom.dcmread(stranger.path)
            if "PixelData" in ds:
                assert ds.pixel_array.size > 0
        elif name != "noise.dcm":
            with pytest.raises(InvalidDicomError):
                pydicom.dcmread(stranger.path)


def test_truncated_files_are_prefixes(tmp_path: Path) -> None:
    series = write_series(tmp_path, BY_ID["native-rgb8"].spec)
    cut = truncated(series.paths[0], tmp_path / "cut.dcm", 5000)
    assert cut.read_bytes() == series.paths[0].read_bytes()[:5000]


def test_deflated_data_sets_inflate_to_the_plain_ones(tmp_path: Path) -> None:
    deflated = write_series(tmp_path / "deflated", BY_ID["native-deflated"].spec)
    frame = deflated.levels[0].frames[0]
    content = deflated.paths[frame.file].read_bytes()
    meta = 128 + 4 + 12 + int.from_bytes(content[140:144], "little")
    inflated = content[:meta] + zlib.decompressobj(-15).decompress(content[meta:])
    (span,) = frame.spans
    assert inflated[span.start : span.start + span.length] == frame.data


def test_the_factory_does_not_know_the_code_under_test() -> None:
    modules = sorted((_REPOSITORY / "tests" / "fixtures").glob("*.py"))
    assert len(modules) > 10
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert all(name.split(".")[0] != "dicomfs" for name in names), module
