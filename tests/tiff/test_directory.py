"""Serialised directories, against a TIFF parser of our own tests and against tifffile."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path

import pytest
import tifffile
from hypothesis import example, given
from hypothesis import strategies as st

from dicomfs.tiff.directory import (
    HEADER_SIZE,
    Code,
    Directory,
    Field,
    Header,
    Hole,
    Type,
    lay_out,
    longs,
    rationals,
    shorts,
    text,
    undefined,
)
from tests.oracles.tiff_directories import walk


def filled(header: Header, holes: dict[tuple[int, str], bytes] | None = None) -> bytes:
    """The bytes of a header, zeros in its holes unless `holes` says otherwise."""
    parts = []
    for part in header.parts:
        if isinstance(part, Hole):
            parts.append((holes or {}).get(part.key, bytes(part.size)))
            assert len(parts[-1]) == part.size
        else:
            parts.append(part)
    data = b"".join(parts)
    assert len(data) == header.size
    return data


def picture(key: int = 0, count: int = 2, *fields: Field, children: tuple[Directory, ...] = ()) -> (
    Directory
):  # fmt: skip
    """A directory of a picture of 16 x 16 pixels a tile, `count` tiles wide."""
    return Directory(
        (
            longs(Code.IMAGE_WIDTH, 16 * count),
            longs(Code.IMAGE_LENGTH, 16),
            shorts(Code.BITS_PER_SAMPLE, 8),
            shorts(Code.COMPRESSION, 1),
            shorts(Code.PHOTOMETRIC, 1),
            shorts(Code.SAMPLES_PER_PIXEL, 1),
            longs(Code.TILE_WIDTH, 16),
            longs(Code.TILE_LENGTH, 16),
            Field(Code.TILE_OFFSETS, Type.LONG8, count, Hole((key, "offsets"), 8 * count)),
            Field(Code.TILE_BYTE_COUNTS, Type.LONG, count, Hole((key, "counts"), 4 * count)),
            *fields,
        ),
        children,
    )


def arrays(key: int, offsets: list[int], counts: list[int]) -> dict[tuple[int, str], bytes]:
    return {
        (key, "offsets"): struct.pack(f"<{len(offsets)}Q", *offsets),
        (key, "counts"): struct.pack(f"<{len(counts)}I", *counts),
    }


def test_chain_and_sub_directories(tmp_path: Path) -> None:
    small = [picture(key, 1, text(Code.IMAGE_DESCRIPTION, f"small {key}")) for key in (10, 11, 12)]
    chain = [
        picture(0, 3, text(Code.IMAGE_DESCRIPTION, "first"), children=(small[0], small[1])),
        picture(1, 2, text(Code.IMAGE_DESCRIPTION, "second")),
        picture(2, 1, text(Code.IMAGE_DESCRIPTION, "third"), children=(small[2],)),
    ]
    path = tmp_path / "chain.tif"
    path.write_bytes(filled(lay_out(chain)))
    found = walk(path)
    assert found.problems == []
    assert found.big
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        pages = [page.aspage() for page in tiff.pages]
        assert [page.description for page in pages] == ["first", "second", "third"]
        names = [[sub.aspage().description for sub in page.pages or ()] for page in pages]
        assert names == [["small 10", "small 11"], [], ["small 12"]]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_holes_of_any_size_lie_where_their_tags_say(count: int, tmp_path: Path) -> None:
    """One offset lies in the entry itself, two byte counts do too."""
    header = lay_out([picture(7, count), picture(8, 1)])
    offsets = [1_000 + 10 * n for n in range(count)]
    counts = [500 + n for n in range(count)]
    holes = arrays(7, offsets, counts) | arrays(8, [1 << 33], [77])
    path = tmp_path / "holes.tif"
    path.write_bytes(filled(header, holes))
    first, second = walk(path).directories
    assert [values.tolist() for values in first.segments()] == [offsets, counts]
    assert [values.tolist() for values in second.segments()] == [[1 << 33], [77]]


def test_pictures_of_one_key_share_their_arrays(tmp_path: Path) -> None:
    once = lay_out([picture(3, 100)])
    twice = lay_out([picture(3, 100), picture(3, 100)])
    other = lay_out([picture(3, 100), picture(4, 100)])
    assert twice.size - once.size < 300
    assert other.size - twice.size == 1200
    path = tmp_path / "shared.tif"
    path.write_bytes(filled(twice, arrays(3, list(range(100, 200)), list(range(100)))))
    one, two = walk(path).directories
    assert one.segments()[0].tolist() == two.segments()[0].tolist() == list(range(100, 200))


def test_equal_values_are_stored_once() -> None:
    profile = bytes(range(256)) * 20
    field = undefined(Code.ICC_PROFILE, profile)
    data = filled(lay_out([picture(n, 1, field) for n in range(4)]))
    assert data.count(profile) == 1
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        assert [page.aspage().tags[34675].value for page in tiff.pages] == [profile] * 4


def test_arrays_come_last() -> None:
    """So a reader that only looks at the tags needs no frame table."""
    header = lay_out([picture(n, 1000, text(Code.IMAGE_DESCRIPTION, "x" * 999)) for n in range(3)])
    holes = [n for n, part in enumerate(header.parts) if isinstance(part, Hole) and part.size > 8]
    assert len(holes) == 6
    rest = header.parts[holes[0] :]
    assert sum(len(part) for part in rest if isinstance(part, bytes)) <= 6


def test_the_file_starts_with_its_first_directory() -> None:
    data = filled(lay_out([picture()]))
    assert data[:8] == b"II\x2b\0\x08\0\0\0"
    assert struct.unpack_from("<Q", data, 8) == (HEADER_SIZE,)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=4)
)
def test_texts(texts: list[str]) -> None:
    chain = [picture(n, 1, text(Code.IMAGE_DESCRIPTION, value)) for n, value in enumerate(texts)]
    with tifffile.TiffFile(io.BytesIO(filled(lay_out(chain)))) as tiff:
        for page, value in zip(tiff.pages, texts, strict=True):
            raw = page.aspage().tags[270]
            data = tiff.filehandle
            data.seek(raw.valueoffset)
            stored = data.read(raw.count)
            assert stored == value.replace("\0", "").encode() + b"\0"


@given(st.floats(1e-9, 4e9))
@example(4000.0)
@example(40000.0)
@example(10 / 0.000251)
@example(10 / 0.00025 / 3)
@example(2.0**32 - 1)
@example(1e-9)
@example(1.0)
def test_rationals_are_exact_enough(value: float) -> None:
    """Resolutions: half a pixel in a million would show at the far edge of a slide."""
    field = rationals(Code.X_RESOLUTION, value)
    assert isinstance(field.data, bytes)
    numerator, denominator = struct.unpack("<2I", field.data)
    assert denominator
    seen = numerator / denominator
    assert math.isclose(seen, value, rel_tol=1e-9, abs_tol=5e-10)


def test_rationals_of_whole_numbers_are_exact() -> None:
    field = rationals(532, 0, 255, 128, 255, 128, 255)
    assert isinstance(field.data, bytes)
    parts = struct.unpack("<12I", field.data)
    values = [a / b for a, b in zip(parts[::2], parts[1::2], strict=True)]
    assert values == [0, 255, 128, 255, 128, 255]


def test_fields_know_their_count_and_type() -> None:
    assert shorts(1, 1, 2, 3) == Field(1, Type.SHORT, 3, b"\1\0\2\0\3\0")
    assert longs(1, 1) == Field(1, Type.LONG, 1, b"\1\0\0\0")
    assert undefined(1, b"ab") == Field(1, Type.UNDEFINED, 2, b"ab")
    assert text(1, "é") == Field(1, Type.ASCII, 3, "é".encode() + b"\0")
    assert [kind.width for kind in Type] == [1, 1, 2, 4, 8, 1, 8, 8]
