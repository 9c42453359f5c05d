"""Per-frame positions: what pydicom wrote is what is read, however the items differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence

from dicomfs.dicom.elements import read_layout
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.per_frame import FrameItems, read_frame_items
from dicomfs.dicom.read import read_instance
from dicomfs.errors import LimitExceededError, MalformedDicomError
from dicomfs.limits import DEFAULT_LIMITS, Limits
from tests.dicom.objects import ENCODINGS, Writer, drive, drive_file, front
from tests.fixtures.datasets import dataset_bytes, undefined_lengths
from tests.fixtures.large import write_large

PER_FRAME = 0x52009230


@dataclass(frozen=True, slots=True)
class Item:
    """What one item says; None for what it leaves out.  column, row: 1-based; z, x: as written."""

    column: int | None = 1
    row: int | None = 1
    z: str | None = None
    x: str | None = None
    path: str | None = None
    content: int = 0  # how many Dimension Index Values
    private: int = 0  # how many bytes of a private element
    undefined: bool = False

    def dataset(self) -> Dataset:
        item = Dataset()
        if self.content:
            content = Dataset()
            content.DimensionIndexValues = list(range(1, self.content + 1))
            item.FrameContentSequence = Sequence([content])
        plane = Dataset()
        if self.x is not None:
            plane.XOffsetInSlideCoordinateSystem = self.x
        if self.z is not None:
            plane.ZOffsetInSlideCoordinateSystem = self.z
        if self.column is not None:
            plane.ColumnPositionInTotalImagePixelMatrix = self.column
        if self.row is not None:
            plane.RowPositionInTotalImagePixelMatrix = self.row
        if len(plane):
            item.PlanePositionSlideSequence = Sequence([plane])
        if self.path is not None:
            path = Dataset()
            path.OpticalPathIdentifier = self.path
            item.OpticalPathIdentificationSequence = Sequence([path])
        if self.private:
            item.add_new(0x52010010, "LO", "FIXTURE")
            item.add_new(0x52011001, "OB", bytes(self.private))
        item.is_undefined_length_sequence_item = self.undefined
        for element in item:
            if element.VR == "SQ" and self.undefined:
                undefined_lengths(item, element.keyword)
        return item


def written(items: list[Item], writer: Writer, *, undefined: bool) -> bytes:
    """An object with these items, as pydicom writes it."""
    ds = Dataset()
    ds.PerFrameFunctionalGroupsSequence = Sequence([item.dataset() for item in items])
    ds["PerFrameFunctionalGroupsSequence"].is_undefined_length = undefined
    syntax = writer.transfer_syntax
    pixels = writer.element(0x7FE00010, "OW", bytes(64))
    return front(syntax) + dataset_bytes(ds, syntax) + pixels


def items_of(data: bytes, limits: Limits = DEFAULT_LIMITS) -> FrameItems:
    layout = drive(read_layout(len(data), limits), data)
    if layout.frame_items is not None:
        return layout.frame_items
    assert layout.per_frame is not None
    steps = read_frame_items(len(data), layout.per_frame, layout.encoding, limits, delimited=False)
    return drive(steps, data)


def check(items: list[Item], found: FrameItems) -> None:
    assert len(found) == len(items)
    assert found.columns.tolist() == [item.column or 0 for item in items]
    assert found.rows.tolist() == [item.row or 0 for item in items]
    expected = [math.nan if item.z is None else float(item.z) for item in items]
    np.testing.assert_array_equal(found.z_um, np.array(expected, np.float64))
    names = [found.path_identifiers[n] if n >= 0 else None for n in found.paths.tolist()]
    assert names == [(item.path or "").strip() or None for item in items]
    used = dict.fromkeys(name for name in names if name is not None)
    assert found.path_identifiers == tuple(used)
    dtypes = [found.columns.dtype, found.rows.dtype, found.z_um.dtype, found.paths.dtype]
    assert dtypes == [np.int32, np.int32, np.float64, np.int16]


_POSITIONS = st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1), st.integers(1, 5000))
_DECIMALS = st.one_of(
    st.none(),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.8g}"),
    st.sampled_from(["0", "-0", "1E2", "0.0000000001", "  3.5", "+12"]),
)
_ITEMS = st.builds(
    Item,
    column=_POSITIONS,
    row=_POSITIONS,
    z=_DECIMALS,
    x=_DECIMALS,
    path=st.sampled_from([None, "1", "2", "DAPI", "#3 µm", "a name that is quite long"[:16]]),
    content=st.integers(0, 3),
    private=st.sampled_from([0, 0, 0, 2, 10]),
    undefined=st.booleans(),
)


@settings(max_examples=60)
@given(
    st.lists(_ITEMS, min_size=1, max_size=6),
    st.lists(st.integers(0, 5), max_size=40),
    st.sampled_from(list(ENCODINGS.values())),
    st.booleans(),
)
def test_whatever_the_items_say(
    kinds: list[Item], order: list[int], writer: Writer, undefined: bool
) -> None:
    """Items in runs and in turns, of a few kinds."""
    items = [*kinds, *(kinds[number % len(kinds)] for number in order)]
    check(items, items_of(written(items, writer, undefined=undefined)))


@pytest.mark.parametrize("writer", ENCODINGS.values(), ids=ENCODINGS)
def test_many_items_that_differ_in_every_way(writer: Writer) -> None:
    """More shapes than are remembered, more than are learned, and values of every length."""
    rng = np.random.default_rng(7)
    items = [
        Item(
            column=int(rng.integers(1, 1 << 20)) if rng.random() < 0.9 else None,
            row=int(rng.integers(1, 1 << 20)),
            z=f"{rng.normal() * 10.0 ** rng.integers(-4, 6):.{rng.integers(1, 9)}g}"
            if rng.random() < 0.8
            else None,
            x=f"{rng.normal():.{rng.integers(1, 12)}g}",
            path="abcdefghijklmnop"[: rng.integers(1, 17)] if rng.random() < 0.5 else None,
            content=int(rng.integers(0, 4)),
            private=2 * int(rng.integers(0, 3)),
            undefined=bool(rng.random() < 0.5),
        )
        for _ in range(300)
    ]
    check(items, items_of(written(items, writer, undefined=writer.implicit)))


def test_the_first_item_is_kept_for_what_else_it_says() -> None:
    writer = Writer()
    items = [Item(column=5, content=2), Item(column=6)]
    found = items_of(written(items, writer, undefined=False))
    assert found.first_item == dataset_bytes(items[0].dataset(), writer.transfer_syntax)


def position(writer: Writer, column: bytes, *, value: bytes = b"") -> bytes:
    inner = writer.element(0x0048021E, "SL", column) + value
    return writer.item(writer.sequence(0x0048021A, [writer.item(inner)]))


def test_a_value_of_the_wrong_size_counts_as_absent() -> None:
    writer = Writer()
    items = [position(writer, struct) for struct in (b"", b"\1\0", b"\7\0\0\0", bytes(8))]
    data = front(writer.transfer_syntax) + writer.sequence(PER_FRAME, items)
    assert items_of(data).columns.tolist() == [0, 0, 7, 0]


def test_a_height_that_is_no_number_counts_as_absent() -> None:
    writer = Writer()
    heights = [b"1.5", b"n/a ", b"", b"2\\3", b"7 "]
    items = [
        position(writer, b"\1\0\0\0", value=writer.element(0x0040074A, "DS", z)) for z in heights
    ]
    data = front(writer.transfer_syntax) + writer.sequence(PER_FRAME, items)
    found = items_of(data).z_um
    assert found[0] == 1.5
    assert np.isnan(found[1:4]).all()
    assert found[4] == 7


def test_no_items() -> None:
    for undefined in (False, True):
        found = items_of(written([], Writer(), undefined=undefined))
        assert len(found) == 0
        assert (found.path_identifiers, found.first_item) == ((), b"")


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("writer", ENCODINGS.values(), ids=ENCODINGS)
def test_damaged_items_are_errors(writer: Writer, undefined: bool) -> None:
    good = writer.item(writer.sequence(0x0048021A, []))
    start = front(writer.transfer_syntax)
    wrong = [
        writer.element(0x00080016, "UI", "1.2"),  # where an item belongs
        writer.head(0xFFFEE00D, "", 0),
        writer.head(0xFFFEE000, "", 0xFFFFFFFF) + writer.head(0xFFFEE000, "", 0),
        writer.head(0xFFFEE000, "", 6) + writer.head(0x0048021A, "SQ", 0),  # longer than declared
        writer.head(0xFFFEE000, "", 0xFFFFFFF0) + writer.head(0x00091001, "UT", 0xFFFFFF00),
    ]
    for item in wrong:
        data = start + writer.sequence(PER_FRAME, [good, good, item], undefined=undefined)
        with pytest.raises((MalformedDicomError, LimitExceededError)):
            items_of(data + bytes(40))


def test_a_sequence_that_the_file_does_not_end_is_an_error() -> None:
    writer = Writer()
    data = front(writer.transfer_syntax) + writer.head(PER_FRAME, "SQ", 0xFFFFFFFF)
    for behind in (b"", writer.item(b""), writer.item(b"") + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"):
        with pytest.raises(MalformedDicomError, match="per-frame"):
            items_of(data + behind)


def test_every_limit_holds() -> None:
    writer = Writer()
    data = written([Item()] * 50, writer, undefined=True)
    with pytest.raises(LimitExceededError, match="20 frames"):
        items_of(data, Limits(frames=20))
    varied = [Item(private=2 * n) for n in range(50)]
    with pytest.raises(LimitExceededError, match="size"):
        items_of(written(varied, writer, undefined=True), Limits(per_frame_bytes=500))
    deep = b""
    for _ in range(80):
        deep = writer.sequence(0x00091001, [writer.item(deep)])
    nested = front(writer.transfer_syntax) + writer.sequence(PER_FRAME, [writer.item(deep)])
    with pytest.raises(LimitExceededError, match="deep"):
        items_of(nested)


@pytest.mark.parametrize(("frames", "lengths"), [(100_000, "explicit"), (20_000, "undefined")])
def test_very_many_frames(frames: int, lengths: str, tmp_path: Path) -> None:
    large = write_large(tmp_path / "large.dcm", frames, lengths=lengths)  # type: ignore[arg-type]
    instance = drive_file(read_instance(large.path.stat().st_size), large.path)
    assert isinstance(instance, Instance)
    assert instance.items is not None
    np.testing.assert_array_equal(instance.items.columns - 1, large.positions[:, 1])
    np.testing.assert_array_equal(instance.items.rows - 1, large.positions[:, 0])
    assert set(instance.items.z_um.tolist()) == {0.0}
    assert instance.items.path_identifiers == ("1",)
    assert not instance.items.paths.any()
    table = drive_file(instance.frame_table(), large.path)
    np.testing.assert_array_equal(table.offsets, large.offsets)
    assert set(table.lengths.tolist()) == {len(large.frame)}
