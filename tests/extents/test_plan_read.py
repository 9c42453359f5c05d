"""Planning a read, against the whole file as a plain bytes object built beside the table."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.extents import (
    ExtentTable,
    ExtentTableBuilder,
    Kind,
    Piece,
    TileRun,
    literal_table,
    plan_read,
    source_piece,
    total,
)

SOURCES = tuple(bytes((7 * i + 31 * n) % 251 + 1 for i in range(400)) for n in range(3))
"""What the source files hold; never zero."""

NO_BYTES = ord("?")
"""Stands in the expected file where there is nothing to read."""


@dataclass
class Written:
    """A table under construction and, independently, the file that it describes."""

    builder: ExtentTableBuilder = field(default_factory=ExtentTableBuilder)
    content: bytearray = field(default_factory=bytearray)
    kinds: list[Kind] = field(default_factory=list)
    tiles: list[int] = field(default_factory=list)  # for each byte, the number of its tile or -1
    painted: dict[int, bytes] = field(default_factory=dict)  # run key to the bytes of the run

    def add(self, kind: Kind, data: bytes, tiles: list[int] | None = None) -> None:
        self.content += data
        self.kinds += [kind] * len(data)
        self.tiles += tiles if tiles is not None else [-1] * len(data)

    def literal(self, data: bytes) -> None:
        self.builder.literal(data)
        self.add(Kind.LITERAL, data)

    def source(self, file: int, at: int, size: int) -> None:
        self.builder.source(file, at, size)
        self.add(Kind.SOURCE, SOURCES[file][at : at + size])

    def zeros(self, size: int) -> None:
        self.builder.zeros(size)
        self.add(Kind.ZERO, bytes(size))

    def fault(self, size: int) -> None:
        self.builder.fault(size)
        self.add(Kind.FAULT, bytes([NO_BYTES] * size))

    def deferred(self, size: int) -> None:
        self.builder.deferred(size)
        self.add(Kind.DEFERRED, bytes([NO_BYTES] * size))

    def run(self, tile_size: int, count: int) -> None:
        key = 1000 + len(self.painted)
        data = bytes((key + 5 * i) % 255 + 1 for i in range(tile_size * count))
        self.painted[key] = data
        self.builder.tiles(TileRun(key, tile_size, count))
        self.add(Kind.TILE, data, [i // tile_size for i in range(len(data))])

    def scattered(self, file: int, parts: list[tuple[int, int]]) -> None:
        """Parts as (size, offset in the source), a negative offset for zeros."""
        sizes = np.array([size for size, _ in parts], np.int64)
        ats = np.array([at for _, at in parts], np.int64)
        self.builder.scattered(file, sizes, ats)
        for size, at in parts:
            if at < 0:
                self.add(Kind.ZERO, bytes(size))
            else:
                self.add(Kind.SOURCE, SOURCES[file][at : at + size])

    def piece_bytes(self, table: ExtentTable, piece: Piece) -> bytes:
        """What a piece says its bytes are."""
        end = piece.at + piece.size
        if piece.kind is Kind.LITERAL:
            return table.literals[piece.ref][piece.at : end]
        if piece.kind is Kind.SOURCE:
            return SOURCES[piece.ref][piece.at : end]
        if piece.kind is Kind.TILE:
            return self.painted[table.runs[piece.ref].key][piece.at : end]
        assert (piece.ref, piece.at) == (0, 0)
        return bytes(piece.size) if piece.kind is Kind.ZERO else bytes([NO_BYTES] * piece.size)


_SIZES = st.integers(0, 40)
_AT = st.integers(0, 300)
_PART = st.one_of(
    st.tuples(st.just("literal"), st.binary(max_size=40)),
    st.tuples(st.just("source"), st.integers(0, 2), _AT, _SIZES),
    st.tuples(st.just("zeros"), _SIZES),
    st.tuples(st.just("fault"), _SIZES),
    st.tuples(st.just("deferred"), _SIZES),
    st.tuples(st.just("run"), st.integers(1, 17), st.integers(0, 6)),
    st.tuples(
        st.just("scattered"),
        st.integers(0, 2),
        st.lists(st.tuples(_SIZES, st.one_of(st.just(-1), _AT)), max_size=6),
    ),
)


def build(parts: list[tuple[object, ...]]) -> Written:
    written = Written()
    for name, *arguments in parts:
        getattr(written, str(name))(*arguments)
    return written


def check(written: Written, table: ExtentTable, offset: int, size: int) -> None:
    content = bytes(written.content)
    pieces = plan_read(table, offset, size)
    expected = content[offset : offset + size]
    assert total(pieces) == len(expected) == max(0, min(size, len(content) - offset))
    at = offset
    for piece in pieces:
        assert piece.size > 0
        here = slice(at, at + piece.size)
        assert set(written.kinds[here]) == {piece.kind}
        assert written.piece_bytes(table, piece) == content[here]
        assert len(set(written.tiles[here])) == 1  # no piece crosses from one tile into the next
        at += piece.size
    if 0 < size == len(expected):
        piece_of_source = source_piece(table, offset, size)
        is_one = [piece.kind for piece in pieces] == [Kind.SOURCE]
        assert piece_of_source == (pieces[0] if is_one else None)


@given(st.lists(_PART, max_size=12), st.data())
def test_a_read_is_the_same_part_of_the_whole(
    parts: list[tuple[object, ...]], data: st.DataObject
) -> None:
    written = build(parts)
    table = written.builder.build()
    size = len(written.content)
    assert table.size == written.builder.size == size
    for offset in (0, size, size + 7, data.draw(st.integers(0, size + 3))):
        check(written, table, offset, data.draw(st.integers(0, size + 3)))
        check(written, table, offset, size + 10)
    assert table.deferred == (Kind.DEFERRED in written.kinds)


def test_every_read_of_a_small_file() -> None:
    written = Written()
    written.literal(b"head")
    written.source(1, 30, 5)
    written.run(3, 4)
    written.fault(2)
    written.zeros(3)
    written.scattered(2, [(2, 7), (0, 9), (3, -1), (1, 0)])
    written.run(5, 1)
    written.deferred(2)
    written.literal(b"end")
    table = written.builder.build()
    for offset in range(len(written.content) + 3):
        for size in range(len(written.content) + 3):
            check(written, table, offset, size)


def test_tiles_are_numbered_by_their_place_in_the_run() -> None:
    builder = ExtentTableBuilder()
    builder.zeros(10)
    builder.tiles(TileRun(9, 100, 3))
    pieces = plan_read(builder.build(), 60, 200)
    assert pieces == [(Kind.TILE, 50, 0, 50), (Kind.TILE, 100, 0, 100), (Kind.TILE, 50, 0, 200)]


def test_a_read_that_ends_where_a_tile_ends_asks_for_no_other() -> None:
    builder = ExtentTableBuilder()
    builder.tiles(TileRun(1, 100, 3))
    assert plan_read(builder.build(), 100, 100) == [(Kind.TILE, 100, 0, 100)]


@pytest.mark.parametrize(("offset", "size"), [(-1, 10), (0, -1), (-5, -5)])
def test_negative_offsets_and_sizes_are_errors(offset: int, size: int) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        plan_read(literal_table(b"12345"), offset, size)


def test_no_piece_of_a_source_lies_before_the_beginning() -> None:
    written = Written()
    written.source(0, 10, 5)
    assert source_piece(written.builder.build(), -1, 1) is None


def test_extents_of_negative_size_are_errors() -> None:
    builder = ExtentTableBuilder()
    for add in (builder.zeros, builder.fault, builder.deferred):
        with pytest.raises(ValueError, match="-1 bytes"):
            add(-1)
    with pytest.raises(ValueError, match="-3 bytes"):
        builder.source(0, 0, -3)
    assert builder.build().size == 0


def test_nothing_has_no_extents() -> None:
    builder = ExtentTableBuilder()
    builder.literal(b"")
    builder.zeros(0)
    builder.tiles(TileRun(1, 100, 0))
    builder.scattered(0, np.zeros(2, np.int64), np.zeros(2, np.int64))
    table = builder.build()
    assert (len(table), table.size, table.literals, table.runs) == (0, 0, (), ())
    assert plan_read(table, 0, 10) == []


def test_offsets_beyond_4_gib() -> None:
    """A slide has such sizes; nothing may be counted in 32 bits."""
    big = 5 << 32
    builder = ExtentTableBuilder()
    builder.zeros(big)
    builder.source(3, 1 << 40, big)
    builder.scattered(4, np.array([big, 10], np.int64), np.array([1 << 41, -1], np.int64))
    builder.tiles(TileRun(0, 1 << 20, 1 << 14))
    table = builder.build()
    assert table.size == 3 * big + 10 + (1 << 34)
    assert plan_read(table, 2 * big - 5, 10) == [
        (Kind.SOURCE, 5, 3, (1 << 40) + big - 5),
        (Kind.SOURCE, 5, 4, 1 << 41),
    ]
    assert plan_read(table, 3 * big, 20) == [(Kind.ZERO, 10, 0, 0), (Kind.TILE, 10, 0, 0)]
    assert plan_read(table, table.size - 1, 9) == [(Kind.TILE, 1, 0, (1 << 34) - 1)]


def test_memory_is_accounted_for() -> None:
    builder = ExtentTableBuilder()
    builder.literal(bytes(1000))
    builder.scattered(0, np.full(100, 5, np.int64), np.arange(100, dtype=np.int64))
    table = builder.build()
    assert len(table) == 101
    held = sum(len(a) * a.itemsize for a in (table.starts, table.refs, table.ats))
    assert table.nbytes == held + len(table.kinds) + 1000
