"""Where frames lie: by the order of TILED_FULL, by position, by being alone."""

from __future__ import annotations

import dataclasses
import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.dicom.header import OpticalPath, PixelMeasures
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.per_frame import FrameItems
from dicomfs.errors import RejectedError
from dicomfs.slide.encoding import decide_encoding
from dicomfs.slide.model import Level, Note, Placement, as_array
from dicomfs.slide.placement import PlacedFrames, matrix_of, place_frames
from tests.slide.instances import changed, codes, small

Places = dict[tuple[str, float], dict[int, int]]
"""Optical path and z in µm, to the frame at each cell."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """A TILED_FULL instance of 300 x 200 pixels, 3 x 2 tiles of 128."""
    (instance,) = small(tmp_path_factory.mktemp("image"), downsamples=(1,))
    return instance


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Instance:
    """A part of a concatenation."""
    (instance,) = small(tmp_path_factory.mktemp("part"), parts=1, downsamples=(1,))
    return instance


def path(identifier: str) -> OpticalPath:
    return OpticalPath(identifier, "", None, "", None, None, None)


def measures(image: Instance, between_planes: float | None) -> PixelMeasures:
    return dataclasses.replace(image.header.measures, between_planes=between_planes)


def items(
    positions: list[tuple[int, int]],
    z: list[float] | None = None,
    paths: list[int] | None = None,
    names: tuple[str, ...] = (),
) -> FrameItems:
    """Per-frame items with these columns and rows, 1-based."""
    count = len(positions)
    return FrameItems(
        np.array([column for column, _ in positions], np.int32),
        np.array([row for _, row in positions], np.int32),
        np.array(z if z is not None else [np.nan] * count, np.float64),
        np.array(paths if paths is not None else [-1] * count, np.int16),
        names,
        b"",
        0,
    )


def sparse(image: Instance, found: FrameItems, **fields: object) -> Instance:
    return changed(
        image,
        dimension_organization="TILED_SPARSE",
        items=found,
        number_of_frames=len(found),
        **fields,
    )


def places(placed: list[PlacedFrames]) -> Places:
    """A later frame at a cell covers an earlier one."""
    found: Places = {}
    for part in placed:
        assert part.corners is None
        cells = found.setdefault((part.path, part.z_um), {})
        frames, at = as_array(part.frames), as_array(part.cells)
        cells.update(zip(at.tolist(), frames.tolist(), strict=True))
    return found


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("paths", [("b", "a", "c"), ("1",)])
def test_tiled_full_counts_columns_rows_planes_paths(
    image: Instance, planes: int, paths: tuple[str, ...]
) -> None:
    """PS3.3 C.7.6.17.3; z from glass to coverslip, paths as the sequence lists them."""
    instance = changed(
        image,
        focal_planes=planes,
        optical_paths=tuple(path(name) for name in paths),
        number_of_frames=6 * planes * len(paths),
        measures=measures(image, 0.0015),
        origin_z_um=10.0,
    )
    expected: Places = {}
    number = 0
    for name, plane in itertools.product(paths, range(planes)):
        for cell in range(6):
            expected.setdefault((name, 10 + 1.5 * plane), {})[cell] = number
            number += 1
    assert places(place_frames(instance, [])) == expected


@given(data=st.data())
def test_parts_of_a_concatenation_go_on_where_the_last_ended(
    image: Instance, part: Instance, data: st.DataObject
) -> None:
    """Cuts may lie anywhere, also inside a plane."""
    cuts = sorted(data.draw(st.sets(st.integers(1, 35), max_size=4)))
    whole = changed(
        image,
        focal_planes=3,
        optical_paths=(path("x"), path("y")),
        number_of_frames=36,
        measures=measures(image, 0.001),
    )
    found: dict[tuple[str, float], dict[int, int]] = {}
    for start, end in itertools.pairwise([0, *cuts, 36]):
        one = changed(whole, number_of_frames=end - start, concatenation=part.header.concatenation)
        for key, cells in places(place_frames(one, [], start)).items():
            moved = {cell: frame + start for cell, frame in cells.items()}
            found.setdefault(key, {}).update(moved)
    assert found == places(place_frames(whole, []))


def test_planes_without_a_distance_are_counted(image: Instance) -> None:
    instance = changed(image, focal_planes=2, number_of_frames=12, measures=measures(image, None))
    assert [z for _, z in places(place_frames(instance, []))] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("frames", "listed", "planes", "expected"),
    [
        (6, 3, 1, 1),  # the paths of the series, but only one is here
        (6, 1, 3, 1),  # planes that lie in other instances
        (6, 3, 3, 1),
        (18, 3, 3, 3),  # declares planes, has paths
    ],
)
def test_an_instance_may_declare_what_lies_in_others(
    image: Instance, frames: int, listed: int, planes: int, expected: int
) -> None:
    instance = changed(
        image,
        number_of_frames=frames,
        focal_planes=planes,
        optical_paths=tuple(path(str(n)) for n in range(listed)),
        shared=dataclasses.replace(image.header.shared, path_identifier="0"),
    )
    found = places(place_frames(instance, []))
    assert len(found) == expected
    assert [sorted(cells) for cells in found.values()] == [list(range(6))] * expected


@pytest.mark.parametrize("frames", [1, 5, 7, 13])
def test_a_number_of_frames_that_fits_nothing_is_rejected(image: Instance, frames: int) -> None:
    with pytest.raises(RejectedError, match=f"{frames} frames") as raised:
        place_frames(changed(image, number_of_frames=frames), [])
    assert raised.value.code == "frame-count"


def test_frames_lost_at_the_end_do_not_count(image: Instance) -> None:
    """A wrong Number of Frames (0028,0008): the frames that are there decide."""
    instance = changed(image, number_of_frames=9, missing_frames=(6, 7, 8))
    assert places(place_frames(instance, [])) == {("1", 0.0): {n: n for n in range(6)}}
    with pytest.raises(RejectedError):
        place_frames(changed(image, number_of_frames=9, missing_frames=(0, 7, 8)), [])


def test_positions_on_the_grid(image: Instance) -> None:
    found = items([(257, 129), (1, 1), (129, 1), (1, 129)])
    notes: list[Note] = []
    placed = places(place_frames(sparse(image, found), notes))
    assert placed == {("1", 0.0): {5: 0, 0: 1, 1: 2, 3: 3}}
    assert notes == []


def test_a_later_frame_at_the_same_cell_counts(image: Instance) -> None:
    """With one z the same place twice is a repetition, and comes in order."""
    (plane,) = place_frames(sparse(image, items([(1, 1), (129, 1), (1, 1)], [0.0] * 3)), [])
    assert as_array(plane.frames).tolist() == [0, 1, 2]
    assert as_array(plane.cells).tolist() == [0, 1, 0]


def test_positions_off_the_grid(image: Instance) -> None:
    found = items([(1, 1), (20, 129), (148, 129)])
    (placed,) = place_frames(sparse(image, found), [])
    assert placed.corners is not None
    assert placed.corners.tolist() == [[0, 0], [19, 128], [147, 128]]
    assert as_array(placed.frames).tolist() == [0, 1, 2]
    assert len(placed.cells) == 0


def test_frames_outside_the_slide_are_left_out(image: Instance) -> None:
    found = items([(1, 1), (300, 1), (301, 1), (1, 201), (-127, 1), (-200, 1), (2**31 - 1, 1)])
    notes: list[Note] = []
    placed = place_frames(sparse(image, found), notes)
    assert [as_array(part.frames).tolist() for part in placed] == [[0, 1]]
    assert codes(notes) == ["position"]
    assert "5 frames" in notes[0].message


def test_no_frame_inside_is_rejected(image: Instance) -> None:
    with pytest.raises(RejectedError, match="outside"):
        place_frames(sparse(image, items([(5000, 1), (1, 5000)])), [])


def test_positions_by_path_and_plane(image: Instance) -> None:
    found = items(
        [(1, 1), (1, 1), (1, 1), (129, 1), (129, 1), (129, 1)],
        z=[0.0, 2.0, 0.0, 2.0, 0.0, 0.0],
        paths=[0, 0, 1, 0, 0, 1],
        names=("DAPI", "FITC"),
    )
    assert places(place_frames(sparse(image, found), [])) == {
        ("DAPI", 0.0): {0: 0, 1: 4},
        ("DAPI", 2.0): {0: 1, 1: 3},
        ("FITC", 0.0): {0: 2, 1: 5},
    }


def test_frames_without_a_path_are_those_of_the_first(image: Instance) -> None:
    found = items([(1, 1), (129, 1)], paths=[-1, 0], names=("2",))
    nameless = dataclasses.replace(image.header.shared, path_identifier="")
    instance = sparse(image, found, optical_paths=(path("1"), path("2")), shared=nameless)
    assert set(places(place_frames(instance, []))) == {("1", 0.0), ("2", 0.0)}


def test_the_height_of_every_tile_is_no_plane(image: Instance) -> None:
    """Autofocus writes the height that it found: one plane all the same."""
    positions = [(1 + 128 * column, 1 + 128 * row) for row in range(2) for column in range(3)]
    found = items(positions, z=[3.1, 2.9, 3.0, 3.3, 2.7, 3.05])
    assert places(place_frames(sparse(image, found), [])) == {
        ("1", 3.025): {n: n for n in range(6)}
    }


@given(planes=st.integers(1, 4), rng=st.randoms(use_true_random=False), shuffled=st.booleans())
def test_autofocus_in_a_stack(
    image: Instance, planes: int, rng: random.Random, shuffled: bool
) -> None:
    """Each cell has its own heights; the order within the cell makes the planes."""
    rows = []
    for cell in range(6):
        ground = rng.uniform(-3, 3)
        rows += [(cell, plane, ground + 2.0 * plane) for plane in range(planes)]
    if shuffled:
        rng.shuffle(rows)
    found = items(
        [(1 + 128 * (cell % 3), 1 + 128 * (cell // 3)) for cell, _, _ in rows],
        z=[z for _, _, z in rows],
    )
    placed = places(place_frames(sparse(image, found), []))
    by_height = [cells for _, cells in sorted(placed.items(), key=lambda entry: entry[0][1])]
    expected = [
        {cell: n for n, (cell, own, _) in enumerate(rows) if own == plane}
        for plane in range(planes)
    ]
    assert by_height == expected


def test_planes_with_gaps(image: Instance) -> None:
    """A cell that lacks the lowest plane does not pull the others down."""
    found = items([(1, 1), (1, 1), (129, 1)], z=[0.0, 2.0, 2.0])
    assert places(place_frames(sparse(image, found), [])) == {
        ("1", 0.0): {0: 0},
        ("1", 2.0): {0: 1, 1: 2},
    }


def test_a_single_frame_that_covers_the_slide_needs_no_position(image: Instance) -> None:
    alone = changed(
        image,
        rows=200,
        columns=300,
        number_of_frames=1,
        dimension_organization="",
        shared=dataclasses.replace(image.header.shared, z_um=4.0),
    )
    assert places(place_frames(alone, [])) == {("1", 4.0): {0: 0}}


@pytest.mark.parametrize(("position", "cell"), [((129, 129), 4), ((1, 1), 0), ((257, 1), 2)])
def test_a_position_that_all_frames_share(
    image: Instance, position: tuple[int, int], cell: int
) -> None:
    shared = dataclasses.replace(image.header.shared, column=position[0], row=position[1])
    alone = changed(image, number_of_frames=1, dimension_organization="TILED_SPARSE", shared=shared)
    assert places(place_frames(alone, [])) == {("1", 0.0): {cell: 0}}


@pytest.mark.parametrize("position", [(5000, 1), (1, 5000), (1, -500)])
def test_a_shared_position_outside_the_slide_is_rejected(
    image: Instance, position: tuple[int, int]
) -> None:
    shared = dataclasses.replace(image.header.shared, column=position[0], row=position[1])
    alone = changed(image, number_of_frames=1, dimension_organization="TILED_SPARSE", shared=shared)
    with pytest.raises(RejectedError, match="outside"):
        place_frames(alone, [])


def test_a_shared_position_off_the_grid(image: Instance) -> None:
    shared = dataclasses.replace(image.header.shared, column=41, row=21)
    alone = changed(image, number_of_frames=1, dimension_organization="TILED_SPARSE", shared=shared)
    (placed,) = place_frames(alone, [])
    assert placed.corners is not None
    assert placed.corners.tolist() == [[40, 20]]


def test_no_position_and_no_order(image: Instance) -> None:
    """What says nothing is taken for TILED_FULL where the number of frames fits."""
    silent = changed(image, dimension_organization="", items=None)
    assert places(place_frames(silent, [])) == {("1", 0.0): {n: n for n in range(6)}}


# --- the matrix -----------------------------------------------------------------------------------


def test_a_single_frame_is_its_own_matrix(image: Instance) -> None:
    header = changed(image, total_rows=0, total_columns=0, number_of_frames=1).header
    matrix = matrix_of(header)
    assert (matrix.width, matrix.height) == (128, 128)
    assert (matrix.across, matrix.cells) == (1, 1)


def test_several_frames_need_a_matrix(image: Instance) -> None:
    with pytest.raises(RejectedError, match="no total pixel matrix") as raised:
        matrix_of(changed(image, total_rows=0, total_columns=0).header)
    assert raised.value.code == "no-matrix"


def test_associated_images_may_carry_the_size_of_the_slide(image: Instance) -> None:
    label = changed(
        image,
        image_type=("ORIGINAL", "PRIMARY", "LABEL"),
        number_of_frames=1,
        total_rows=50_000,
        total_columns=60_000,
    )
    assert (matrix_of(label.header).width, matrix_of(label.header).height) == (128, 128)


@pytest.mark.parametrize("size", [(2**31, 10), (10, 2**32 - 1), (2**31 - 1, 2**31 - 1)])
def test_absurd_sizes_are_rejected(image: Instance, size: tuple[int, int]) -> None:
    header = changed(image, total_columns=size[0], total_rows=size[1]).header
    with pytest.raises(RejectedError) as raised:
        matrix_of(header)
    assert raised.value.code == "too-large"


# --- the grid -------------------------------------------------------------------------------------


@given(
    shown=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    cells=st.lists(st.integers(0, 200), max_size=60),
)
def test_a_grid_shows_what_lies_in_each_cell(
    image: Instance, shown: tuple[int, int], padding: tuple[int, int], cells: list[int]
) -> None:
    """Also where the matrix is larger than what is shown of it."""
    across, down = shown
    whole_across, whole_down = across + padding[0], down + padding[1]
    inside = np.array([c % (whole_across * whole_down) for c in cells], np.int32)
    half = len(inside) // 2
    parts = (
        Placement(0, np.arange(half, dtype=np.int32), inside[:half]),
        Placement(1, np.arange(len(inside) - half, dtype=np.int32), inside[half:]),
    )
    level = Level(
        width=10 * across - 3,
        height=10 * down - 7,
        tile_width=10,
        tile_height=10,
        matrix_width=10 * whole_across,
        frames_are_tiles=True,
        spacing_mm=None,
        encoding=decide_encoding(image),
        planes=(parts,),
        organization="",
    )
    expected = {}
    for part in parts:
        for frame, cell in zip(as_array(part.frames), as_array(part.cells), strict=True):
            row, column = divmod(int(cell), whole_across)
            if row < down and column < across:
                expected[row * across + column] = (part.member, int(frame))
    grid = level.grid(0)
    assert (level.tiles_across, level.tiles_down) == (across, down)
    assert len(grid.frames) == len(grid.members) == level.cells == across * down
    for cell in range(level.cells):
        found = (int(grid.members[cell]), int(grid.frames[cell]))
        assert found == expected.get(cell, (-1, -1))
    assert level.missing(0) == level.cells - len(expected)
    assert level.regular
