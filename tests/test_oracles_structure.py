"""The judge of TIFF structure and the judge of tile bytes, tried on seeded defects."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.oracles.samples import (
    SIZES,
    TILE,
    DicomSample,
    write_dicom,
    write_ome,
    write_passthrough,
    write_plain,
    write_svs,
)
from tests.oracles.tiff_directories import Directory, walk
from tests.oracles.tiff_structure import problems
from tests.oracles.virtual_bytes import same_bytes, tile_reports


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """BigTIFF with JPEG, classic TIFF with raw tiles, BigTIFF with SubIFDs."""
    directory = tmp_path_factory.mktemp("structure")
    return {
        "svs": write_svs(directory / "slide.svs").path,
        "plain": write_plain(directory / "slide.tif").path,
        "ome": write_ome(directory / "slide.ome.tif").path,
    }


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> DicomSample:
    return write_dicom(tmp_path_factory.mktemp("dicom"))


# ------------------------------------------------------------------ sound files


@pytest.mark.parametrize("name", ["svs", "plain", "ome"])
def test_a_sound_file_has_no_problem(name: str, files: dict[str, Path]) -> None:
    assert problems(files[name]) == []


def test_every_directory_is_walked(files: dict[str, Path]) -> None:
    svs = walk(files["svs"])
    assert [directory.size for directory in svs.directories] == [
        SIZES[0],
        (40, 30),
        *SIZES[1:],
        (40, 48),
        (96, 40),
    ]
    tiled = [directory.tiled for directory in svs.directories]
    assert tiled == [True, False, True, True, False, False]
    ome = walk(files["ome"])
    assert [one.where for one in ome.directories if one.size == SIZES[0]] == [
        f"IFD {number}" for number in range(6)
    ]
    below = [one.where for one in ome.directories if one.size in SIZES[1:]]
    assert len(below) == 12
    assert all("SubIFD" in where for where in below)
    assert (svs.big, walk(files["plain"]).big) == (True, False)


def test_a_subifd_may_be_a_page_of_the_chain(files: dict[str, Path], tmp_path: Path) -> None:
    """One set of directories reached both ways, as the default layout of a virtual SVS is."""
    content = bytearray(files["ome"].read_bytes())
    first, second, *_ = walk(files["ome"]).directories
    at = first.entries[330].at
    struct.pack_into("<Q", content, at, second.offset)
    path = tmp_path / "shared.tif"
    path.write_bytes(content)
    assert problems(path) == []
    assert [one.offset for one in walk(path).directories].count(second.offset) == 1


# ------------------------------------------------------------------ seeded defects

Defect = Callable[[bytearray, list[Directory]], None]


def table_at(directory: Directory, tag: int) -> int:
    """Where the entry of a tag stands in a BigTIFF."""
    return directory.offset + 8 + 20 * list(directory.entries).index(tag)


def retag(tag: int, new: int) -> Defect:
    def seed(content: bytearray, directories: list[Directory]) -> None:
        struct.pack_into("<H", content, table_at(directories[0], tag), new)

    return seed


def value(tag: int, form: str, *numbers: int, shift: int = 0) -> Defect:
    """Overwrite a value of the first directory, `shift` bytes into it."""

    def seed(content: bytearray, directories: list[Directory]) -> None:
        struct.pack_into(form, content, directories[0].entries[tag].at + shift, *numbers)

    return seed


def field(tag: int, offset: int, form: str, number: int) -> Defect:
    """Overwrite a part of an entry itself: type at 2, count at 4, value or pointer at 12."""

    def seed(content: bytearray, directories: list[Directory]) -> None:
        struct.pack_into(form, content, table_at(directories[0], tag) + offset, number)

    return seed


def at_the_start(form: str, offset: int, number: int) -> Defect:
    return lambda content, _: struct.pack_into(form, content, offset, number)


def tile_on_directory(content: bytearray, directories: list[Directory]) -> None:
    at = directories[0].entries[324].at
    struct.pack_into("<Q", content, at, directories[2].offset)


def tile_into_the_next(content: bytearray, directories: list[Directory]) -> None:
    counts = directories[0].entries[325]
    size = {3: "<H", 4: "<I", 16: "<Q"}[counts.kind]
    (first,) = struct.unpack_from(size, content, counts.at)
    struct.pack_into(size, content, counts.at, first + 40)


def empty_tile(content: bytearray, directories: list[Directory]) -> None:
    struct.pack_into("<Q", content, directories[0].entries[324].at, 0)


def entries_swapped(content: bytearray, directories: list[Directory]) -> None:
    at = table_at(directories[0], 257)
    content[at : at + 40] = content[at + 20 : at + 40] + content[at : at + 20]


def chain_to_its_start(content: bytearray, directories: list[Directory]) -> None:
    struct.pack_into("<Q", content, directories[-1].end - 8, directories[0].offset)


def subifd_to_its_parent(content: bytearray, directories: list[Directory]) -> None:
    at = directories[0].entries[330].at
    struct.pack_into("<Q", content, at, directories[0].offset)


def directory_at_odd_offset(content: bytearray, directories: list[Directory]) -> None:
    first = directories[0]
    content += b"\0" * (1 + len(content) % 2)
    struct.pack_into("<Q", content, 8, len(content))
    content += content[first.offset : first.end]


def text_without_end(content: bytearray, directories: list[Directory]) -> None:
    entry = directories[0].entries[270]
    content[entry.at + entry.count - 1] = ord("x")


def first_tile_gone(content: bytearray, directories: list[Directory]) -> None:
    offsets, counts = directories[0].segments()
    content[offsets[0] : offsets[0] + counts[0]] = bytes(counts[0])


def cut_off(content: bytearray, directories: list[Directory]) -> None:
    del content[len(content) // 2 :]


DEFECTS: dict[str, tuple[str, Defect, str]] = {
    "version": ("svs", at_the_start("<H", 2, 44), "header"),
    "byte order": ("svs", at_the_start("<H", 0, 0), "header"),
    "offset size": ("svs", at_the_start("<H", 4, 4), "header"),
    "no directory": ("svs", at_the_start("<Q", 8, 0), "header"),
    "first directory outside": ("svs", at_the_start("<Q", 8, 1 << 40), "ifd-outside"),
    "cut off": ("svs", cut_off, "segment-outside"),
    "entries swapped": ("svs", entries_swapped, "tag-order"),
    "chain to its start": ("svs", chain_to_its_start, "ifd-cycle"),
    "directory at an odd offset": ("svs", directory_at_odd_offset, "word-boundary"),
    "type unknown": ("svs", field(305, 2, "<H", 99), "entry-type"),
    "no value": ("svs", field(305, 4, "<Q", 0), "entry-count"),
    "value outside": ("svs", field(324, 12, "<Q", 1 << 40), "value-outside"),
    "value at an odd offset": ("svs", field(270, 12, "<Q", 801), "word-boundary"),
    "photometric missing": ("svs", retag(262, 261), "required-tag"),
    "tile offsets missing": ("svs", retag(324, 326), "required-tag"),
    "resolution missing": ("svs", retag(282, 281), "resolution-tag"),
    "tiles and strips": ("svs", retag(277, 273), "tiles-and-strips"),
    "text without NUL": ("svs", text_without_end, "ascii"),
    "division by 0": ("svs", value(282, "<I", 0, shift=4), "rational"),
    "samples": ("svs", value(277, "<H", 4), "samples"),
    "photometric unknown": ("svs", value(262, "<H", 999), "photometric"),
    "tiles of 72": ("svs", value(322, "<H", 72), "tile-multiple-of-16"),
    "tiles of other size": ("svs", value(322, "<H", 2 * TILE), "segment-count"),
    "too few byte counts": ("svs", field(325, 4, "<Q", 11), "segment-count"),
    "no width": ("svs", value(256, "<H", 0), "size"),
    "tile outside": ("svs", value(324, "<Q", 1 << 40), "segment-outside"),
    "tile on a directory": ("svs", tile_on_directory, "overlap"),
    "tile into the next": ("svs", tile_into_the_next, "overlap"),
    "empty tile": ("svs", empty_tile, "missing-segment"),
    "value on the header": ("svs", field(324, 12, "<Q", 8), "overlap"),
    "tile is no JPEG": ("svs", first_tile_gone, "stream"),
    "RGB for YCbCr": ("svs", value(262, "<H", 2), "stream-colour"),
    "subsampling": ("svs", value(530, "<HH", 2, 1), "subsampling"),
    "tile size in the stream": ("svs", value(323, "<H", 48), "segment-count"),
    "SubIFD to its parent": ("ome", subifd_to_its_parent, "ifd-cycle"),
    "SubIFD at 0": ("ome", value(330, "<Q", 0), "sub-ifd"),
    "SubIFD outside": ("ome", value(330, "<Q", 1 << 40), "ifd-outside"),
    "SubIFD of type SHORT": ("ome", field(330, 2, "<H", 3), "sub-ifd"),
}


@pytest.mark.parametrize("name", list(DEFECTS))
def test_a_seeded_defect_is_found(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    base, seed, rule = DEFECTS[name]
    content = bytearray(files[base].read_bytes())
    seed(content, walk(files[base]).directories)
    path = tmp_path / "defect.tif"
    path.write_bytes(content)
    found = problems(path)
    assert rule in {problem.rule for problem in found}, found
    assert rule not in {problem.rule for problem in problems(path, allowed=[rule])}


def test_a_raw_tile_of_the_wrong_length_is_found(files: dict[str, Path], tmp_path: Path) -> None:
    content = bytearray(files["plain"].read_bytes())
    counts = walk(files["plain"]).directories[0].entries[325]
    struct.pack_into({3: "<H", 4: "<I"}[counts.kind], content, counts.at, TILE * TILE * 3 - 1)
    path = tmp_path / "short.tif"
    path.write_bytes(content)
    assert {problem.rule for problem in problems(path)} == {"stream-size"}


# ------------------------------------------------------------------ tile bytes


def test_tiles_that_are_frames(slide: DicomSample, tmp_path: Path) -> None:
    path = write_passthrough(tmp_path / "slide.tif", slide)
    reports = tile_reports(path, [[one] for one in slide.paths])
    assert [(report.size, report.tiles) for report in reports] == [
        (size, len(frames)) for size, frames in zip(SIZES, slide.frames, strict=True)
    ]
    assert all(report.passed_through for report in reports)
    assert all(report.first_difference == -1 for report in reports)


def test_a_tile_that_differs_by_a_byte(slide: DicomSample, tmp_path: Path) -> None:
    path = write_passthrough(tmp_path / "slide.tif", slide)
    offsets, counts = walk(path).directories[0].segments()
    content = bytearray(path.read_bytes())
    content[offsets[5] + counts[5] // 2] ^= 1
    path.write_bytes(content)
    first, *others = tile_reports(path, [[one] for one in slide.paths])
    assert (first.equal, first.first_difference, first.passed_through) == (11, 5, False)
    assert all(report.passed_through for report in others)


def test_tiles_made_anew_are_no_frames(
    slide: DicomSample, files: dict[str, Path], tmp_path: Path
) -> None:
    for report in tile_reports(files["plain"], [[one] for one in slide.paths]):
        assert (report.equal, report.passed_through) == (0, False)


def test_one_pad_byte_is_no_difference() -> None:
    assert same_bytes(b"abc", b"abc\0")
    assert same_bytes(b"abc\0", b"abc")
    assert not same_bytes(b"abc", b"abc\0\0")
    assert not same_bytes(b"abc", b"abcd")
