"""Comparing a source with its index in another process: the same outcome, and nothing in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from dicomfs.archive import Archive
from dicomfs.catalog import collection
from dicomfs.catalog.comparing import Comparison, compare_apart
from dicomfs.catalog.objects import Difference, KnownObjects
from dicomfs.catalog.store import existing_index
from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.source.listing import list_files
from dicomfs.vfs.options import LayoutOptions
from tests.catalog.slides import OTHER, PLAIN, put
from tests.conftest import WrittenSeries

NOTHING = Difference((), ())


@pytest.fixture
def source(written: WrittenSeries, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for case in (PLAIN, OTHER):
        put(written, case, folder / case)
    (folder / os.fsdecode(b"caf\xe9")).write_bytes(b"no DICOM")
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder


@pytest.fixture
def index(source: Path, tmp_path: Path) -> Path:
    path = tmp_path / "index.sqlite3"
    with Archive.load(source, index=path):
        pass
    return path


@pytest.fixture
def always_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few files there are."""
    monkeypatch.setattr(collection, "_MANY", 0)


def known(index: Path) -> KnownObjects:
    opened = existing_index(index)
    assert opened is not None
    with contextlib.closing(opened):
        return KnownObjects(opened.rows())


def test_nothing_differs(source: Path, index: Path) -> None:
    compared = compare_apart(source, None, index)
    assert compared is not None
    assert compared.difference == NOTHING
    assert compared.problems == ()
    assert compared.digest == known(index).digest()
    assert compared.state == known(index).state()


