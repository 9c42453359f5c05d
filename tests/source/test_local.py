"""Reads of a local file are exact or an error of dicomfs, whatever happens to the file."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomfs.dicom.steps import Range, Steps
from dicomfs.errors import (
    MalformedDicomError,
    ShortReadError,
    SourceChangedError,
    SourceError,
)
from dicomfs.source import local, page_cache
from dicomfs.source.local import LocalDirectory
from dicomfs.source.protocol import Identity, Source, SourceObject

DATA = random.Random(1).randbytes(300_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "slide.dcm"
    path.parent.mkdir()
    path.write_bytes(DATA)
    return path


@pytest.fixture
def source(path: Path) -> LocalDirectory:
    return LocalDirectory(path.parent.parent)


@pytest.fixture
def obj(source: LocalDirectory) -> SourceObject:
    [obj] = source.objects()
    return obj


def read(source: Source, obj: SourceObject, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    source.read_into(obj, offset, memoryview(buffer))
    return bytes(buffer)


def whole(size: int) -> Steps[bytes]:
    return (yield Range(0, size))


def test_reads_are_exact(source: LocalDirectory, obj: SourceObject) -> None:
    rng = random.Random(2)
    for _ in range(300):
        offset = rng.randrange(len(DATA) + 1)
        size = rng.randrange(len(DATA) - offset + 1)
        assert read(source, obj, offset, size) == DATA[offset : offset + size]
        buffer = bytearray(size)
        if source.read_into_nowait(obj, offset, memoryview(buffer)):
            assert buffer == DATA[offset : offset + size]
    assert source.stats().opens == 1
    assert source.stats().cold_reads == 300


def test_only_the_buffer_is_written(source: LocalDirectory, obj: SourceObject) -> None:
    around = bytearray(b"." * 100)
    source.read_into(obj, 1000, memoryview(around)[20:50])
    assert around == b"." * 20 + DATA[1000:1030] + b"." * 50
    assert source.read_into_nowait(obj, 2000, memoryview(around)[50:60]) in (True, False)
    assert around[60:] == b"." * 40


@pytest.mark.parametrize(
    ("offset", "size"), [(299_999, 2), (300_000, 1), (-1, 5), (2**63 - 1, 9), (2**70, 1)]
)
def test_bytes_outside_the_object_are_an_error(
    source: LocalDirectory, obj: SourceObject, offset: int, size: int
) -> None:
    read(source, obj, 0, 1)
    with pytest.raises(ShortReadError):
        read(source, obj, offset, size)
    assert not source.read_into_nowait(obj, offset, memoryview(bytearray(size)))


def test_nowait_opens_nothing(source: LocalDirectory, obj: SourceObject) -> None:
    assert not source.read_into_nowait(obj, 0, memoryview(bytearray(1)))
    assert source.stats().opens == 0


def truncate(path: Path) -> None:
    os.truncate(path, 200_000)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(DATA)
    state = path.stat()
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.rename(path)


def rewrite(path: Path) -> None:
    state = path.stat()
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


CHANGES = [truncate, empty, grow, delete, replace, rewrite]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_stale_if_it_is_open(
    source: LocalDirectory,
    obj: SourceObject,
    path: Path,
    change: Callable[[Path], None],
) -> None:
    read(source, obj, 0, 300_000)
    change(path)
    buffer = memoryview(bytearray(300_000))
    assert not source.read_into_nowait(obj, 0, buffer)
    for _ in range(2):
        with pytest.raises(SourceChangedError) as caught:
            source.read_into(obj, 0, buffer)
        assert caught.value.errno == errno.ESTALE
        with pytest.raises(SourceChangedError):
            source.run(obj, whole(10))
        assert not source.read_into_nowait(obj, 0, buffer)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_stale_if_it_is_not_open(
    source: LocalDirectory, obj: SourceObject, path: Path, change: Callable[[Path], None]
) -> None:
    change(path)
    with pytest.raises(SourceChangedError):
        read(source, obj, 0, 1)
    with pytest.raises(SourceChangedError):
        source.run(obj, whole(10))
    assert source.stats().open_handles == 0


@pytest.mark.parametrize("change", [truncate, empty])
def test_a_shrunken_file_is_noticed(
    source: LocalDirectory,
    obj: SourceObject,
    path: Path,
    change: Callable[[Path], None],
) -> None:
    read(source, obj, 0, 1)
    change(path)
    assert not source.read_into_nowait(obj, 100_000, memoryview(bytearray(200_000)))
    with pytest.raises(SourceChangedError):
        read(source, obj, 100_000, 200_000)


def test_the_new_version_can_be_read_beside_the_stale_one(
    source: LocalDirectory, obj: SourceObject, path: Path
) -> None:
    read(source, obj, 0, 1)
    path.with_name("new").write_bytes(b"new")
    path.with_name("new").rename(path)
    [newer] = source.objects()
    assert read(source, newer, 0, 3) == b"new"
    with pytest.raises(SourceChangedError):
        read(source, obj, 0, 3)
    assert read(source, newer, 0, 3) == b"new"
    assert source.stats().opens == 2


def test_a_parser_that_fails_on_a_changed_file_reports_the_change(
    source: LocalDirectory, obj: SourceObject, path: Path
) -> None:
    def parser(disturb: bool) -> Steps[None]:
        yield Range(0, 10)
        if disturb:
            truncate(path)
        raise MalformedDicomError("nonsense")

    with pytest.raises(MalformedDicomError):
        source.run(obj, parser(disturb=False))
    with pytest.raises(SourceChangedError):
        source.run(obj, parser(disturb=True))


def test_a_result_of_a_changed_file_is_not_returned(
    source: LocalDirectory, obj: SourceObject, path: Path
) -> None:
    def parser() -> Steps[int]:
        yield Range(0, 10)
        grow(path)
        return 1

    with pytest.raises(SourceChangedError):
        source.run(obj, parser())


@pytest.mark.promise("S-20")
@pytest.mark.parametrize(
    "key", ["", ".", "..", "/etc/passwd", "folder/../folder/slide.dcm", "folder//slide.dcm", "a\0b"]
)
def test_a_key_cannot_leave_the_root(source: LocalDirectory, obj: SourceObject, key: str) -> None:
    with pytest.raises(SourceChangedError):
        read(source, SourceObject(key, obj.identity), 0, 1)


@pytest.mark.promise("S-20")
def test_a_folder_that_becomes_a_link_is_not_followed(
    source: LocalDirectory, obj: SourceObject, path: Path
) -> None:
    outside = path.parent.parent.with_name("outside")
    path.parent.rename(outside)
    path.parent.symlink_to(outside)
    with pytest.raises(SourceChangedError):
        read(source, obj, 0, 1)


@pytest.mark.promise("S-20")
def test_a_file_that_becomes_a_link_is_not_followed(
    source: LocalDirectory, obj: SourceObject, path: Path
) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")
    with pytest.raises(SourceChangedError):
        read(source, obj, 0, 1)


def test_a_file_that_becomes_a_pipe_is_not_waited_for(
    source: LocalDirectory, path: Path, obj: SourceObject
) -> None:
    path.unlink()
    os.mkfifo(path)
    state = path.stat()
    identity = Identity(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    with pytest.raises(SourceChangedError):
        read(source, SourceObject(obj.key, identity), 0, 0)


ERRORS = [
    (errno.EIO, SourceError, "the medium reports an error"),
    (errno.EACCES, SourceError, "may not be read by this user"),
    (errno.EPERM, SourceError, "may not be read by this user"),
    (errno.ETIMEDOUT, SourceError, "does not answer"),
    (errno.ENOTCONN, SourceError, "not connected"),
    (errno.ENOMEM, SourceError, "Cannot allocate memory"),
    (errno.EINVAL, SourceError, "Invalid argument"),
    (errno.ENOENT, SourceChangedError, "no longer there"),
    (errno.ENOTDIR, SourceChangedError, "no longer there"),
    (errno.ESTALE, SourceChangedError, "no longer there"),
]


@pytest.mark.parametrize("call", ["preadv", "pread", "fstat", "open", "stat"])
@pytest.mark.parametrize(("number", "error", "words"), ERRORS)
def test_no_oserror_escapes(
    source: LocalDirectory,
    obj: SourceObject,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    error: type[SourceError],
    words: str,
) -> None:
    def broken(*args: object, **kwargs: object) -> object:
        raise OSError(number, os.strerror(number))

    buffer = memoryview(bytearray(10))
    is_open = call in ("preadv", "pread", "fstat")
    if is_open:
        source.read_into(obj, 0, buffer)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        if call != "pread":
            assert not source.read_into_nowait(obj, 0, buffer)
            with pytest.raises(error, match=words) as caught:
                source.read_into(obj, 0, buffer)
            assert type(caught.value) is error
            assert "folder/slide.dcm" in str(caught.value)
        if call != "preadv":
            with pytest.raises(error, match=words):
                source.run(obj, whole(10))
    assert read(source, obj, 0, 300_000) == DATA
    assert source.stats().open_handles == 1


def test_reads_that_come_in_parts_are_put_together(
    source: LocalDirectory, obj: SourceObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.preadv

    def little(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        return real(fd, [buffers[0][:7]], offset, flags)

    monkeypatch.setattr(os, "preadv", little)
    assert read(source, obj, 5, 1000) == DATA[5:1005]
    assert not source.read_into_nowait(obj, 5, memoryview(bytearray(1000)))


def test_a_closed_source_raises(source: LocalDirectory, obj: SourceObject) -> None:
    read(source, obj, 0, 1)
    source.close()
    assert not source.read_into_nowait(obj, 0, memoryview(bytearray(1)))
    with pytest.raises(SourceError, match="closed"):
        read(source, obj, 0, 1)


class TestInlineFlags:
    """Which files may be read on the event loop."""

    def flags(self, path: Path) -> int | None:
        fd = os.open(path, os.O_RDONLY)
        try:
            return page_cache.inline_flags(fd, path.stat().st_dev)
        finally:
            os.close(fd)

    def unsupported(self, *args: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    def test_nowait_where_the_file_system_knows_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "preadv", lambda *args: 1)
        assert self.flags(path) == os.RWF_NOWAIT

    def test_nowait_where_the_byte_is_not_cached(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def waits(*args: object) -> int:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        monkeypatch.setattr(os, "preadv", waits)
        assert self.flags(path) == os.RWF_NOWAIT

    @pytest.mark.parametrize(
        ("kind", "flags"), [("tmpfs", 0), ("ramfs", 0), ("overlay", None), ("nfs4", None)]
    )
    def test_plain_reads_in_memory_only(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, flags: int | None
    ) -> None:
        monkeypatch.setattr(os, "preadv", self.unsupported)
        monkeypatch.setattr(page_cache, "file_system_type", lambda device: kind)
        assert self.flags(path) == flags

    def test_file_system_types_are_found_by_device(self) -> None:
        assert page_cache.file_system_type(os.stat("/proc").st_dev) == "proc"
        assert page_cache.file_system_type(2**60) is None

    def test_files_that_cannot_be_read_inline_are_read_all_the_same(
        self,
        source: LocalDirectory,
        obj: SourceObject,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(local, "inline_flags", lambda fd, device: None)
        assert read(source, obj, 0, 300_000) == DATA
        assert not source.read_into_nowait(obj, 0, memoryview(bytearray(1)))
        monkeypatch.setattr(local, "inline_flags", lambda fd, device: 0)
        other = LocalDirectory(Path(source.name))
        read(other, obj, 0, 1)
        buffer = bytearray(300_000)
        assert other.read_into_nowait(obj, 0, memoryview(buffer))
        assert buffer == DATA
