"""Are the tiles of a TIFF the very bytes of the DICOM frames?

The one job: for every tiled directory find the level it shows by its size, and compare each tile's
bytes with the frame's bytes as pydicom takes them out of the instance. Decodes nothing. A directory
whose tiles are made anew matches no frame, and is reported so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.oracles.dicom_series import matrix_of, read_dataset
from tests.oracles.dicom_slides import frame_bytes, frame_places
from tests.oracles.tiff_directories import read_at, walk

PlaneFrames = Mapping[tuple[int, int], bytes]
"""Frames of one plane by the top left pixel (x, y), 0-based."""


@dataclass(frozen=True, slots=True)
class TileReport:
    """Of one directory: how many of its tiles are the bytes of their frame, and of which plane.

    `blank` counts tiles no frame is there for; `first_difference` is the number of the first tile
    that is not its frame, -1 if there is none.
    """

    where: str
    size: tuple[int, int]
    plane: tuple[str, float] | None
    tiles: int
    equal: int
    blank: int
    first_difference: int

    @property
    def passed_through(self) -> bool:
        return self.equal > 0 and self.equal + self.blank == self.tiles


def frames_by_plane(paths: Sequence[Path]) -> dict[tuple[str, float], dict[tuple[int, int], bytes]]:
    """The frames of a level by (optical path, height in µm), then by place."""
    planes: dict[tuple[str, float], dict[tuple[int, int], bytes]] = {}
    for path in paths:
        dataset = read_dataset(path, pixels=True)
        for place, data in zip(frame_places(dataset), frame_bytes(dataset), strict=True):
            planes.setdefault((place.channel, place.z_um), {})[place.x, place.y] = data
    return planes


def same_bytes(tile: bytes, frame: bytes) -> bool:
    """Equal, but for the one byte a fragment may have been padded with to an even length."""
    short, long = sorted((tile, frame), key=len)
    return long == short or (long[: len(short)] == short and long[len(short) :] == b"\0")


def _compare(
    where: str,
    size: tuple[int, int],
    tile: tuple[int, int],
    tiles: Sequence[bytes],
    plane: tuple[str, float],
    frames: PlaneFrames,
) -> TileReport:
    across = -(-size[0] // tile[0])
    equal, blank, first = 0, 0, -1
    for index, data in enumerate(tiles):
        frame = frames.get((index % across * tile[0], index // across * tile[1]))
        if frame is None:
            blank += 1
        elif same_bytes(data, frame):
            equal += 1
        elif first < 0:
            first = index
    return TileReport(where, size, plane, len(tiles), equal, blank, first)


def tile_reports(tiff: Path, levels: Sequence[Sequence[Path]]) -> list[TileReport]:
    """One report per tiled directory; `levels` are the instances of each level of the slide.

    Of the planes of a level the one that fits best is taken.
    """
    by_size: dict[tuple[int, int], dict[tuple[str, float], dict[tuple[int, int], bytes]]] = {}
    for paths in levels:
        size = matrix_of(read_dataset(paths[0], pixels=False))
        by_size.setdefault(size, {}).update(frames_by_plane(paths))
    reports: list[TileReport] = []
    with open(tiff, "rb") as file:
        for directory in walk(tiff).directories:
            if not directory.tiled:
                continue
            offsets, counts = directory.segments()
            tiles = [
                read_at(file, int(offset), int(count))
                for offset, count in zip(offsets, counts, strict=True)
            ]
            size, edge = directory.size, directory.segment_size
            found = [
                _compare(directory.where, size, edge, tiles, plane, frames)
                for plane, frames in by_size.get(size, {}).items()
            ]
            nothing = TileReport(directory.where, size, None, len(tiles), 0, 0, 0)
            reports.append(max(found, key=lambda report: report.equal, default=nothing))
    return reports
