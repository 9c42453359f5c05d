"""Where the frames of an instance lie on its level: PS3.3 C.7.6.17.3 and C.8.12.14.

Three ways to know: the order that TILED_FULL prescribes, the per-frame positions, or that there is
only one place where a frame could lie.  The result is in terms of optical path, focal plane and
cell; which instances make a level is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dicomfs.dicom.header import Header
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.per_frame import FrameItems
from dicomfs.errors import RejectedError
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.slide.model import Int32Array, Note, as_array

_SMALL_TILE = 256
"""Pixels; a slide of smaller tiles would be mostly what is noted down for each."""

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PlacedFrames:
    """Frames of one instance on one plane.

    path : Optical Path Identifier, "" where the instance names none
    z_um : z of the focal plane, micrometres
    frames, cells, corners : as in `dicomfs.slide.model.Placement`
    """

    path: str
    z_um: float
    frames: range | Int32Array
    cells: range | Int32Array
    corners: Int32Array | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """The total pixel matrix of an instance and its tiles, in pixels."""

    width: int
    height: int
    tile_width: int
    tile_height: int

    @property
    def across(self) -> int:
        """Columns of the tile grid."""
        return -(-self.width // self.tile_width)

    @property
    def cells(self) -> int:
        """Cells of the tile grid."""
        return self.across * -(-self.height // self.tile_height)

    def corners_of(self, cells: range | Int32Array) -> Int32Array:
        """x and y of the top left pixel of cells; int32, shape (n, 2)."""
        rows, columns = np.divmod(as_array(cells), self.across)
        return np.stack((columns * self.tile_width, rows * self.tile_height), axis=1)


def matrix_of(header: Header) -> Matrix:
    """The total pixel matrix; that of a single frame where the attributes are missing.

    Raises RejectedError where there is none, or none that anybody could hold.
    """
    width, height = header.total_columns, header.total_rows
    associated = header.flavour in ("LABEL", "OVERVIEW", "THUMBNAIL")
    if (
        associated
        and header.number_of_frames == 1
        and (width > header.columns or height > header.rows)
    ):
        width, height = header.columns, header.rows  # real files carry the slide's size there
    if not width or not height:
        if header.number_of_frames > 1:
            raise RejectedError(
                "no-matrix", "has several frames, but no total pixel matrix to place them in"
            )
        width, height = header.columns, header.rows
    matrix = Matrix(width, height, header.columns, header.rows)
    limits = DEFAULT_LIMITS
    # What is made for a level has the size of its grid, so there have to be frames for it.
    most = min(limits.frames, limits.empty_tiles + 256 * header.number_of_frames)
    if matrix.tile_width * matrix.tile_height < _SMALL_TILE:
        most = min(most, limits.empty_tiles)
    if max(width, height) > limits.matrix_side or matrix.cells > most:
        raise RejectedError(
            "too-large",
            f"claims {width} x {height} pixels in {matrix.cells} tiles for"
            f" {header.number_of_frames} frames, which is absurd",
        )
    return matrix


def place_frames(instance: Instance, notes: list[Note], first_frame: int = 0) -> list[PlacedFrames]:
    """Place the frames of an instance.

    notes : what the user should know of it is added here

    first_frame : Concatenation Frame Offset Number (0020,9228), the number of the instance's first
        frame in its concatenation, from 0.

    Raises RejectedError where the places of the frames cannot be known.
    """
    header = instance.header
    matrix = matrix_of(header)
    items = instance.items
    if header.dimension_organization == "TILED_FULL":
        placed = _by_order(instance, matrix, first_frame)
        if placed is not None:
            return placed
    if items is not None and len(items) == header.number_of_frames and (items.columns > 0).any():
        return _by_position(header, matrix, items, notes)
    if matrix.cells == 1 and header.number_of_frames == 1:
        return [PlacedFrames(_path(header, items), _z(header, items), range(1), range(1))]
    if header.shared.column > 0 and header.number_of_frames == 1:
        return _by_position(header, matrix, _at_shared_position(header, items), notes)
    placed = _by_order(instance, matrix, first_frame)
    if placed is None:
        raise RejectedError(
            "frame-count",
            f"has {header.number_of_frames} frames where {matrix.cells} tiles make its"
            f" {matrix.width} x {matrix.height} pixels, and does not say where they lie",
        )
    return placed


def _path(header: Header, items: FrameItems | None) -> str:
    if items is not None and items.path_identifiers:
        return items.path_identifiers[0]
    if header.shared.path_identifier:
        return header.shared.path_identifier
    return header.optical_paths[0].identifier if header.optical_paths else ""


def _z(header: Header, items: FrameItems | None) -> float:
    if items is not None and len(items) and not np.isnan(items.z_um[0]):
        return _micrometres(float(items.z_um[0]))
    return _micrometres(header.z_um)


def _micrometres(z: float) -> float:
    """z rounded so that the same plane, written with other digits, is the same plane."""
    return round(z, 3) + 0.0


def _by_order(instance: Instance, matrix: Matrix, first_frame: int) -> list[PlacedFrames] | None:
    """TILED_FULL: columns fastest, then rows, then focal planes, then optical paths.

    None where the number of frames does not fit, and neither does that of the frames found.
    """
    header = instance.header
    exact = header.concatenation is None
    for count in (header.number_of_frames, header.number_of_frames - instance.lost_at_end):
        fitted = _planes(header, matrix, first_frame + count, exact=exact)
        if fitted is not None:
            break
    else:
        return None
    paths, planes = fitted
    step = header.measures.between_planes
    base = header.z_um
    placed = []
    for plane, cells, frames in _split(first_frame, count, matrix.cells):
        path, focal = divmod(plane, planes)
        z = base + focal * (step * 1000 if step else 1.0)
        placed.append(PlacedFrames(paths[path], _micrometres(z), frames, cells))
    return placed


def _planes(
    header: Header, matrix: Matrix, frames: int, *, exact: bool
) -> tuple[list[str], int] | None:
    """Optical path identifiers and number of focal planes that the number of frames fits.

    An instance may list paths or declare planes that lie in other instances, so fewer are tried.
    """
    listed = [path.identifier for path in header.optical_paths] or [header.shared.path_identifier]
    declared = header.focal_planes
    alone = header.shared.path_identifier or listed[0]
    for paths, planes in (
        (listed, declared),
        ([alone], declared),
        (listed, 1),
        ([alone], 1),
    ):
        total = len(paths) * planes * matrix.cells
        if frames == total or (not exact and frames <= total):
            return paths, planes
    return None


def _split(first: int, count: int, cells: int) -> Iterator[tuple[int, range, range]]:
    """Split a run of frames at plane boundaries: (plane number, cells, frames of the instance)."""
    number = first
    while number < first + count:
        plane, cell = divmod(number, cells)
        size = min(cells - cell, first + count - number)
        yield plane, range(cell, cell + size), range(number - first, number - first + size)
        number += size


def _at_shared_position(header: Header, items: FrameItems | None) -> FrameItems:
    """The item of a single frame whose position stands in the shared functional groups."""
    bounds = np.iinfo(np.int32)
    place = np.array([[header.shared.column], [header.shared.row]], np.float64)
    columns, rows = place.clip(bounds.min, bounds.max).astype(np.int32)
    if items is not None and len(items) == 1:
        return replace(items, columns=columns, rows=rows)
    return FrameItems(columns, rows, np.full(1, np.nan), np.full(1, -1, np.int16), (), b"", 0)


def _by_position(
    header: Header, matrix: Matrix, items: FrameItems, notes: list[Note]
) -> list[PlacedFrames]:
    """Per-frame Column and Row Position in Total Image Pixel Matrix, 1-based."""
    x, y = items.columns.astype(np.int64) - 1, items.rows.astype(np.int64) - 1
    inside = (x > -matrix.tile_width) & (y > -matrix.tile_height)
    inside &= (x < matrix.width) & (y < matrix.height)
    if not inside.any():
        raise RejectedError("position", "has frames that all lie outside the slide")
    if not inside.all():
        count = int((~inside).sum())
        notes.append(Note("position", f"{count} frames lie outside the slide and are not shown"))
    on_grid = (x % matrix.tile_width == 0) & (y % matrix.tile_height == 0) & (x >= 0) & (y >= 0)
    aligned = bool(on_grid[inside].all())
    # Where there is no grid, a position stands for a cell.
    cells = y // matrix.tile_height * matrix.across + x // matrix.tile_width
    places = cells if aligned else (y << 32) + x
    corners = np.stack((x, y), axis=1).astype(np.int32)
    default_z = header.z_um
    z = np.where(np.isnan(items.z_um), default_z, np.round(items.z_um, 3)) + 0.0
    default_path = _path(header, None)
    placed = []
    for path in np.unique(items.paths).tolist():
        name = items.path_identifiers[path] if path >= 0 else default_path
        frames = np.flatnonzero(inside & (items.paths == path)).astype(np.int32)
        if not len(frames):
            continue
        focal = _focal_planes(places[frames], z[frames])
        for plane in range(int(focal.max()) + 1):
            chosen = frames[focal == plane]
            level = _micrometres(float(np.median(z[chosen])))
            if aligned:
                placed.append(PlacedFrames(name, level, chosen, cells[chosen].astype(np.int32)))
            else:
                placed.append(PlacedFrames(name, level, chosen, range(0), corners[chosen]))
    return placed


def _focal_planes(cells: Int64Array, z: Float64Array) -> Int64Array:
    """Number the focal plane of each frame from 0, lowest first.

    There are as many planes as one cell has frames.  Where z takes just as many values, they are
    the planes; where it takes more (autofocus wrote the height of every tile), the order within
    each cell is.
    """
    _, counts = np.unique(cells, return_counts=True)
    deepest = int(counts.max())
    if deepest == 1:
        return np.zeros(len(cells), np.int64)
    levels, plane = np.unique(z, return_inverse=True)
    if len(levels) <= deepest:
        return plane.astype(np.int64)
    order = np.lexsort((z, cells))
    first_of_cell = np.concatenate(([0], np.cumsum(counts)[:-1]))
    rank = np.arange(len(cells)) - np.repeat(first_of_cell, counts)
    plane = np.empty(len(cells), np.int64)
    plane[order] = rank
    return plane
