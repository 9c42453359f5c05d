"""Errors of the medium, a full cache directory, no descriptors left: an errno for whom it concerns.

The errors are injected into the system calls of the process that serves a real mount.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dicomfs.archive import open_archive
from tests.conftest import WrittenSeries
from tests.fuse.mounted import wait_for
from tests.semantics.serving import Serving, copy, serving

pytestmark = [pytest.mark.fuse, pytest.mark.promise("S-5")]

PAGE = 4096


def contents(mount: Serving, folder: Path) -> dict[Path, bytes]:
    """What each file holds, found out without the mount."""
    with open_archive(mount.source, index=folder / "other-index") as archive:
        return {
            path: archive.open(str(path.relative_to(mount.point))).read() for path in mount.files()
        }


def past_the_cache(path: Path, known: bytes) -> tuple[int, set[int | None]]:
    """Read a file by pieces that the kernel does not keep; how many came, and other errors."""
    right = 0
    errors: set[int | None] = set()
    file = os.open(path, os.O_RDONLY)
    try:
        for offset in range(0, len(known), 16 * PAGE):
            try:
                got = os.pread(file, PAGE, offset)
            except OSError as error:
                errors.add(error.errno)
            else:
                assert got == known[offset : offset + PAGE]
                right += 1
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)
    return right, errors


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing: NO ERROR INJECTED")
def test_errors_of_the_medium(written: WrittenSeries, tmp_path: Path) -> None:
    for case in ("native-rgb8", "jpeg-422-jfif", "jpegls-rgb8"):
        copy(written, case, tmp_path / "source" / case)
    with serving(tmp_path / "source", tmp_path) as mount:
        known = contents(mount, tmp_path)
        said = tmp_path / "strace"
        with said.open("wb") as sink:
            injector = subprocess.Popen(
                [
                    *("strace", "-f", "-p", str(mount.process.pid), "-o", os.devnull),
                    *("-e", "trace=pread64,preadv,preadv2"),
                    *("-e", "inject=pread64,preadv,preadv2:error=EIO:when=2+3"),
                ],
                stderr=sink,
            )
        try:
            wait_for(lambda: injector.poll() is not None or b"attached" in said.read_bytes())
            if injector.poll() is not None:
                pytest.skip(f"NO ERROR INJECTED: {said.read_text()}")
            right = 0
            errors: set[int | None] = set()
            for path in mount.slides():
                found = past_the_cache(path, known[path])
                right, errors = right + found[0], errors | found[1]
            assert right
            assert errors == {errno.EIO}
        finally:
            injector.send_signal(signal.SIGINT)
            injector.wait(10)
        # What failed once does not fail for ever.
        for path in mount.slides():
            wait_for(lambda path=path: past_the_cache(path, known[path])[1] == set())  # type: ignore[misc]
        log = mount.log.read_text()
    assert "Traceback" not in log
    assert "medium reports an error" in log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small tmpfs")
def test_a_full_cache_directory(written: WrittenSeries, tmp_path: Path) -> None:
    copy(written, "native-deflated", tmp_path / "source" / "deflated")
    copy(written, "jpeg-444-jfif", tmp_path / "source" / "healthy")
    cache = tmp_path / "full"
    cache.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", os.fspath(cache)], check=True
    )
    try:
        full = {"XDG_CACHE_HOME": os.fspath(cache)}
        index = ("--index", os.fspath(tmp_path / "index"))
        with serving(tmp_path / "source", tmp_path / "first", *index, variables=full) as mount:
            (healthy,) = mount.slides()
            with open_archive(
                tmp_path / "source" / "healthy", index=tmp_path / "other-index"
            ) as archive:
                known = archive.open(str(healthy.relative_to(mount.point))).read()
            assert healthy.read_bytes() == known
            rejected = json.loads((mount.point / ".dicomfs" / "rejected.json").read_bytes())
            assert rejected
            assert all(os.strerror(errno.ENOSPC) in one["message"] for one in rejected)
            assert "Traceback" not in mount.log.read_text()
        # It is not held against the slide for ever.
        with serving(tmp_path / "source", tmp_path / "then", *index) as mount:
            assert len(mount.slides()) == 2
    finally:
        subprocess.run(["umount", "-l", os.fspath(cache)], check=True)


OPENER = """
import os, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
paths = [
    os.path.join(folder, name)
    for folder, _, names in os.walk(sys.argv[1])
    for name in names
    if ".dicomfs" not in folder
]
files = [(path, os.open(path, os.O_RDONLY)) for path in paths]
for _ in range(2):
    for path, file in files:
        size = os.fstat(file).st_size
        data = b"".join(iter(lambda: os.read(file, 1 << 20), b""))
        assert len(data) == size, path
        os.lseek(file, 0, os.SEEK_SET)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
print(len(files))
"""


@pytest.mark.promise("S-8")
def test_few_descriptors_serve_many_open_files(written: WrittenSeries, tmp_path: Path) -> None:
    """2,000 virtual files of 500 source files are open and read, with 256 descriptors."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("this user may not open 2,000 files")
    series = written("tile-is-matrix")
    content = series.paths[0].read_bytes()
    for number in range(500):
        folder = tmp_path / "source" / str(number)
        folder.mkdir(parents=True)
        uid = f"{series.series_uid[:-6]}{number:06d}"
        name = folder / "only.dcm"
        name.write_bytes(content.replace(series.series_uid.encode(), uid.encode()))
    limited = [sys.executable, "-c", LIMITED]
    options = ("--flavour", "svs", "--flavour", "tiff")
    with serving(tmp_path / "source", tmp_path, *options, wrapper=limited) as mount:
        done = subprocess.run(
            [sys.executable, "-c", OPENER, mount.point], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) >= 2000
        held = len(os.listdir(f"/proc/{mount.process.pid}/fd"))
        assert held <= 256
        log = mount.log.read_text()
    assert "too many open files" not in log.lower()
    assert "Traceback" not in log


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
os.execv(sys.argv[1], sys.argv[1:])
"""
