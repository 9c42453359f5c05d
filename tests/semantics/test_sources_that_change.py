"""Whatever happens to a source file while it is read: old bytes or an errno, and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicomfs.archive import open_archive
from tests.conftest import WrittenSeries
from tests.fuse.mounted import wait_for
from tests.semantics.serving import Serving, copy, serving, uid_of

pytestmark = pytest.mark.fuse

CASE = "native-rgb8"
PAGE = 4096
ORDERS = ["uncached", "cached"]
GONE = {errno.EIO, errno.ESTALE}


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(100_000))


def rewrite(path: Path) -> None:
    """Other pixels in the same file, byte by byte of the same size."""
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(len(content) // 2)
        file.write(bytes(255 - byte for byte in content[len(content) // 2 :]))


def rewrite_with_the_old_time(path: Path) -> None:
    """The same by somebody who puts the modification time back, but not to the nanosecond."""
    state = path.stat()
    rewrite(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns // 1000 * 1000 + 1))


def replace(path: Path) -> None:
    """Other pixels by rename."""
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half:] = bytes(255 - byte for byte in content[half:])
    new = path.with_name("new")
    new.write_bytes(content)
    new.rename(path)


def delete(path: Path) -> None:
    path.unlink()


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: list[Callable[[Path], None]] = [
    *(truncate, empty, grow, rewrite, rewrite_with_the_old_time, replace, delete, become_a_folder)
]


def pages(file: int, old: bytes) -> tuple[int, set[int | None]]:
    """Read all of an open file by the page; how many pages came, and the errors of the others.

    Fails for any byte that is not the old one, and for any answer that is too short.
    """
    right = 0
    errors: set[int | None] = set()
    for offset in range(0, len(old), PAGE):
        try:
            got = os.pread(file, PAGE, offset)
        except OSError as error:
            errors.add(error.errno)
        else:
            assert got == old[offset : offset + PAGE], offset
            right += 1
    return right, errors


@dataclass(slots=True)
class _Open:
    """A virtual TIFF that was open when its source changed.

    old : its content before; right, errors : see `pages`, of the reads after the change
    """

    path: Path
    file: int
    old: bytes
    before: os.stat_result
    right: int = 0
    errors: frozenset[int | None] = frozenset()


@dataclass(frozen=True, slots=True)
class _Aftermath:
    """Everything that was open, and what a mount made now would show."""

    opened: dict[str, _Open]
    now: dict[str, bytes]
    mount: Serving


@pytest.fixture(scope="module")
def aftermath(
    written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Aftermath]:
    """All changes, each in both orders: the mount's pages are in the kernel's cache before the
    change, or after it."""
    folder = tmp_path_factory.mktemp("changes")
    source = folder / "source"
    names = [f"{change.__name__}-{order}" for change in CHANGES for order in ORDERS]
    for name in names:
        copy(written, CASE, source / name, name)
    uids = {uid_of(name, written(CASE).series_uid): name for name in names}
    opened: dict[str, _Open] = {}
    with serving(source, folder) as mount:
        with open_archive(source, index=folder / "old") as archive:
            for path in mount.slides():
                old = archive.open(str(path.relative_to(mount.point))).read()
                place = uids[os.getxattr(path, "user.dicomfs.series_instance_uid").decode()]
                file = os.open(path, os.O_RDONLY)
                opened[place] = _Open(path, file, old, path.stat())
        assert sorted(opened) == sorted(names)
        for change in CHANGES:
            for order in ORDERS:
                one = opened[f"{change.__name__}-{order}"]
                assert os.pread(one.file, 100, 0) == one.old[:100]
                if order == "cached":
                    assert pages(one.file, one.old) == (-(-len(one.old) // PAGE), set())
                files = (source / f"{change.__name__}-{order}").iterdir()
                change(max(files, key=lambda path: path.stat().st_size))
                right, errors = pages(one.file, one.old)
                one.right, one.errors = right, frozenset(errors)
        # `stat` and a new `open` see the new state once the source has come to rest.
        for one in opened.values():
            wait_for(lambda one=one: _inode(one.path) != one.before.st_ino)  # type: ignore[misc]
        yield _Aftermath(opened, _present(source, folder), mount)
        for one in opened.values():
            os.close(one.file)


def _present(source: Path, folder: Path) -> dict[str, bytes]:
    """What a mount made now shows, by path, as far as that can be read."""
    found = {}
    with open_archive(source, index=folder / "new") as archive:
        for path in archive.files():
            with archive.open(path) as file:
                try:
                    found[path] = file.read()
                except OSError:
                    found[path] = b""
    return found


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


@pytest.mark.promise("S-2", "S-3")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("change", [change.__name__ for change in CHANGES])
def test_old_bytes_or_an_errno(change: str, order: str, aftermath: _Aftermath) -> None:
    one = aftermath.opened[f"{change}-{order}"]
    assert one.errors <= GONE
    assert one.right or one.errors
    if order == "cached" and change != "grow":
        assert one.right
    assert pages(one.file, one.old)[1] <= GONE
    assert os.fstat(one.file).st_size == one.before.st_size


@pytest.mark.promise("S-4")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("change", [change.__name__ for change in CHANGES])
def test_whoever_opens_it_then_sees_the_new(change: str, order: str, aftermath: _Aftermath) -> None:
    path = aftermath.opened[f"{change}-{order}"].path
    expected = aftermath.now.get(str(path.relative_to(aftermath.mount.point)))
    if expected is None:
        assert not path.exists()
    elif expected:
        assert path.read_bytes() == expected
        assert path.stat().st_size == len(expected)
    else:
        with pytest.raises(OSError) as caught:
            path.read_bytes()
        assert caught.value.errno == errno.EIO


@pytest.mark.promise("S-3")
def test_a_version_is_never_mixed_with_the_one_that_is_being_written(
    written: WrittenSeries, tmp_path: Path
) -> None:
    """A file is rewritten again and again while it is read: a read is of one version, or fails."""
    folder = copy(written, CASE, tmp_path / "source" / "a")
    path = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    with serving(tmp_path / "source", tmp_path) as mount:
        slide = mount.slide()
        with open_archive(mount.source, index=tmp_path / "old") as archive:
            old = archive.open(str(slide.relative_to(mount.point))).read()
        file = os.open(slide, os.O_RDONLY)
        try:
            for _ in range(20):
                _, errors = pages(file, old)
                assert errors <= GONE
                rewrite(path)
        finally:
            os.close(file)
