"""What tells of patients is its owner's alone: folders, index, logs of SQLite, inflated copies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomfs.archive import Archive
from dicomfs.catalog.store import open_index
from dicomfs.source.private import keep_to_owner, make_file, make_folder
from tests.conftest import WrittenSeries


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """The permissions that are asked for are those that are given."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_folders(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / path) for path in ("a", "a/b", "a/b/c")] == [0o700] * 3
    assert mode(tmp_path) == 0o755
    (tmp_path / "file").write_text("")
    for path in ("file", "file/x"):
        with pytest.raises((FileExistsError, NotADirectoryError)):
            make_folder(tmp_path / path)


def test_files(tmp_path: Path) -> None:
    make_file(tmp_path / "file")
    assert mode(tmp_path / "file") == 0o600
    with pytest.raises(FileExistsError):
        make_file(tmp_path / "file")
    (tmp_path / "file").chmod(0o664)
    keep_to_owner(tmp_path / "file")
    assert mode(tmp_path / "file") == 0o600
    keep_to_owner(tmp_path / "missing")


@pytest.mark.parametrize("ours", [True, False])
def test_the_index(tmp_path: Path, ours: bool) -> None:
    path = tmp_path / "cache" / "x.sqlite3"
    index = open_index(path, ours=ours)
    index.keep_listings("options", [("1.2.3", b"digest", b"record")])
    files = {file.name: mode(file) for file in path.parent.iterdir()}
    index.close()
    assert {f"x.sqlite3{ending}" for ending in ("", "-wal", "-shm")} == files.keys()
    assert set(files.values()) == {0o600}
    assert mode(path.parent) == 0o700
    path.chmod(0o644)
    open_index(path, ours=ours).close()
    # Who shares an index of his own may do so.
    assert mode(path) == (0o600 if ours else 0o644)


def test_inflated_copies(
    written: WrittenSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Archive.load(written("native-deflated").directory) as archive:
        assert archive.slides
    everything = list((tmp_path / "cache").rglob("*"))
    assert any(path.suffix == ".dcm" for path in everything)
    for path in [tmp_path / "cache", *everything]:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path
