"""What a second mount need not find out again, and what it must not believe."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dicomfs.archive import Archive
from dicomfs.catalog.records import frames_of, record_of_frames
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.source.local import LocalDirectory
from tests.catalog.slides import PLAIN, put
from tests.conftest import WrittenSeries
from tests.fixtures.large import write_large


def tiff_of(archive: Archive) -> str:
    (name,) = (name for name in archive.files() if name.endswith((".svs", ".tif")))
    return name


def head(archive: Archive, size: int) -> bytes:
    with archive.open(tiff_of(archive)) as file:
        return file.read(size)


def test_a_frame_table_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, index = tmp_path / "source", tmp_path / "index.sqlite3"
    source.mkdir()
    write_large(source / "large.dcm", 6000, table="empty")
    os.utime(source / "large.dcm", (1e9, 1e9))
    with Archive.load(source, index=index) as archive:
        first = head(archive, 400_000)
    parsed: list[str] = []
    run = LocalDirectory.run

    def noted(self: LocalDirectory, obj: object, steps: object) -> object:
        parsed.append(str(obj))
        return run(self, obj, steps)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalDirectory, "run", noted)
    with Archive.load(source, index=index) as archive:
        assert head(archive, 400_000) == first
    assert parsed == []
    # Of another version of the file nothing is remembered.
    os.utime(source / "large.dcm", (1.1e9, 1.1e9))
    with Archive.load(source, index=index) as archive:
        assert head(archive, 400_000) == first
    assert parsed


def test_a_frame_table_takes_two_bytes_a_frame() -> None:
    chance = np.random.default_rng(1)
    lengths = chance.normal(20_000, 4_000, 100_000).clip(700).astype(np.int64) // 2 * 2
    offsets = np.cumsum(lengths + 8) - lengths + 1000
    table = FrameTable(offsets, lengths, int(offsets[-1] + lengths[-1]), None, "items")
    record = record_of_frames(table)
    assert len(record) < 2 * len(lengths)
    back = frames_of(record, table.span_end)
    assert np.array_equal(back.offsets, offsets)
    assert np.array_equal(back.lengths, lengths)


def test_a_damaged_index_changes_nothing_that_is_shown(
    written: WrittenSeries, tmp_path: Path
) -> None:
    source, index = tmp_path / "source", tmp_path / "index.sqlite3"
    put(written, PLAIN, source)

    def shown(archive: Archive) -> dict[str, int]:
        return {
            name: archive.find(name).inode for name in archive.files() if ".dicomfs" not in name
        }

    with Archive.load(source, index=index) as archive:
        expected = shown(archive)
    sound = index.read_bytes()
    page = int.from_bytes(sound[16:18], "big")
    pages = len(sound) // page
    assert pages > 5
    for number in range(pages):
        damaged = bytearray(sound)
        damaged[number * page : number * page + 200] = b"\xa5" * 200
        for path in (index, Path(f"{index}-wal"), Path(f"{index}-shm")):
            path.unlink(missing_ok=True)
        index.write_bytes(damaged)
        if number == 0:
            continue  # then it is no index at all, and not ours to replace
        with Archive.load(source, index=index) as archive:
            assert shown(archive) == expected
            assert archive.index.is_sound()
            assert archive.index.path == index
