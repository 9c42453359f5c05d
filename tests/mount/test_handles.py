"""File handles, as NFS servers make them: they outlive the memory of the kernel, and the mount."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import WrittenSeries
from tests.mount.conftest import mounted

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may open files by their handles"),
]

_AT_FDCWD = -100
_LARGEST = 128  # MAX_HANDLE_SZ

libc = ctypes.CDLL(None, use_errno=True)


class Handle(ctypes.Structure):
    """struct file_handle, open_by_handle_at(2)."""

    _fields_ = (
        ("size", ctypes.c_uint),
        ("kind", ctypes.c_int),
        ("data", ctypes.c_ubyte * _LARGEST),
    )


def handle_of(path: Path) -> Handle:
    handle = Handle(size=_LARGEST)
    mount = ctypes.c_int()
    name = os.fsencode(path)
    if libc.name_to_handle_at(_AT_FDCWD, name, ctypes.byref(handle), ctypes.byref(mount), 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(path))
    return handle


def opened(point: Path, handle: Handle, flags: int = os.O_RDONLY) -> int:
    mount = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fd = libc.open_by_handle_at(mount, ctypes.byref(handle), flags)
        code = ctypes.get_errno()
    finally:
        os.close(mount)
    if fd < 0:
        raise OSError(code, os.strerror(code))
    return int(fd)


def content(point: Path, handle: Handle) -> bytes:
    with open(opened(point, handle), "rb") as file:
        return file.read()


def forget_everything() -> None:
    """Have the kernel drop what it remembers of names and numbers."""
    Path("/proc/sys/vm/drop_caches").write_text("2\n")


def test_handles_outlive_the_memory_of_the_kernel_and_the_mount(
    written: WrittenSeries, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    for case_id in ("jpeg-422-jfif", "jpegls-rgb8"):
        shutil.copytree(written(case_id).directory, source / case_id)
    kept: dict[str, tuple[Handle, bytes | None]] = {}
    for mount in mounted(source, tmp_path / "first"):
        for path in [mount.point, *sorted(mount.point.rglob("*"))]:
            if path.name == "status.json":
                continue
            data = path.read_bytes() if path.is_file() else None
            kept[str(path.relative_to(mount.point))] = handle_of(path), data
        forget_everything()
        for handle, data in kept.values():
            if data is not None:
                assert content(mount.point, handle) == data
    assert len(kept) > 10
    # Another process, which has never heard of any of these numbers.
    for mount in mounted(source, tmp_path / "second"):
        for name, (handle, data) in kept.items():
            if data is not None:
                assert content(mount.point, handle) == data
                continue
            folder = opened(mount.point, handle, os.O_RDONLY | os.O_DIRECTORY)
            try:
                assert sorted(os.listdir(folder)) == sorted(os.listdir(mount.point / name))
            finally:
                os.close(folder)


def test_the_handle_of_a_file_that_has_changed_is_stale(
    written: WrittenSeries, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(written("jpeg-422-jfif").directory, source)
    for mount in mounted(source, tmp_path / "first"):
        handle = handle_of(next(mount.point.rglob("*.svs")))
    for path in source.iterdir():
        os.utime(path, (1.1e9, 1.1e9))
    for mount in mounted(source, tmp_path / "second"):
        assert next(mount.point.rglob("*.svs")).stat().st_size
        with pytest.raises(OSError) as caught:
            opened(mount.point, handle)
        assert caught.value.errno == errno.ESTALE
