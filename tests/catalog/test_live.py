"""A source that changes: what comes, changes and goes while an archive is open."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicomfs.archive import Archive
from dicomfs.catalog import collection, follow
from dicomfs.errors import DicomfsError
from dicomfs.vfs.nodes import File
from dicomfs.vfs.tree import Changes
from tests.catalog.slides import OTHER, PLAIN, put
from tests.conftest import WrittenSeries

PATIENCE = 20.0


def wait_for(state: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not state():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def tiffs(archive: Archive) -> set[str]:
    return {name for name in archive.files() if name.endswith((".svs", ".ome.tif"))}


def followed(source: Path, folder: Path, **options: object) -> Archive:
    archive = Archive.remembered(source, index=folder / "index.sqlite3")
    follower = archive.follow(**options)  # type: ignore[arg-type]
    assert follower.scanned.wait(PATIENCE)
    assert follower.failure is None
    return archive


@pytest.fixture(autouse=True, params=["compared here", "compared apart"])
def compared(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Very many files are compared by another process; here it is no matter how many there are."""
    if request.param == "compared apart":
        monkeypatch.setattr(collection, "_MANY", 0)


@pytest.fixture
def source(written: WrittenSeries, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for path in put(written, PLAIN, folder / "first"):
        os.utime(path, (1e9, 1e9))
    return folder


@pytest.fixture(params=["watched", "looked at again"])
def archive(source: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Archive]:
    options = {"watch": True} if request.param == "watched" else {"watch": False, "rescan": 0.2}
    with followed(source, tmp_path, **options) as opened:
        assert len(tiffs(opened)) == 1
        yield opened


def test_a_series_comes_and_goes(archive: Archive, source: Path, written: WrittenSeries) -> None:
    (first,) = tiffs(archive)
    put(written, OTHER, source / "deep" / "down")
    wait_for(lambda: len(tiffs(archive)) == 2)
    assert first in tiffs(archive)
    (second,) = tiffs(archive) - {first}
    with archive.open(second) as file:
        assert len(file.read()) == archive.find(second).size  # type: ignore[union-attr]
    shutil.rmtree(source / "deep")
    wait_for(lambda: tiffs(archive) == {first})
    status = archive.open(".dicomfs/status.json").read()
    assert b'"slides": 1' in status


def test_what_is_no_slide_is_told_of(archive: Archive, source: Path, tmp_path: Path) -> None:
    def told(name: str) -> bytes:
        with archive.open(f".dicomfs/{name}.json") as file:
            return file.read()

    before = archive.status["files"]
    (source / "notes.txt").write_text("no slide")
    wait_for(lambda: f'"files": {before + 1},'.encode() in told("status"))
    content = next((source / "first").iterdir()).read_bytes()
    (source / "broken.dcm").write_bytes(content[:400])
    wait_for(lambda: b"broken.dcm" in told("rejected"))
    (source / "broken.dcm").unlink()
    (source / "notes.txt").unlink()
    wait_for(lambda: b"broken.dcm" not in told("rejected"))
    wait_for(lambda: f'"files": {before},'.encode() in told("status"))


def test_what_could_not_be_listed_is_told_of_again(source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (source / "link").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        with followed(source, tmp_path, watch=False) as archive:
            assert b'"link"' in archive.open(".dicomfs/rejected.json").read()


def test_a_changed_series_is_another_file(archive: Archive, source: Path) -> None:
    (name,) = tiffs(archive)
    node = archive.find(name)
    assert isinstance(node, File)
    changed = next((source / "first").iterdir())
    os.utime(changed, (1.1e9, 1.1e9))
    wait_for(lambda: tiffs(archive) == {name} and archive.find(name).inode != node.inode)
    assert archive.tree.find(node.inode) is None
    # Who has the old one gets its bytes or an error, never those of the new one.
    with pytest.raises(DicomfsError, match="changed"):
        archive.reader.read_into_blocking(node.content, 0, memoryview(bytearray(node.size)))


def test_a_part_that_arrives_makes_another_version(
    archive: Archive, source: Path, written: WrittenSeries
) -> None:
    (name,) = tiffs(archive)
    before = archive.find(name)
    largest = max((source / "first").iterdir(), key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.unlink()
    wait_for(lambda: archive.find(name).inode != before.inode)
    smaller = archive.find(name)
    assert smaller.size < before.size  # type: ignore[union-attr]
    (source / "elsewhere").mkdir()
    (source / "elsewhere" / "largest.dcm").write_bytes(content)
    wait_for(lambda: archive.find(name).size == before.size)  # type: ignore[union-attr]


def test_what_is_being_copied_is_not_shown_in_pieces(
    source: Path, tmp_path: Path, written: WrittenSeries
) -> None:
    sizes: list[int] = []
    with followed(source, tmp_path) as archive:
        (first,) = tiffs(archive)

        def deliver(change: Callable[[], Changes]) -> None:
            change()
            sizes.extend(archive.find(name).size for name in tiffs(archive) - {first})  # type: ignore[union-attr]

        archive.deliver_changes(deliver)
        target = source / "second"
        target.mkdir()
        for path in sorted(written(OTHER).directory.rglob("*.dcm")):
            content = path.read_bytes()
            step = 1 + len(content) // 3
            with (target / path.name).open("wb", buffering=0) as file:
                for at in range(0, len(content), step):
                    file.write(content[at : at + step])
                    time.sleep(follow.QUIET / 4)
                    assert not sizes
        wait_for(lambda: sizes)
    # What was shown first is what there is when all has arrived.
    with Archive.load(source, index=tmp_path / "another.sqlite3") as whole:
        (second,) = tiffs(whole) - {first}
        assert set(sizes) == {whole.find(second).size}  # type: ignore[union-attr]


def test_changes_are_carried_out_where_they_are_wanted(
    source: Path, tmp_path: Path, written: WrittenSeries
) -> None:
    delivered: list[Changes] = []
    threads: set[str] = set()

    def deliver(change: Callable[[], Changes]) -> None:
        threads.add(threading.current_thread().name)
        delivered.append(change())

    with followed(source, tmp_path) as archive:
        before = tiffs(archive)
        archive.deliver_changes(deliver)
        put(written, OTHER, source / "second")
        wait_for(lambda: len(tiffs(archive)) == 2)
        archive.deliver_changes(None)
    assert threads == {"follow"}
    names = {name for changes in delivered for _, name, _ in changes.names}
    assert all(names & set(path.split("/")) for path in tiffs(archive) - before)
    assert any(1 in changes.inodes for changes in delivered)  # the root has another time


def test_a_source_that_goes_away_is_a_failure(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    archive = Archive.remembered(source, index=tmp_path / "index.sqlite3")
    source.rmdir()
    follower = archive.follow(watch=False)
    assert follower.scanned.wait(PATIENCE)
    assert follower.failure is not None
    assert "no longer there" in str(follower.failure)
    archive.close()


@pytest.mark.parametrize("outside", ["folder", "file"])
def test_a_source_whose_links_would_be_followed_is_not_watched(
    outside: str, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (source / "link").symlink_to(tmp_path / outside)
    with followed(source, tmp_path) as archive:
        assert len(tiffs(archive)) == 1
        if outside == "folder":
            wait_for(lambda: "links to folders may lead out of it" in caplog.text)
        else:
            before = archive.status["files"]
            shutil.copytree(source / "first", source / "again")
            wait_for(lambda: archive.status["files"] == 2 * before)
            assert "cannot be watched" not in caplog.text


def _watcher(archive: Archive) -> subprocess.Popen[bytes]:
    follower = archive._follower
    assert follower is not None
    wait_for(lambda: follower._watch)
    assert follower._watch is not None
    assert follower._watch._process is not None
    return follower._watch._process


def test_the_process_that_watches_ends_with_the_archive(source: Path, tmp_path: Path) -> None:
    with followed(source, tmp_path) as archive:
        watcher = _watcher(archive)
        assert watcher.poll() is None
    assert watcher.poll() == 0


def test_without_the_process_that_watches_the_source_is_looked_at_now_and_then(
    source: Path,
    tmp_path: Path,
    written: WrittenSeries,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "_FALLBACK", 0.2)
    with followed(source, tmp_path) as archive:
        _watcher(archive).kill()
        wait_for(lambda: "the process that watches has ended" in caplog.text)
        put(written, OTHER, source / "later")
        wait_for(lambda: len(tiffs(archive)) == 2)


def test_what_is_remembered_is_shown_before_it_is_looked_at(source: Path, tmp_path: Path) -> None:
    with followed(source, tmp_path, watch=False) as archive:
        (name,) = tiffs(archive)
        inode, size = archive.find(name).inode, archive.find(name).size  # type: ignore[union-attr]
    again = Archive.remembered(source, index=tmp_path / "index.sqlite3")
    assert tiffs(again) == {name}
    node = again.find(name)
    assert isinstance(node, File)
    assert (node.inode, node.size) == (inode, size)
    shutil.rmtree(source / "first")
    with pytest.raises(OSError, match="no longer there"):
        again.open(name).read()
    assert again.follow(watch=False).scanned.wait(PATIENCE)
    assert tiffs(again) == set()
    again.close()
