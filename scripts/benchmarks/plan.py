"""How much is measured, and where: what the sections are given.

The one job: `Plan`, the sizes and repetitions of a full and of a quick run.
"""

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.slides import Table

_CORES: Final = os.cpu_count() or 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run does.

    work: a folder that is removed after the run. say: for what somebody who waits wants to know.
    skip: for a sentence on what is not measured.
    repeats: measurements of each thing; starts: of what begins with the start of a program.

    read_bytes: size of the slide that is read. random_reads: in each measurement, of all readers.
    tile_sides: in pixels. tile_threads: numbers of threads.
    decode_seconds: how long one thread of the peer decodes in each measurement.
    open_tables: offset tables, of each a slide. open_grid: its tiles across and down.
    regions: read at random places.
    convert_grid: tiles across and down of the slide that is converted.
    growth_frames, growth_series, growth_readers: the steps in which cost is seen to grow.
    indexed_slides: slides of five instances each. remounted_series: of five instances each.
    listed_series: of one instance each.
    archive_slides: slides of five instances each. sparse_frames: of the TILED_SPARSE instance.
    """

    work: Path
    say: Callable[[str], None]
    skip: Callable[[str], None]
    repeats: int
    starts: int
    read_bytes: int
    random_reads: int
    tile_sides: tuple[int, ...]
    tile_threads: tuple[int, ...]
    decode_seconds: float
    open_tables: tuple[Table, ...]
    open_grid: tuple[int, int]
    regions: int
    convert_grid: tuple[int, int]
    growth_frames: tuple[int, ...]
    growth_series: tuple[int, ...]
    growth_readers: tuple[int, ...]
    indexed_slides: int
    remounted_series: int
    listed_series: int
    archive_slides: int
    sparse_frames: int

    def folder(self, name: str) -> Path:
        """A new, empty folder; what a former section wrote into one of this name is removed."""
        place = self.work / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place


def full(work: Path, say: Callable[[str], None], skip: Callable[[str], None]) -> Plan:
    """A run of some minutes, whose figures can be quoted."""
    return Plan(
        work=work,
        say=say,
        skip=skip,
        repeats=9,
        starts=5,
        read_bytes=1_100_000_000,
        random_reads=2_000,
        tile_sides=(256, 512),
        tile_threads=tuple(sorted({1, _CORES})),
        decode_seconds=1.0,
        open_tables=("empty", "bot"),
        open_grid=(400, 250),
        regions=100,
        convert_grid=(100, 80),
        growth_frames=(1_000, 4_000, 16_000, 64_000),
        growth_series=(25, 100, 400),
        growth_readers=(1, 2, 4, 8, 16),
        indexed_slides=2_000,
        remounted_series=10_000,
        listed_series=100_000,
        archive_slides=200,
        sparse_frames=100_000,
    )


def quick(work: Path, say: Callable[[str], None], skip: Callable[[str], None]) -> Plan:
    """A run of less than a minute, that shows whether anything is badly wrong."""
    return dataclasses.replace(
        full(work, say, skip),
        repeats=3,
        starts=1,
        read_bytes=200_000_000,
        random_reads=480,
        tile_sides=(256,),
        tile_threads=(_CORES,),
        decode_seconds=0.15,
        open_tables=("bot",),
        open_grid=(100, 50),
        regions=20,
        convert_grid=(20, 15),
        growth_frames=(500, 2_000),
        growth_series=(5, 20),
        growth_readers=(1, 4),
        indexed_slides=50,
        remounted_series=200,
        listed_series=500,
        archive_slides=20,
        sparse_frames=4_000,
    )


def sized(plan: Plan, gigabytes: float) -> Plan:
    """The plan with another size of the slide that is read."""
    return dataclasses.replace(plan, read_bytes=int(gigabytes * 1e9))
