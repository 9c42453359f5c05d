"""Records: what comes back is what went in, and what is no record is an error of one kind."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from dicomfs.catalog.catalogue import Rejection
from dicomfs.catalog.codec import RecordError, decode, decode_array, encode, encode_array
from dicomfs.catalog.records import frames_of, instance_of, record_of_frames
from dicomfs.dicom.frame_table import Fragments, FrameTable
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.read import read_instance
from dicomfs.dicom.steps import run_on_bytes
from tests.conftest import WrittenSeries

CASES = ["jpeg-420-jfif", "j2k-rct-sparse-gaps", "native-planes-and-paths-sparse", "native-rgb8"]


def same(one: object, other: object) -> bool:
    """Whether two values of facts are equal, arrays by their elements."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other, equal_nan=True)
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(other) and all(
            same(getattr(one, name), getattr(other, name)) for name in names
        )
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("case", CASES)
def test_facts_come_back(written: WrittenSeries, case: str) -> None:
    for path in written(case).paths:
        data = path.read_bytes()
        facts = run_on_bytes(read_instance(len(data)), data)
        record, shared = encode(facts, Instance)
        assert same(facts, instance_of(record, shared.get, len(data)))
        with pytest.raises(RecordError, match="another object"):
            instance_of(record, shared.get, len(data) + 1)
        if shared:
            with pytest.raises(RecordError, match="not there"):
                instance_of(record, lambda digest: None, len(data))
            with pytest.raises(RecordError, match="not there"):
                instance_of(record, lambda digest: b"something else", len(data))


def test_a_damaged_record_is_an_error() -> None:
    record, _ = encode(Rejection("1.2", "code", "Müller \udcff", ("a", "b")), Rejection)
    assert decode(record, Rejection) == Rejection("1.2", "code", "Müller \udcff", ("a", "b"))
    for at in range(len(record)):
        damaged = bytearray(record)
        damaged[at] ^= 0x55
        with pytest.raises(RecordError):
            decode(bytes(damaged), Rejection)
        with pytest.raises(RecordError):
            decode(record[:at], Rejection)
    with pytest.raises(RecordError):
        decode(record + b"x", Rejection)


@given(st.binary(max_size=200))
def test_what_is_no_record_is_an_error(content: bytes) -> None:
    for kind in (Rejection, Instance, FrameTable):
        with pytest.raises(RecordError):
            decode(zlib.compress(len(content).to_bytes(4, "little") + content), kind)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_arrays_come_back(numbers: list[int]) -> None:
    array = np.array(numbers, np.int64)
    assert_array_equal(decode_array(encode_array(array), "int64", len(array)), array)
    with pytest.raises(RecordError):
        decode_array(encode_array(array), "int64", len(array) + 1)


# ---------------------------------------------------------------- frame tables


def table(frames: int, **changes: Any) -> FrameTable:
    """Frames of random sizes, one behind the other as items."""
    lengths = np.random.default_rng(1).integers(4_000, 20_000, frames) * 2
    offsets = 5_000 + 8 + np.concatenate(([0], np.cumsum(lengths + 8)[:-1]))
    end = int(offsets[-1] + lengths[-1])
    plain = FrameTable(offsets.astype(np.int64), lengths.astype(np.int64), end, None, "BOT")
    return dataclasses.replace(plain, **changes)


def test_a_frame_table_takes_two_bytes_a_frame() -> None:
    frames = table(50_000)
    record = record_of_frames(frames)
    assert len(record) < 2.1 * len(frames)
    assert same(frames_of(record, frames.span_end), frames)


def test_missing_frames_and_fragments_come_back() -> None:
    frames = table(10)
    frames.offsets[3], frames.lengths[3] = -1, 0
    parts = Fragments(*(np.array(n, np.int64) for n in ([2], [0, 2], [9_000, 9_100], [50, 60])))
    frames = dataclasses.replace(frames, fragments=parts, problems=("a frame is missing",))
    assert same(frames_of(record_of_frames(frames), frames.span_end), frames)


@pytest.mark.parametrize(
    "changes",
    [
        {"span_end": 10**9},
        {"offsets": np.full(10, 10**9, np.int64)},
        {"offsets": np.full(10, -2, np.int64)},
        {"lengths": np.full(10, -1, np.int64)},
        {"fragments": Fragments(*(np.array(n, np.int64) for n in ([2], [0, 1], [10**9], [1])))},
        {"fragments": Fragments(*(np.array(n, np.int64) for n in ([2], [0, 3], [100], [1])))},
    ],
    ids=["end", "behind the end", "before the start", "negative", "fragment", "fragments"],
)
def test_a_frame_table_that_leaves_its_object_is_an_error(changes: dict[str, Any]) -> None:
    wrong = table(10, **changes)
    with pytest.raises(RecordError):
        frames_of(record_of_frames(wrong), table(10).span_end)


def test_what_recurs_is_the_same_value_again(written: WrittenSeries) -> None:
    data = written(CASES[0]).paths[0].read_bytes()
    record, shared = encode(run_on_bytes(read_instance(len(data)), data), Instance)
    one, other = (instance_of(record, shared.get, len(data)) for _ in range(2))
    assert one.header.description is other.header.description
    assert one.header is not other.header


def test_what_recurs_holds_no_bytes() -> None:
    with pytest.raises(TypeError, match="holds bytes"):
        encode(_Wrong(b"0123456789abcdef0123456789"), _Wrong)


@dataclasses.dataclass(frozen=True)
class _Wrong:
    RECURS: ClassVar = True

    content: bytes
