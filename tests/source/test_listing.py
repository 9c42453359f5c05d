"""Which files a directory shows, and that nothing outside of it is ever looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dicomfs.errors import SourceError, UsageError
from dicomfs.source import beneath, listing
from dicomfs.source.listing import DEEPEST
from dicomfs.source.local import LocalDirectory


def fill(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def keys(source: LocalDirectory) -> list[str]:
    return [obj.key for obj in source.objects()]


def test_files_are_listed_in_order_with_their_identity(tmp_path: Path) -> None:
    fill(tmp_path, "b/2.dcm", "b/10.dcm", "a.dcm", "c.dcm", "b/a/x", ".hidden/y")
    objects = list(LocalDirectory(tmp_path).objects())
    assert [obj.key for obj in objects] == [
        ".hidden/y",
        "a.dcm",
        "b/10.dcm",
        "b/2.dcm",
        "b/a/x",
        "c.dcm",
    ]
    for obj in objects:
        state = (tmp_path / obj.key).stat()
        assert obj.identity.device == state.st_dev
        assert obj.identity.inode == state.st_ino
        assert obj.identity.size == len(obj.key)
        assert obj.identity.mtime_ns == state.st_mtime_ns
    assert objects[2].name == "10.dcm"
    assert objects[1].name == "a.dcm"


def test_links_that_leave_the_source_are_reported_and_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, "source/a.dcm", "outside/secret.dcm", "source-too/b.dcm")
    root = tmp_path / "source"
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file.dcm").symlink_to(tmp_path / "outside" / "secret.dcm")
    (root / "up").symlink_to("../source-too")
    source = LocalDirectory(root)
    assert keys(source) == ["a.dcm"]
    assert [problem.key for problem in source.problems] == ["file.dcm", "folder", "up"]
    assert all("leaves the source" in problem.message for problem in source.problems)
    assert [problem.leads_out for problem in source.problems] == [False, True, True]


def test_links_inside_the_source_lead_to_nothing_new_and_loops_end(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.dcm", "real/deep/b.dcm")
    (tmp_path / "again").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "real" / "a.dcm")
    (tmp_path / "real" / "deep" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "nowhere").symlink_to("missing")
    source = LocalDirectory(tmp_path)
    assert keys(source) == ["real/a.dcm", "real/deep/b.dcm"]
    assert source.problems == ()


def test_a_source_that_is_itself_a_link_is_listed(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.dcm")
    (tmp_path / "link").symlink_to("real")
    source = LocalDirectory(tmp_path / "link")
    [obj] = source.objects()
    buffer = bytearray(10)
    source.read_into(obj, 0, memoryview(buffer))
    assert buffer == b"real/a.dcm"


def test_a_folder_that_appears_inside_itself_is_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a bind mount of the root below the root looks like."""
    fill(tmp_path, "a.dcm")
    (tmp_path / "loop").mkdir()
    opened = beneath.open_folder

    def mounted(root: str, key: str) -> int:
        return opened(root, "/".join(part for part in key.split("/") if part != "loop"))

    monkeypatch.setattr(listing, "open_folder", mounted)
    assert keys(LocalDirectory(tmp_path)) == ["a.dcm"]


@pytest.mark.parametrize("through_link", [False, True])
def test_the_excluded_folder_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through_link: bool
) -> None:
    fill(tmp_path, "source/a.dcm", "source/sub/mnt/virtual.tif", "source/sub/mnt2/b.dcm")
    (tmp_path / "link").symlink_to("source/sub")
    place = tmp_path / ("link" if through_link else "source/sub") / "mnt"
    source = LocalDirectory(tmp_path / "source", exclude=place)
    opened: list[str] = []
    real = beneath.open_folder

    def recording(root: str, key: str) -> int:
        opened.append(key)
        return real(root, key)

    monkeypatch.setattr(listing, "open_folder", recording)
    assert keys(source) == ["a.dcm", "sub/mnt2/b.dcm"]
    assert opened == ["", "sub", "sub/mnt2"]


def test_an_excluded_folder_elsewhere_excludes_nothing(tmp_path: Path) -> None:
    fill(tmp_path, "source/mnt/a.dcm", "mnt/b")
    assert keys(LocalDirectory(tmp_path / "source", exclude=tmp_path / "mnt")) == ["mnt/a.dcm"]


def test_a_folder_that_cannot_be_read_is_reported_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a/1", "locked/2", "z/3")
    real = beneath.open_folder

    def locked(root: str, key: str) -> int:
        if key == "locked":
            raise PermissionError(13, "Permission denied")
        return real(root, key)

    monkeypatch.setattr(listing, "open_folder", locked)
    source = LocalDirectory(tmp_path)
    assert keys(source) == ["a/1", "z/3"]
    [problem] = source.problems
    assert problem.key == "locked"
    assert not problem.leads_out
    assert problem.message == "locked may not be read by this user"
    monkeypatch.setattr(listing, "open_folder", real)
    assert keys(source) == ["a/1", "locked/2", "z/3"]
    assert source.problems == ()


def test_what_goes_while_it_is_listed_is_no_problem(tmp_path: Path) -> None:
    fill(tmp_path, "a/1", "b/2", "c/3")
    source = LocalDirectory(tmp_path)
    objects = source.objects()
    assert next(objects).key == "a/1"
    (tmp_path / "b" / "2").unlink()
    (tmp_path / "b").rmdir()
    assert [obj.key for obj in objects] == ["c/3"]
    assert source.problems == ()


def test_only_regular_files_are_listed(tmp_path: Path) -> None:
    fill(tmp_path, "a.dcm")
    os.mkfifo(tmp_path / "pipe")
    assert keys(LocalDirectory(tmp_path)) == ["a.dcm"]


def test_names_that_are_not_utf8_can_be_listed_read_and_named_in_errors(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/M\xfcller \xe4.dcm"
    with open(name, "wb") as file:
        file.write(b"bytes")
    source = LocalDirectory(tmp_path)
    [obj] = source.objects()
    buffer = bytearray(5)
    source.read_into(obj, 0, memoryview(buffer))
    assert buffer == b"bytes"
    with pytest.raises(SourceError) as caught:
        source.read_into(obj, 1, memoryview(buffer))
    str(caught.value).encode("utf-8")


def test_folders_are_followed_to_a_depth_that_no_source_needs(tmp_path: Path) -> None:
    fill(tmp_path, "d/" * DEEPEST + "a.dcm", "d/" * (DEEPEST + 1) + "b.dcm", "e/c.dcm")
    source = LocalDirectory(tmp_path)
    assert keys(source) == ["d/" * DEEPEST + "a.dcm", "e/c.dcm"]
    [problem] = source.problems
    assert problem.key == "/".join("d" * (DEEPEST + 1))
    assert problem.leads_out  # for all that is known


def test_a_root_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "file")
    for name in ("missing", "file"):
        with pytest.raises(UsageError, match="is not a directory"):
            LocalDirectory(tmp_path / name)


def test_a_root_that_goes_is_an_error_and_not_an_empty_source(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    source = LocalDirectory(root)
    root.rmdir()
    with pytest.raises(SourceError):
        list(source.objects())
