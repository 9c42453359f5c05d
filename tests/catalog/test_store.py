"""The index: what is kept, and that nothing in it is trusted or in the way."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import dicomfs
from dicomfs.catalog import store
from dicomfs.catalog.findings import Finding, Inflated, What
from dicomfs.catalog.looking import rejected
from dicomfs.catalog.store import Index, index_path, open_index
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.errors import UsageError
from dicomfs.source.protocol import Identity, SourceObject
from tests.catalog.slides import PLAIN, put
from tests.conftest import WrittenSeries

OBJECT = SourceObject("folder/not utf-8 \udcff.dcm", Identity(1, 2**64 - 2, 300, -4))
FRAMES = FrameTable(np.array([100], np.int64), np.array([50], np.int64), 150, None, "items")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite3"


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    opened = open_index(path, ours=True)
    yield opened
    opened.close()


def fill(index: Index) -> None:
    index.keep([(OBJECT, rejected(OBJECT, "video", "is a film"))])
    index.keep_frame_table(OBJECT, FRAMES)
    index.keep_listings("options", [("1.2.3", b"digest", b"record")])


def is_empty(index: Index) -> bool:
    return not list(index.rows()) and not list(index.listings("options"))


def test_what_is_kept_comes_back(index: Index, path: Path) -> None:
    fill(index)
    inflated = Finding(What.INSTANCE, "1.2", b"", inflated=Inflated(7, 8))
    index.keep([(SourceObject("b", OBJECT.identity), inflated)])
    index.close()
    again = open_index(path, ours=True)
    rows = dict(again.rows())
    assert rows[OBJECT.key] == store.Row(OBJECT.identity, What.REJECTED, "", None)
    assert rows["b"] == store.Row(OBJECT.identity, What.INSTANCE, "1.2", Inflated(7, 8))
    found = again.rejection(OBJECT.key)
    assert found is not None
    assert (found.code, found.files) == ("video", (OBJECT.key,))
    table = again.frame_table(OBJECT)
    assert table is not None
    assert table.offsets.tolist() == [100]
    assert list(again.listings("options")) == [("1.2.3", b"digest", b"record")]
    assert list(again.listings("other options")) == []
    again.forget([OBJECT.key])
    again.forget_listings(["1.2.3"])
    assert set(dict(again.rows())) == {"b"}
    assert again.frame_table(OBJECT) is None
    assert again.rejection(OBJECT.key) is None
    again.close()


def test_a_frame_table_is_of_one_version_of_an_object(index: Index) -> None:
    fill(index)
    changed = SourceObject(OBJECT.key, Identity(1, 2**64 - 2, 300, -3))
    assert index.frame_table(OBJECT) is not None
    assert index.frame_table(changed) is None


def test_several_read_while_one_writes(index: Index, path: Path) -> None:
    other = open_index(path, ours=True)
    fill(index)
    assert OBJECT.key in dict(other.rows())
    other.close()


def test_a_writer_in_the_way_costs_nothing_but_time(
    index: Index, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index._connection.execute("PRAGMA busy_timeout = 50")
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        fill(index)
        other.execute("ROLLBACK")
    other.close()
    assert is_empty(index)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    fill(index)
    assert not is_empty(index)


def test_another_version_is_made_anew(
    index: Index, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(index)
    monkeypatch.setattr(store, "_version", lambda variant: "another")
    newer = open_index(path, ours=True)
    assert is_empty(newer)
    fill(newer)
    # Who has the old one open keeps it.
    assert not is_empty(index)
    index.keep([(SourceObject("more", OBJECT.identity), Finding(What.NOT_DICOM, "", b""))])
    assert "more" not in dict(newer.rows())
    newer.close()


@pytest.mark.parametrize("at", [0, 20, 100, 4096 + 30, 3 * 4096, -2000], ids=str)
def test_a_damaged_one_is_made_anew_or_put_up_with(path: Path, at: int) -> None:
    index = open_index(path, ours=True)
    fill(index)
    index.close()
    content = bytearray(path.read_bytes())
    content[at : at + 200] = b"\xa5" * len(content[at : at + 200])
    path.write_bytes(content)
    again = open_index(path, ours=True)
    assert again.path == path
    if not again.is_sound():
        again.renew()
        assert is_empty(again)
    assert again.is_sound()
    for _, row in again.rows():
        assert row.identity == OBJECT.identity
    fill(again)
    assert again.rejection(OBJECT.key) is not None
    again.close()


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, b"SQLite format 3\0"])
def test_whatever_lies_in_our_own_place_is_replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    index = open_index(path, ours=True)
    assert index.path == path
    assert is_empty(index)
    index.close()


def test_a_file_of_another_kind_that_somebody_names_is_left_alone(path: Path) -> None:
    path.write_bytes(b"a slide of great value" * 100)
    with pytest.raises(UsageError, match="no index of dicomfs"):
        open_index(path, ours=False)
    assert path.read_bytes() == b"a slide of great value" * 100


def test_where_no_file_can_be_there_is_one_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    index = open_index(tmp_path / "file" / "index.sqlite3", ours=True)
    assert index.path is None
    assert "costs time only" in caplog.text
    fill(index)
    assert not is_empty(index)
    index.close()
    assert is_empty(index)


def test_each_source_has_an_index_of_its_own(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    os.symlink("a", tmp_path / "link")
    a, b, link = (index_path(tmp_path, tmp_path / name) for name in ("a", "b", "link"))
    assert a != b
    assert a == link


def contents(archive: dicomfs.Archive) -> dict[str, bytes]:
    """The bytes of all files but the one that tells of the present."""
    return {
        name: archive.open(name).read()
        for name in archive.files()
        if name != ".dicomfs/status.json"
    }


def test_facts_that_are_lost_are_found_again(written: WrittenSeries, tmp_path: Path) -> None:
    source, path = tmp_path / "source", tmp_path / "index.sqlite3"
    put(written, PLAIN, source)
    with dicomfs.open_archive(source, index=path) as archive:
        content = contents(archive)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE facts SET record = substr(record, 1, length(record) / 2)")
        connection.execute("DELETE FROM shared")
        connection.execute("UPDATE listings SET record = x'00'")
    connection.close()
    with dicomfs.open_archive(source, index=path) as archive:
        assert contents(archive) == content
