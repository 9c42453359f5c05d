"""Tiles made of the frames that lie under them, against pixels put together by the fixtures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.dicom.instance import Instance
from dicomfs.errors import DamagedFrameError
from dicomfs.limits import DEFAULT_LIMITS, Limits
from dicomfs.reading.painter import PicturePainter, shrink
from dicomfs.slide.build import build_slide
from dicomfs.tiff.flavours import plan_flavour
from dicomfs.tiff.plan import Run, TiffPlan
from dicomfs.tiff.storage import Flavour
from tests.archive.whole_file import scaled_down
from tests.conftest import WrittenSeries
from tests.fixtures.cases import Case
from tests.fixtures.catalogue import BY_ID
from tests.fixtures.pixels import Pixels, picture
from tests.fixtures.series import BLANK, Series, SeriesSpec
from tests.fixtures.wsm import write_series
from tests.slide.instances import changed, instances_of
from tests.tiff.plans import frame_tables


@dataclasses.dataclass(frozen=True, slots=True)
class Studio:
    """A slide all of whose tiles are made."""

    plan: TiffPlan
    painter: PicturePainter
    contents: Sequence[bytes]

    def run(self, level: int, plane: int = 0) -> Run:
        wanted = self.plan.slide.levels[level]
        (run,) = [
            run
            for run in self.plan.runs.values()
            if run.picture.level is wanted
            and run.picture.plane == plane
            and not run.picture.stripped
        ]
        return run

    def chunks(self, run: Run, tile: int) -> list[bytes]:
        found = []
        for file, offset, size in self.painter.inputs(run.tiles, tile):
            found.append(self.contents[self.plan.members[file]][offset : offset + size])
            assert len(found[-1]) == size
        return found

    def paint(self, run: Run, tile: int) -> Pixels:
        picture = run.picture
        data = self.painter.paint(run.tiles, tile, self.chunks(run, tile))
        assert len(data) == run.tiles.tile_size == picture.tile_bytes
        dtype = np.dtype(f"<u{picture.storage.bits // 8}")
        shape = (picture.tile_height, picture.tile_width, picture.storage.samples)
        return np.frombuffer(data, dtype).reshape(shape[: 2 + (shape[2] > 1)])


def studio(
    series: Series,
    *,
    flavour: Flavour = Flavour.OME,
    blank_damaged: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    instances: Sequence[Instance] | None = None,
) -> Studio:
    contents = [path.read_bytes() for path in series.paths]
    instances = instances_of(series) if instances is None else instances
    plan = plan_flavour(build_slide(instances), flavour, decode=True, blank_damaged=blank_damaged)
    painter = PicturePainter(
        plan.slide,
        plan.pictures,
        plan.members,
        frame_tables(plan, contents, instances),
        limits,
        blank_damaged=blank_damaged,
    )
    return Studio(plan, painter, contents)


def mosaic(studio: Studio, level: int, plane: int) -> Pixels:
    """The tiles of a plane side by side, cut to the level."""
    run = studio.run(level, plane)
    across = run.picture.across
    tiles = [studio.paint(run, tile) for tile in range(run.tiles.count)]
    rows = [np.concatenate(tiles[n : n + across], axis=1) for n in range(0, len(tiles), across)]
    return np.concatenate(rows)[: run.picture.height, : run.picture.width]


@pytest.mark.parametrize(
    "case_id",
    [
        "staggered",
        "staggered-jpeg",
        "overlapping",
        "cropped-edges-jpeg",
        "native-tile-240",
        "tile-100",
        "tile-larger-than-matrix",
        "repeated-tile",
        "jpegls-sparse-gaps",
        "jpeg-fragments-bot",
        "j2k-rct-concatenation-sparse",
        "native-planes-and-paths-sparse",
        "native-planar-rgb8",
        "native-odd-length-unpadded",
        "rle-grey16-planes",
    ],
)
def test_planes_of_made_tiles_are_the_known_pixels(case_id: str, written: WrittenSeries) -> None:
    case: Case = BY_ID[case_id]
    series = written(case_id)
    made = studio(series)
    for level in series.levels:
        for number, key in enumerate(sorted(level.pixels)):
            seen = mosaic(made, level.index, number)
            difference = np.abs(seen.astype(np.int64) - level.pixels[key])
            assert difference.max() <= case.tolerance


def test_what_lies_beyond_the_edge_of_a_slide_is_part_of_the_tile(written: WrittenSeries) -> None:
    """Where the grids are equal, a tile is its frame with the padding that the writer gave it."""
    series = written("jpegls-rgb8")
    made = studio(series)
    run = made.run(0)
    frame = series.levels[0].frame(1, 2)
    expected = series.levels[0].codec.decode(frame.data, 128, 128)
    np.testing.assert_array_equal(made.paint(run, 5), expected)


def test_only_the_frames_under_a_tile_are_read(written: WrittenSeries) -> None:
    series = written("native-tile-240")  # 330 x 250 in frames of 240, in tiles of 256
    made = studio(series)
    run = made.run(0)
    spans = {(frame.row, frame.column): frame.spans[0].start for frame in series.levels[0].frames}
    under = [
        {offset for _, offset, _ in made.painter.inputs(run.tiles, tile)}
        for tile in range(run.tiles.count)
    ]
    assert under == [
        {spans[0, 0], spans[0, 1], spans[1, 0], spans[1, 1]},
        {spans[0, 1], spans[1, 1]},
    ]


def test_a_tile_without_frames_is_blank(written: WrittenSeries) -> None:
    series = written("jpegls-sparse-gaps")
    made = studio(series)
    run = made.run(0)
    assert list(made.painter.inputs(run.tiles, 0)) == []
    assert (made.paint(run, 0) == BLANK[3]).all()


def test_the_colour_of_absent_pixels_is_that_of_the_data_set(written: WrittenSeries) -> None:
    series = written("jpegls-sparse-gaps")
    instances = [
        changed(i, absent_pixel_cielab=(65535, 32896, 32896)) for i in instances_of(series)
    ]
    white = studio(series, instances=instances)
    assert np.unique(white.paint(white.run(0), 0)).tolist() == [255]
    grey = [changed(i, absent_pixel_cielab=(35117, 32896, 32896)) for i in instances]
    made = studio(series, instances=grey)
    tile = made.paint(made.run(0), 0).astype(int)
    assert np.abs(tile - 128).max() <= 2


# --- damage ---------------------------------------------------------------------------------------


@pytest.fixture
def cut(tmp_path: Path) -> Series:
    """A slide of 3 x 2 frames whose last two are cut off, and whose second holds nonsense."""
    spec = SeriesSpec(width=300, height=200, downsamples=(1,), codec="jpegls-rgb8")
    series = write_series(tmp_path, spec)
    frames = series.levels[0].frames
    data = bytearray(series.paths[0].read_bytes())
    nonsense = frames[1].spans[0]
    data[nonsense.start : nonsense.start + 40] = bytes(40)
    series.paths[0].write_bytes(bytes(data[: frames[4].spans[0].start + 10]))
    return series


def test_damage_is_an_error_for_its_tile_alone(cut: Series) -> None:
    made = studio(cut)
    run = made.run(0)
    for tile in (0, 2, 3):
        frame = cut.levels[0].frames[tile]
        expected = cut.levels[0].codec.decode(frame.data, 128, 128)
        np.testing.assert_array_equal(made.paint(run, tile), expected)
    for tile in (4, 5):
        with pytest.raises(DamagedFrameError, match=f"frame {tile + 1} is missing"):
            made.painter.inputs(run.tiles, tile)
    with pytest.raises(DamagedFrameError, match="markers"):
        made.paint(run, 1)


def test_damage_can_be_shown_blank(cut: Series) -> None:
    made = studio(cut, blank_damaged=True)
    run = made.run(0)
    blank = [bool((made.paint(run, tile) == 255).all()) for tile in range(6)]
    assert blank == [False, True, False, False, True, True]


def test_a_tile_that_is_too_large_is_an_error_and_no_blank(written: WrittenSeries) -> None:
    made = studio(written("jpegls-rgb8"), limits=Limits(tile_pixels=128 * 128))
    assert made.paint(made.run(0), 0).shape == (128, 128, 3)
    small = studio(written("jpegls-rgb8"), limits=Limits(tile_pixels=128 * 127))
    with pytest.raises(DamagedFrameError, match="too large"):
        small.painter.inputs(small.run(0).tiles, 0)


# --- thumbnails -----------------------------------------------------------------------------------


def thumbnail_of(made: Studio) -> Run:
    (run,) = [run for run in made.plan.runs.values() if run.picture.rendered]
    return run


def test_a_thumbnail_is_the_smallest_level_scaled_down(written: WrittenSeries) -> None:
    series = written("native-rgb8")
    made = studio(series, flavour=Flavour.SVS)
    run = thumbnail_of(made)
    width, height = run.picture.width, run.picture.height
    expected = scaled_down(series.levels[-1].pixels[0, 0], width, height)
    np.testing.assert_array_equal(made.paint(run, 0), expected)
    assert made.painter.nbytes > 0


def test_no_thumbnail_is_made_of_a_level_that_is_too_large(written: WrittenSeries) -> None:
    """It would take all the frames of a slide that has one level."""
    series = written("jpegls-rgb8")
    made = studio(series, flavour=Flavour.SVS, limits=Limits(tile_pixels=165 * 125 - 1))
    run = thumbnail_of(made)
    assert list(made.painter.inputs(run.tiles, 0)) == []
    tile = made.paint(run, 0)
    assert (tile == 255).all()


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.data(),
    st.sampled_from([1, 3]),
    st.sampled_from([8, 16]),
)
def test_scaling_down_takes_means(
    width: int, height: int, data: st.DataObject, channels: int, bits: int
) -> None:
    pixels = picture(width, height, channels=channels, bits=bits)
    size = data.draw(st.tuples(st.integers(1, width), st.integers(1, height)))
    seen = shrink(pixels, *size)
    expected = scaled_down(pixels, *size)
    assert (seen.shape, seen.dtype) == (expected.shape, expected.dtype)
    # Means of means: half a grey level may fall to either side.
    assert np.abs(seen.astype(int) - expected).max() <= 1


def test_the_same_size_is_the_same_picture() -> None:
    pixels = picture(30, 20)
    assert shrink(pixels, 30, 20) is pixels
