"""Files that tell of the present: a size that stays, a content that does not."""

from __future__ import annotations

import json

import pytest

from dicomfs.errors import DicomfsError
from dicomfs.extents import plan_read
from dicomfs.reading.fill import fill_known
from dicomfs.vfs.live import LiveFile


def content(file: LiveFile) -> bytes:
    """All bytes, as a reader fetches them."""
    made = file.fetch()
    assert made.size == file.size
    data = bytearray(made.size)
    (piece,) = plan_read(made.table, 0, made.size)
    fill_known(made.table, piece, memoryview(data))
    return bytes(data)


def test_the_size_stays_and_the_content_does_not() -> None:
    number = 0

    def make() -> bytes:
        nonlocal number
        number += 1
        return json.dumps({"number": number, "more": "x" * 50 * number}).encode() + b"\n"

    file = LiveFile(make)
    size = file.size
    assert size % 256 == 0
    assert [json.loads(content(file))["number"] for _ in range(3)] == [2, 3, 4]
    assert file.size == size
    assert content(file).endswith(b" \n")


def test_there_is_room_to_grow_and_an_error_where_that_is_used_up() -> None:
    data = b"x" * 640
    file = LiveFile(lambda: data)
    assert file.size == 1024
    data = b"x" * 1023
    assert content(file) == data + b"\n"
    data = b"x" * 1024
    with pytest.raises(DicomfsError, match="there is room for 1024"):
        file.fetch()
