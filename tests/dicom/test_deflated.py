"""Data sets deflated as a whole (PS3.5 A.5): told apart without inflating their pixels."""

from __future__ import annotations

import zlib

import pytest

from dicomfs.dicom.instance import Instance, Stranger
from dicomfs.dicom.read import read_instance
from dicomfs.errors import DeflatedDataSetError, DicomError, MalformedDicomError
from tests.conftest import WrittenSeries
from tests.dicom.objects import WSM, Writer, drive, front
from tests.fixtures.codecs import DEFLATED

START = front(DEFLATED)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return START + compressor.compress(data) + compressor.flush()


def test_a_slide_has_to_be_inflated_first(written: WrittenSeries) -> None:
    """It says where the stream starts, and how long the object is up to the end of its pixels."""
    series = written("native-deflated")
    frames = series.levels[0].frames
    data = series.paths[0].read_bytes()
    with pytest.raises(DeflatedDataSetError) as raised:
        drive(read_instance(len(data)), data)
    error = raised.value
    plain = data[: error.offset] + zlib.decompress(data[error.offset :], -15)
    assert error.inflated_size == frames[-1].spans[-1].start + frames[-1].spans[-1].length
    # What was inflated is read like any other.
    instance = drive(
        read_instance(error.inflated_size, inflated=True), plain[: error.inflated_size]
    )
    assert isinstance(instance, Instance)
    table = drive(instance.frame_table(), plain)
    assert table.offsets.tolist() == [frame.spans[0].start for frame in frames]


def test_what_is_no_slide_is_not_inflated() -> None:
    writer = Writer()
    body = writer.element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2")
    body += writer.element(0x00080060, "CS", "CT") + writer.element(
        0x7FE00010, "OW", bytes(1 << 20)
    )
    data = deflated(body)
    found = drive(read_instance(len(data)), data)
    assert isinstance(found, Stranger)
    assert found.header.modality == "CT"


def test_a_bomb_is_not_inflated() -> None:
    """Gigabytes of zeros where the pixels are, and where the header goes on for ever."""
    writer = Writer()
    sop = writer.element(0x00080016, "UI", WSM)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = compressor.compress(sop + writer.head(0x7FE00010, "OW", 1 << 31))
    zeros = b"".join(compressor.compress(bytes(1 << 24)) for _ in range(5))
    data = START + head + zeros + compressor.flush()
    with pytest.raises(DeflatedDataSetError) as raised:
        drive(read_instance(len(data)), data)
    assert raised.value.inflated_size == len(START + sop) + 12 + (1 << 31)
    endless = deflated(sop + writer.head(0x00091010, "OB", 0xFFFFFFF0) + bytes(1 << 24))
    with pytest.raises(MalformedDicomError):
        drive(read_instance(len(endless)), endless)


@pytest.mark.parametrize("size", [0, 1, 10, 100, 400])
def test_a_damaged_stream_is_an_error(size: int, written: WrittenSeries) -> None:
    data = written("native-deflated").paths[0].read_bytes()
    start = data.index(DEFLATED.encode()) + len(DEFLATED)
    for broken in (data[: start + size], data[: start + size] + bytes(200), START + bytes(size)):
        try:
            found = drive(read_instance(len(broken)), broken)
        except DicomError:
            continue
        assert isinstance(found, Stranger)
