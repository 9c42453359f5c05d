"""One rule for damaged objects: they are read, or a DicomError is raised, and nothing else.

Truncated at every byte, and with bytes of it changed in a row and at random.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.dicom.instance import Instance, Stranger
from dicomfs.dicom.read import read_instance
from dicomfs.errors import DicomError
from tests.dicom.objects import drive, front
from tests.fixtures.codecs import EXPLICIT_BE, IMPLICIT_LE
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series

pytestmark = pytest.mark.promise("S-11")

KINDS = {
    "explicit": SeriesSpec(codec="native-rgb8"),
    "implicit": SeriesSpec(codec="native-rgb8", transfer_syntax=IMPLICIT_LE),
    "big endian": SeriesSpec(codec="native-grey16", transfer_syntax=EXPLICIT_BE),
    "sparse": SeriesSpec(
        organization="TILED_SPARSE", undefined_lengths=True, private=True, offsets="eot"
    ),
    "fragments": SeriesSpec(offsets="empty", fragment_size=40, nested=True),
}

FEW = {"width": 32, "height": 16, "tile": (16, 16), "downsamples": (1,), "icc": False}


def file_of(directory: Path, spec: SeriesSpec) -> bytes:
    series = write_series(directory, SeriesSpec(**(_fields(spec) | FEW)))  # type: ignore[arg-type]
    return series.paths[0].read_bytes()


def _fields(spec: SeriesSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in SeriesSpec.__slots__}


@pytest.fixture(scope="module", params=list(KINDS))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small slide as a file."""
    return file_of(tmp_path_factory.mktemp("small"), KINDS[request.param])


def outcome(data: bytes) -> Instance | Stranger | DicomError:
    """What becomes of an object; any error but a DicomError fails the test."""
    try:
        found = drive(read_instance(len(data)), data)
        if isinstance(found, Instance):
            table = drive(found.frame_table(), data)
            for frame in range(len(table)):
                for offset, size in table.ranges(frame):
                    # A writer may forget the last byte of an odd length.
                    assert 0 <= offset <= offset + size <= len(data) + 1
    except DicomError as error:
        return error
    return found


def test_the_whole_is_read(whole: bytes) -> None:
    found = outcome(whole)
    assert isinstance(found, Instance)
    assert found.header.number_of_frames == 2
    assert (found.problems, found.missing_frames) == ((), ())


def test_truncated_at_every_byte(whole: bytes) -> None:
    found = outcome(whole)
    assert isinstance(found, Instance)
    assert found.layout.pixel_data is not None
    start = found.layout.pixel_data.offset
    # Before the SOP Class UID is known, what ends between two elements is an object of any kind.
    known = whole.index(b"1.2.840.10008.5.1.4.1.1.77.1.6", 400) + 30
    for size in range(start):
        cut = outcome(whole[:size])
        if size < known:
            assert isinstance(cut, DicomError | Stranger)
        else:
            assert isinstance(cut, DicomError), size


def test_truncated_in_the_pixel_data(whole: bytes) -> None:
    """Frames that are cut off are missing; those before them are not."""
    found = outcome(whole)
    assert isinstance(found, Instance)
    assert found.layout.pixel_data is not None
    table = drive(found.frame_table(), whole)
    ranges = [table.ranges(frame) for frame in range(2)]
    ends = [sum(part) for parts in ranges for part in parts]
    # Until the start of the next fragment shows, this one may be the last of its frame or not.
    unclear = {end + step for end in ends[:-1] for step in range(16)}
    first = found.layout.pixel_data.offset
    near = {end + step for end in (*ends[:2], *ends[-2:]) for step in range(-3, 18)}
    for size in sorted({first, *near, *range(first, len(whole), 61)} & set(range(len(whole)))):
        cut = outcome(whole[:size])
        if not isinstance(cut, Instance):
            assert size < ranges[0][0].offset
            continue
        part = drive(cut.frame_table(), whole[:size])
        for frame in range(2):
            end = sum(ranges[frame][-1])
            if size >= end and size - end not in range(8, 16):
                assert part.ranges(frame) == ranges[frame], size
            elif size not in unclear and size < end - 1:
                assert part.ranges(frame) == [], size


def test_bytes_of_the_header_changed(whole: bytes) -> None:
    found = outcome(whole)
    assert isinstance(found, Instance)
    assert found.layout.pixel_data is not None
    data = bytearray(whole)
    for at in range(128 + len(whole) % 29, found.layout.pixel_data.offset + 40, 29):
        before = data[at]
        data[at] = before ^ 0xFF if at % 2 else (before + 1) % 256
        outcome(bytes(data))
        data[at] = before


def test_bytes_changed_at_random(whole: bytes) -> None:
    rng = random.Random(len(whole))
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 12)):
            at = rng.randrange(len(data))
            if rng.random() < 0.3:
                del data[at : at + rng.randrange(1, 9)]
            else:
                data[at : at + 4] = rng.choice(
                    (b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", bytes(4), rng.randbytes(4))
                )
        outcome(bytes(data))


@given(
    st.binary(max_size=300),
    st.sampled_from(["", IMPLICIT_LE, EXPLICIT_BE, "1.2.840.10008.1.2.1.99"]),
)
def test_anything_behind_the_meta_information(data: bytes, transfer_syntax: str) -> None:
    outcome(front(transfer_syntax) + data)


@given(st.binary(max_size=300))
def test_anything_at_all(data: bytes) -> None:
    outcome(data)
