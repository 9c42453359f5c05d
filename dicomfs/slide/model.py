"""The slide: levels, planes, associated images.  Immutable; made by `dicomfs.slide.build`.

Terms: a *level* is one size of the image (PS3.3 C.8.12.14, one Total Pixel Matrix); a *plane* is
one optical path at one focal plane of a level; a *cell* is a place of the level's tile grid,
numbered row by row from 0 at the top left; a *member* is an instance, by its index in
`Slide.instances`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dicomfs.dicom.description import Description
from dicomfs.dicom.header import Light
from dicomfs.dicom.instance import Instance
from dicomfs.slide.encoding import PixelEncoding

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Note:
    """Something a user should know; `code` is stable and for programs."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Which frames of one member lie where on a plane.

    frames : 0-based frame numbers of the member
    cells : the cell of each of these frames; where a later frame has the same cell, it wins
    corners : int32, shape (n, 2), only on levels whose frames lie on no grid: x and y of each
        frame's top left pixel, 0-based; there `cells` is empty, and a later frame lies on top
    """

    member: int
    frames: range | Int32Array
    cells: range | Int32Array
    corners: Int32Array | None = None


@dataclass(frozen=True, slots=True)
class TileGrid:
    """What lies in each cell of a plane, row by row.

    members, frames : int32, shape (rows * columns,); -1 in both where no frame lies
    """

    members: Int32Array
    frames: Int32Array


@dataclass(frozen=True, slots=True)
class Level:
    """One size of the image.

    width, height, tile_width, tile_height : pixels
    matrix_width : pixels of the Total Pixel Matrix, larger than `width` where it includes padding
    frames_are_tiles : whether all frames have one encoding, the size of a tile and a place on the
        grid, so that a frame can stand for a tile as it is
    spacing_mm : (between rows, between columns), None where unknown
    planes : for each channel, for each focal plane, the placements of its frames; the plane of
        channel c at focal plane z is planes[c * focal planes + z]
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    matrix_width: int
    frames_are_tiles: bool
    spacing_mm: tuple[float, float] | None
    encoding: PixelEncoding
    planes: tuple[tuple[Placement, ...], ...]
    organization: str

    @property
    def tiles_across(self) -> int:
        """Columns of the tile grid."""
        return -(-self.width // self.tile_width)

    @property
    def tiles_down(self) -> int:
        """Rows of the tile grid."""
        return -(-self.height // self.tile_height)

    @property
    def cells(self) -> int:
        """Cells of the tile grid."""
        return self.tiles_across * self.tiles_down

    @property
    def frames(self) -> int:
        """Frames that lie on the level, over all its planes."""
        return sum(len(placement.frames) for plane in self.planes for placement in plane)

    @property
    def members(self) -> tuple[int, ...]:
        """The members that the level's frames come from, each once, in ascending order."""
        return tuple(sorted({part.member for plane in self.planes for part in plane}))

    def missing(self, plane: int) -> int:
        """How many cells of a plane have no frame; 0 where the frames lie on no grid."""
        if not self.regular:
            return 0
        covered = sum(len(part.frames) for part in self.planes[plane])
        whole = self.width == self.matrix_width
        if whole and all(isinstance(part.cells, range) for part in self.planes[plane]):
            return self.cells - covered
        return int((self.grid(plane).frames < 0).sum())

    @property
    def regular(self) -> bool:
        """Whether the frames lie on the tile grid."""
        return all(part.corners is None for plane in self.planes for part in plane)

    def grid(self, plane: int) -> TileGrid:
        """What lies in each cell of a plane of a regular level.

        Placements number the cells of the whole matrix; the cells that lie in its padding are cut
        away.
        """
        across = -(-self.matrix_width // self.tile_width)
        members = np.full((self.tiles_down, across), -1, np.int32)
        frames = np.full((self.tiles_down, across), -1, np.int32)
        for part in self.planes[plane]:
            cells = as_array(part.cells)
            inside = cells < members.size
            members.reshape(-1)[cells[inside]] = part.member
            frames.reshape(-1)[cells[inside]] = as_array(part.frames)[inside]
        shown = self.tiles_across
        return TileGrid(members[:, :shown].reshape(-1), frames[:, :shown].reshape(-1))


@dataclass(frozen=True, slots=True)
class Channel:
    """An optical path as a user sees it; wavelength_nm None where unknown.

    objective_power, numerical_aperture : of the objective, None where unknown
    """

    identifier: str
    description: str
    wavelength_nm: float | None
    illumination: str
    light: Light = field(default_factory=Light)
    objective_power: float | None = None
    numerical_aperture: float | None = None

    @property
    def fluorescent(self) -> bool:
        """Whether the path is illuminated for fluorescence."""
        return any("fluor" in word.lower() for word in (self.illumination, *self.light.methods))


@dataclass(frozen=True, slots=True)
class Slide:
    """A slide: everything of one pyramid of one series.

    instances : all members, in a stable order
    levels : largest first
    focal_planes_um : z of each focal plane, micrometres, ascending; one entry where there is one
    plane_spacing_um : between focal planes, micrometres; None for one plane, and where unknown
    associated : "label", "overview", "thumbnail", each a level of its own with one plane
    """

    series_instance_uid: str
    study_instance_uid: str
    instances: tuple[Instance, ...] = field(repr=False)
    levels: tuple[Level, ...]
    channels: tuple[Channel, ...]
    focal_planes_um: tuple[float, ...]
    plane_spacing_um: float | None
    associated: Mapping[str, Level]
    objective_power: float | None
    numerical_aperture: float | None
    icc_profile: bytes | None = field(repr=False)
    description: Description
    notes: tuple[Note, ...]

    @property
    def mpp(self) -> tuple[float, float] | None:
        """Micrometres per pixel (x, y) of the largest level."""
        spacing = self.levels[0].spacing_mm
        return None if spacing is None else (spacing[1] * 1000, spacing[0] * 1000)

    def absent_pixel_cielab(self, level: Level) -> tuple[int, int, int] | None:
        """Recommended Absent Pixel CIELab Value (0048,0015) of a level."""
        return self.instances[level.members[0]].header.absent_pixel_cielab

    def all_levels(self) -> Iterator[Level]:
        """The levels of the pyramid and the associated images."""
        yield from self.levels
        yield from self.associated.values()


def as_array(numbers: range | Int32Array) -> Int32Array:
    """The numbers as an int32 array."""
    if isinstance(numbers, range):
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int32)
    return numbers