def test_a_source_may_be_named_by_a_link(source: Path, index: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    compared = compare_apart(tmp_path / "link", None, index)
    assert compared is not None
    assert compared.difference == NOTHING


def test_what_differs(source: Path, index: Path, tmp_path: Path) -> None:
    new, changed, gone = source / os.fsdecode(b"n\xe9w"), *sorted(source.glob(f"{PLAIN}/*"))[:2]
    new.write_bytes(b"new")
    os.utime(changed, (1.1e9, 1.1e9))
    gone.unlink()
    (source / "out").symlink_to(tmp_path)
    compared = compare_apart(source, None, index)
    assert compared is not None
    (problem,) = compared.problems
    assert problem.key == "out"
    assert problem.leads_out
    assert [obj.key for obj in compared.difference.fresh] == [
        str(path.relative_to(source)) for path in (changed, new)
    ]
    assert compared.difference.gone == (str(gone.relative_to(source)),)
    here = known(index).difference(list_files(str(source), None, lambda problem: None))
    assert compared.difference == here


def test_an_index_that_was_checked_is_not_checked_again(
    source: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compare_apart(source, None, index, check=False) == compare_apart(source, None, index)
    asked: list[bool] = []

    def noted(
        root: Path, exclude: str | None, path: Path, *, check: bool, stopped: Callable[[], bool]
    ) -> Comparison | None:
        asked.append(check)
        return compare_apart(root, exclude, path, check=check, stopped=stopped)

    monkeypatch.setattr(collection, "_MANY", 0)
    monkeypatch.setattr(collection, "compare_apart", noted)
    archive = Archive.remembered(source, index=index)
    follower = archive.follow(watch=False, rescan=0.05)
    deadline = time.monotonic() + 20
    while len(asked) < 3:
        assert time.monotonic() < deadline, "the source is not looked at again"
        time.sleep(0.01)
    assert follower.failure is None
    archive.close()
    assert asked[0]
    assert not any(asked[1:])


def test_a_folder_is_left_out(source: Path, index: Path) -> None:
    compared = compare_apart(source, OTHER, index)
    assert compared is not None
    assert compared.difference.fresh == ()
    assert {key.partition("/")[0] for key in compared.difference.gone} == {OTHER}


@pytest.mark.parametrize("what", ["gone", "damaged", "of another version", "no source"])
def test_what_cannot_be_compared(source: Path, index: Path, what: str) -> None:
    match what:
        case "gone":
            index.unlink()
        case "damaged":
            data = bytearray(index.read_bytes())
            data[4096:8192] = b"\xa5" * 4096
            index.write_bytes(data)
        case "of another version":
            with contextlib.closing(sqlite3.connect(index)) as connection:
                connection.execute("UPDATE meta SET value = 'another'")
                connection.commit()
        case _:
            shutil.rmtree(source)
    assert compare_apart(source, None, index) is None
    assert index.exists() == (what != "gone")


@pytest.mark.usefixtures("always_apart")
def test_an_archive_is_closed_while_it_is_compared(
    source: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()

    def endless(
        root: Path, exclude: str | None, path: Path, *, check: bool, stopped: Callable[[], bool]
    ) -> None:
        began.set()
        while not stopped():
            time.sleep(0.01)

    monkeypatch.setattr(collection, "compare_apart", endless)
    archive = Archive.remembered(source, index=index)
    expected = shown(archive)
    archive.follow()
    assert began.wait(20)
    archive.close()
    assert shown(archive) == expected != {}


def shown(archive: Archive) -> dict[str, tuple[int, int]]:
    """Names of the files that tell of slides, with number and size."""
    found = {}
    for name in archive.files():
        node = archive.find(name)
        if not name.startswith(".dicomfs"):
            found[name] = node.inode, getattr(node, "size", 0)
    return found


@pytest.mark.usefixtures("always_apart")
def test_nothing_is_kept_of_objects_that_have_not_changed(
    source: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> NoReturn:
        raise AssertionError("the objects of the source are read")

    with Archive.load(source, index=index) as archive:
        expected = shown(archive)
        status = archive.status
    monkeypatch.setattr(collection, "KnownObjects", refuse)
    with Archive.load(source, index=index) as archive:
        assert shown(archive) == expected
        assert archive.status == status
        for name, (_, size) in expected.items():
            with archive.open(name) as file:
                assert len(file.read()) == size


@pytest.mark.usefixtures("always_apart")
@pytest.mark.parametrize(
    "what", ["new", "changed", "of another series", "gone", "no listings", "damaged index"]
)
def test_what_has_changed_is_shown(
    written: WrittenSeries, source: Path, index: Path, tmp_path: Path, what: str
) -> None:
    match what:
        case "new":
            put(written, "jpegls-rgb8", source / "new")
        case "changed":
            os.utime(min(source.glob(f"{PLAIN}/*")), (1.1e9, 1.1e9))
        case "of another series":
            path = min(source.glob(f"{PLAIN}/*"))  # the others stay what they are
            path.write_bytes(min(written("jpegls-rgb8").directory.rglob("*.dcm")).read_bytes())
            os.utime(path, (1.1e9, 1.1e9))
        case "gone":
            shutil.rmtree(source / OTHER)
        case "no listings":
            with contextlib.closing(sqlite3.connect(index)) as connection:
                connection.execute("DELETE FROM listings")
                connection.commit()
        case _:
            data = bytearray(index.read_bytes())
            data[4096:8192] = b"\xa5" * 4096
            index.write_bytes(data)
    with Archive.load(source, index=index) as archive:
        found, status = shown(archive), archive.status
    with Archive.load(source, index=tmp_path / "fresh.sqlite3") as archive:
        assert found == shown(archive)
        assert status == archive.status


@pytest.mark.usefixtures("always_apart")
def test_a_listing_of_other_objects_is_made_again(source: Path, index: Path) -> None:
    with Archive.load(source, index=index) as archive:
        expected = shown(archive)
    with contextlib.closing(sqlite3.connect(index)) as connection:
        connection.execute("UPDATE listings SET digest = zeroblob(16)")
        connection.commit()
    with Archive.load(source, index=index) as archive:
        assert shown(archive) == expected
    with contextlib.closing(sqlite3.connect(index)) as connection:
        ((zero,),) = connection.execute(
            "SELECT count(*) FROM listings WHERE digest = zeroblob(16)"
        ).fetchall()
    assert zero == 0


@pytest.mark.usefixtures("always_apart")
def test_a_source_with_sealed_names_is_compared_here(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> NoReturn:
        raise AssertionError("another process is asked")

    monkeypatch.setattr(collection, "compare_apart", refuse)
    options = LayoutOptions(profile=Profile(b"k" * 32, lasting=True))
    found = []
    for _ in range(2):
        with Archive.load(source, options, index=tmp_path / "sealed.sqlite3") as archive:
            found.append(shown(archive))
    assert found[0] == found[1] != {}


@pytest.mark.usefixtures("always_apart")
@pytest.mark.parametrize("options", [{"rescan": 1.0, "watch": False}, {"watch": True}])
@pytest.mark.parametrize("what", ["changed", "new", "gone", "no DICOM"])
def test_what_another_mount_has_found_out_already_is_noticed(
    written: WrittenSeries, source: Path, index: Path, options: dict[str, object], what: str
) -> None:
    """Both write what they find out to the same index, and each has to show it."""

    def all_of(archive: Archive) -> tuple[dict[str, tuple[int, int]], dict[str, object]]:
        return shown(archive), archive.status

    archive = Archive.remembered(source, index=index)
    with archive:
        follower = archive.follow(**options)  # type: ignore[arg-type]
        assert follower.scanned.wait(20)
        before = all_of(archive)
        match what:
            case "changed":
                os.utime(min(source.glob(f"{PLAIN}/*")), (1.1e9, 1.1e9))
            case "new":
                for path in put(written, "jpegls-rgb8", source / "new"):
                    os.utime(path, (1e9, 1e9))
            case "gone":
                shutil.rmtree(source / OTHER)
            case _:
                (source / "empty").touch()
                os.utime(source / "empty", (1e9, 1e9))
        with Archive.load(source, index=index) as other:
            expected = all_of(other)
        assert expected != before
        deadline = time.monotonic() + 20
        while all_of(archive) != expected:
            assert time.monotonic() < deadline, "not noticed"
            time.sleep(0.01)
