"""Frame tables: every frame's bytes are found, whichever way they are stored or mislabelled.

Oracles: the places that the encapsulation writer of the fixtures knows, and pydicom's own reading
of the same bytes.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import get_frame

from dicomfs.dicom.elements import Layout, read_layout
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.frames import read_first_frame, read_frame_table, read_last_frame
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.read import read_instance
from dicomfs.errors import LimitExceededError, MalformedDicomError
from dicomfs.limits import DEFAULT_LIMITS, Limits
from tests.dicom.objects import Writer, drive, drive_file, front
from tests.fixtures.encapsulation import Offsets, PixelDataElements, encapsulated, native
from tests.fixtures.large import write_beyond_4_gib

JPEG = "1.2.840.10008.1.2.4.50"
START = front(JPEG)


def frames_of(sizes: Sequence[int], seed: int = 0, start: bytes | None = None) -> list[bytes]:
    """Frames that start and end as those of JPEG do, and hold nothing else that looks like it.

    sizes : bytes of what lies between; start : instead of the start of a JPEG, and no end
    """
    rng = random.Random(seed)
    head, end = (b"\xff\xd8\xff\xe0", b"\xff\xd9") if start is None else (start, b"")
    return [head + bytes(rng.choices(range(1, 250), k=size)) + end for size in sizes]


def layout_of(data: bytes) -> Layout:
    return drive(read_layout(len(data), DEFAULT_LIMITS), data)


def table_of(
    data: bytes, frames: int, frame_bytes: int = 1 << 30, limits: Limits = DEFAULT_LIMITS
) -> FrameTable:
    return drive(read_frame_table(layout_of(data), frames, frame_bytes, limits), data)


def bytes_of(data: bytes, table: FrameTable, frame: int) -> bytes:
    return b"".join(data[offset : offset + size] for offset, size in table.ranges(frame))


def check(data: bytes, table: FrameTable, frames: Sequence[bytes]) -> None:
    """Every frame is where its bytes are, perhaps with the byte that pads it to even length."""
    assert len(table) == len(frames)
    for number, frame in enumerate(frames):
        assert bytes_of(data, table, number) in (frame, frame + b"\0")
        assert table.lengths[number] == sum(size for _, size in table.ranges(number))
        assert table.offsets[number] == table.ranges(number)[0].offset
    ends = [offset + size for n in range(len(frames)) for offset, size in table.ranges(n)]
    assert table.span_end == max(ends)
    assert table.nbytes >= table.offsets.nbytes + table.lengths.nbytes


RIGHT = {"bot": "BOT", "empty": "items", "eot": "EOT", "eot-exact": "EOT", "bot+eot": "EOT"}
"""Tables that are right, and what the frame table is then read from."""


@pytest.mark.parametrize("offsets", get_args(Offsets))
@pytest.mark.parametrize("count", [1, 2, 7])
def test_one_fragment_per_frame(offsets: Offsets, count: int) -> None:
    frames = frames_of([30 + 7 * n for n in range(count)])
    written = encapsulated(frames, offsets=offsets)
    data = START + written.data
    table = table_of(data, count)
    check(data, table, frames)
    for number, spans in enumerate(written.fragments):
        assert table.offsets[number] == len(START) + spans[0].start
    assert table.fragments is None
    right = RIGHT.get(offsets)
    if right:
        assert (table.method, table.problems) == (right, ())
    elif count > 1 and offsets != "fragments":
        assert table.method == "items"
        assert table.problems


@pytest.mark.parametrize("offsets", ["bot", "empty", "fragments", "zeros", "short", "shifted"])
@pytest.mark.parametrize("empties", [False, True])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_several_fragments_per_frame(offsets: Offsets, empties: bool, count: int) -> None:
    frames = frames_of([100 + 31 * n for n in range(count)])
    written = encapsulated(frames, offsets=offsets, fragment_size=32, empty_fragments=empties)
    data = START + written.data
    table = table_of(data, count)
    check(data, table, frames)
    assert table.fragments is not None
    assert table.fragments.frames.tolist() == list(range(count))
    assert (table.problems == ()) == (offsets in ("bot", "empty") or (count == 1 and (
        offsets in ("zeros", "short"))))  # fmt: skip


@pytest.mark.parametrize("offsets", ["bot", "empty", "eot"])
@pytest.mark.parametrize("pad", [True, False])
def test_no_sequence_delimiter(offsets: Offsets, pad: bool) -> None:
    frames = frames_of([31, 32, 33])
    data = START + encapsulated(frames, offsets=offsets, delimiter=False, pad=pad).data
    check(data, table_of(data, 3), frames)


@pytest.mark.parametrize("offsets", ["bot", "empty", "eot"])
def test_what_follows_the_pixel_data_is_no_frame(offsets: Offsets) -> None:
    frames = frames_of([31, 32, 33])
    behind = Writer().element(0xFFFCFFFC, "OB", b"\xfe\xff\x00\xe0" + b"\x08\0\0\0" + bytes(50))
    for delimiter in (True, False):
        data = START + encapsulated(frames, offsets=offsets, delimiter=delimiter).data + behind
        check(data, table_of(data, 3), frames)


@given(
    st.lists(st.integers(0, 90), min_size=1, max_size=8),
    st.sampled_from(get_args(Offsets)),
    st.sampled_from([None, 2, 16, 34, 50, 1000]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_any_combination(
    sizes: list[int],
    offsets: Offsets,
    fragment_size: int | None,
    empties: bool,
    delimiter: bool,
    pad: bool,
) -> None:
    """Right tables lead to the frames whatever else is odd; wrong ones never lead elsewhere."""
    frames = frames_of([size + 12 for size in sizes])
    written = encapsulated(
        frames,
        offsets=offsets,
        fragment_size=fragment_size,
        empty_fragments=empties,
        delimiter=delimiter,
        pad=pad,
    )
    data = START + written.data
    table = table_of(data, len(frames))
    tiny = fragment_size is not None and fragment_size < 16  # no start of a frame can be seen
    if not tiny or offsets == "bot":
        check(data, table, frames)
    for number in range(len(frames)):
        for offset, size in table.ranges(number):
            assert len(START) < offset <= offset + size <= len(data)


@pytest.mark.parametrize("offsets", ["bot", "empty"])
@pytest.mark.parametrize("fragment_size", [None, 20])
def test_pydicom_finds_the_same_frames(offsets: Offsets, fragment_size: int | None) -> None:
    frames = frames_of([50, 61, 70, 81])
    written = encapsulated(frames, offsets=offsets, fragment_size=fragment_size)
    data = START + written.data
    table = table_of(data, 4)
    value = written.data[12:]
    for number in range(4):
        seen = get_frame(value, number, number_of_frames=4)
        assert seen == bytes_of(data, table, number)


def test_pydicom_finds_the_same_frames_by_the_extended_table() -> None:
    frames = frames_of([50, 61, 70, 81])
    data = START + encapsulated(frames, offsets="eot").data
    layout = layout_of(data)
    assert layout.pixel_data is not None
    tables = []
    for span in (layout.extended_offsets, layout.extended_lengths):
        assert span is not None
        tables.append(data[span.offset : span.offset + span.size])
    table = table_of(data, 4)
    for number in range(4):
        value = data[layout.pixel_data.offset :]
        seen = get_frame(value, number, extended_offsets=(tables[0], tables[1]))
        assert seen == bytes_of(data, table, number)


@pytest.mark.parametrize("count", [1, 3])
def test_run_length_encoded_frames_start_with_their_header(count: int) -> None:
    head = struct.pack("<16I", 3, 64, 90, 120, *[0] * 12)
    frames = frames_of([100, 133, 90][:count], start=head)
    for fragment_size in (None, 70):
        data = START + encapsulated(frames, offsets="empty", fragment_size=fragment_size).data
        check(data, table_of(data, count), frames)


def test_frames_without_a_start_are_told_by_their_size() -> None:
    """Encapsulated uncompressed, PS3.5 A.4.11."""
    frames = frames_of([60] * 5, start=b"")
    data = START + encapsulated(frames, offsets="empty", fragment_size=20).data
    check(data, table_of(data, 5, frame_bytes=60), frames)


@pytest.mark.parametrize(
    ("offsets", "fragment_size"),
    [
        *[(offsets, None) for offsets in ("bot", "empty", "eot", "missing-bot-item")],
        *[(offsets, 20) for offsets in ("bot", "empty", "missing-bot-item")],
    ],
)
def test_fewer_frames_than_declared(offsets: Offsets, fragment_size: int | None) -> None:
    frames = frames_of([50, 61, 70])
    data = START + encapsulated(frames, offsets=offsets, fragment_size=fragment_size).data
    table = table_of(data, 5)
    for number, frame in enumerate(frames):
        assert bytes_of(data, table, number) in (frame, frame + b"\0")
    assert table.offsets[3:].tolist() == [-1, -1]
    assert table.lengths[3:].tolist() == [0, 0]
    assert table.ranges(3) == table.ranges(4) == []
    assert any("2 of 5 frames are missing" in problem for problem in table.problems)


@pytest.mark.parametrize("fragment_size", [None, 20])
@pytest.mark.parametrize("offsets", ["bot", "empty", "missing-bot-item"])
def test_more_frames_than_declared(offsets: Offsets, fragment_size: int | None) -> None:
    """The last frame that is declared does not swallow those that are not."""
    frames = frames_of([50, 61, 70, 81, 90])
    data = START + encapsulated(frames, offsets=offsets, fragment_size=fragment_size).data
    table = table_of(data, 3)
    for number in range(3):
        assert bytes_of(data, table, number) in (frames[number], frames[number] + b"\0")
    assert table.problems


@pytest.mark.parametrize("count", [1, 4])
def test_no_frames_at_all(count: int) -> None:
    for offsets in ("bot", "empty"):
        data = START + encapsulated([], offsets=offsets).data
        table = table_of(data, count)
        assert table.offsets.tolist() == [-1] * count
        assert table.lengths.tolist() == [0] * count
    empties = encapsulated([b""] * count, offsets="empty", empty_fragments=True)
    table = table_of(START + empties.data, count)
    assert table.offsets.tolist() == [-1] * count


def test_no_item_at_all() -> None:
    head = Writer().head(0x7FE00010, "OB", 0xFFFFFFFF)
    for behind in (b"", b"\xff\xd8\xff\xe0", Writer().head(0xFFFEE0DD, "", 0)):
        with pytest.raises(MalformedDicomError, match="item"):
            table_of(START + head + behind, 1)


def test_an_empty_frame_among_others_is_missing() -> None:
    frames = frames_of([50, 61, 70])
    frames[1] = b""
    data = START + encapsulated(frames, offsets="bot").data
    table = table_of(data, 3)
    assert [bytes_of(data, table, n) for n in range(3)] == [frames[0], b"", frames[2]]
    assert any("1 of 3 frames are missing" in problem for problem in table.problems)


def test_a_table_that_points_into_frames_is_not_believed() -> None:
    """Every entry is an item header, but of an item inside another frame."""
    inner = b"\xfe\xff\x00\xe0\x04\0\0\0abcd"
    frames = [b"\xff\xd8\xff\xe0" + inner * 3 + bytes([9] * 20) for _ in range(3)]
    right = encapsulated(frames, offsets="bot").data
    wrong = bytearray(right)
    wrong[12 + 8 + 4 : 12 + 8 + 8] = struct.pack("<I", 12)  # the second frame starts in the first
    data = START + bytes(wrong)
    check(data, table_of(data, 3), frames)


def test_lengths_of_the_extended_table_tell_the_padding_at_most() -> None:
    frames = frames_of([50, 60])
    data = START + encapsulated(frames, offsets="eot").data
    layout = layout_of(data)
    assert layout.extended_lengths is not None
    at = layout.extended_lengths.offset
    for lengths, expected in (
        ((56, 65), (56, 65)),
        ((9999, 20), (56, 66)),
        ((0, 66), (56, 66)),
        ((1 << 63, 1), (56, 66)),
    ):
        changed = data[:at] + struct.pack("<2Q", *lengths) + data[at + 16 :]
        assert tuple(table_of(changed, 2).lengths.tolist()) == expected


def test_the_number_of_fragments_has_a_limit() -> None:
    data = START + encapsulated(frames_of([40] * 20), offsets="empty").data
    with pytest.raises(LimitExceededError, match="10 fragments"):
        table_of(data, 20, limits=Limits(fragments=10))


@pytest.mark.parametrize("offsets", ["bot", "eot"])
def test_a_table_tells_frames_apart_in_a_file_that_was_cut_off(offsets: Offsets) -> None:
    """Also where a frame is damaged so that it does not look like one."""
    frames = frames_of([50, 61, 70, 81, 90])
    frames[1] = bytes(60)
    written = encapsulated(frames, offsets=offsets)
    ends = [len(START) + spans[-1].start + spans[-1].length for spans in written.fragments]
    ends = [end + len(frame) % 2 for end, frame in zip(ends, frames, strict=True)]
    for size in range(ends[2] + 2, ends[4] - 1):
        data = (START + written.data)[:size]
        table = table_of(data, 5)
        there = [size >= end for end in ends]
        assert [bool(table.ranges(number)) for number in range(5)] == there
        for number in range(3):
            assert bytes_of(data, table, number) in (frames[number], frames[number] + b"\0")
        assert "the file ends inside a frame" in table.problems


@pytest.mark.parametrize("fragment_size", [20, 34])
def test_a_table_tells_fragments_apart_in_a_file_that_was_cut_off(fragment_size: int) -> None:
    frames = frames_of([100, 110, 120, 130])
    written = encapsulated(frames, offsets="bot", fragment_size=fragment_size)
    ends = [len(START) + spans[-1].start + spans[-1].length for spans in written.fragments]
    starts = [len(START) + spans[0].start for spans in written.fragments]
    for size in range(starts[2], ends[2] - 1):
        data = (START + written.data)[:size]
        table = table_of(data, 4)
        # Of the third frame there are fragments, but not all.
        assert [bool(table.ranges(number)) for number in range(4)] == [True, True, False, False]
        check(data, FrameTable(table.offsets[:2], table.lengths[:2], table.span_end,
                               table.fragments, table.method), frames[:2])  # fmt: skip


@pytest.mark.parametrize("value", [1 << 62, (1 << 63) - 1, (1 << 63) - 9, 1 << 63, (1 << 64) - 1])
def test_absurd_offsets_are_not_believed(value: int) -> None:
    frames = frames_of([50, 60, 70])
    data = START + encapsulated(frames, offsets="eot").data
    at = layout_of(data).extended_offsets
    assert at is not None
    for number in range(3):
        place = at.offset + 8 * number
        changed = data[:place] + struct.pack("<Q", value) + data[place + 8 :]
        check(changed, table_of(changed, 3), frames)


# --- native ---------------------------------------------------------------------------------------


def native_object(frames: Sequence[bytes], pad: bool = True) -> bytes:
    return front("1.2.840.10008.1.2.1") + native(frames, pad=pad).data


def test_native_frames_follow_each_other() -> None:
    frames = frames_of([20] * 4, start=b"")
    data = native_object(frames)
    table = table_of(data, 4, 20)
    check(data, table, frames)
    assert (table.method, table.problems, table.fragments) == ("native", (), None)


def test_a_native_frame_may_lack_its_last_byte() -> None:
    """Writers forget it where the length is odd."""
    frames = frames_of([75, 75], start=b"")
    data = native_object([b"".join(frames)[:-1]], pad=False)
    table = table_of(data, 2, 75)
    assert table.offsets.tolist() == [len(data) - 149, len(data) - 74]
    assert table.span_end == len(data)
    assert table.problems == ()


@pytest.mark.parametrize("cut", [2, 20, 21, 39, 60])
def test_native_frames_behind_the_end_are_missing(cut: int) -> None:
    frames = frames_of([20] * 4, start=b"")
    data = native_object(frames)[:-cut]
    table = table_of(data, 4, 20)
    there = (80 - cut + 1) // 20
    assert [bool(table.ranges(n)) for n in range(4)] == [n < there for n in range(4)]
    assert f"{4 - there} of 4 frames" in table.problems[0]


def test_a_native_value_may_be_longer_than_its_frames() -> None:
    frames = frames_of([20] * 3, start=b"")
    data = native_object([*frames, b"padding!"])
    check(data, table_of(data, 3, 20), frames)


# --- the first and the last frame -----------------------------------------------------------------


@pytest.mark.parametrize("offsets", [*RIGHT, "missing-bot-item"])
@pytest.mark.parametrize("size", [1, 20, 10_000])
def test_the_first_and_the_last_frame_without_a_table(offsets: Offsets, size: int) -> None:
    frames = frames_of([300, 20, 500])
    data = START + encapsulated(frames, offsets=offsets).data
    layout = layout_of(data)
    first = drive(read_first_frame(layout, size), data)
    assert first == frames[0][:size]
    last = drive(read_last_frame(layout, 3, size), data)
    assert last == frames[2][:size]


def test_the_first_frame_of_native_pixel_data() -> None:
    data = native_object([b"0123456789"])
    assert drive(read_first_frame(layout_of(data), 4), data) == b"0123"
    assert drive(read_last_frame(layout_of(data), 1, 4), data) == b""


def test_no_first_and_no_last_frame() -> None:
    data = START + encapsulated([], offsets="empty").data
    assert drive(read_first_frame(layout_of(data), 100), data) == b""
    assert drive(read_last_frame(layout_of(data), 3, 100), data) == b""
    with pytest.raises(MalformedDicomError, match="no pixel data"):
        drive(read_first_frame(layout_of(START), 10), START)


# --- beyond 4 GiB ---------------------------------------------------------------------------------


@pytest.mark.parametrize("table_kind", ["bot", "eot", "empty"])
def test_frames_beyond_4_gib(table_kind: str, tmp_path: Path) -> None:
    """The Basic Offset Table has 32 bits and wraps; no other entry may be trusted blindly."""
    large = write_beyond_4_gib(tmp_path / "large.dcm", table=table_kind)  # type: ignore[arg-type]
    instance = drive_file(read_instance(large.path.stat().st_size), large.path)
    assert isinstance(instance, Instance)
    table = drive_file(instance.frame_table(), large.path)
    assert table.offsets.tolist() == large.offsets.tolist()
    assert (table.lengths == 3 << 29).all()
    assert (table.method, table.problems) == (RIGHT[table_kind], ())
    assert table.offsets.dtype == np.int64
    assert instance.code_stream is not None
    assert (instance.code_stream.width, instance.code_stream.height) == (64, 64)


def test_the_fixture_is_what_the_tests_take_it_for() -> None:
    frames = frames_of([20, 21])
    written: PixelDataElements = encapsulated(frames, fragment_size=10)
    for frame, spans in zip(frames, written.fragments, strict=True):
        assert b"".join(written.data[s.start : s.start + s.length] for s in spans) == frame
