"""A source that hangs holds up its own readers, until their deadline, and nobody else.

What is asserted is an order of events, not a speed: healthy reads end before stalled ones fail.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomfs.archive import open_archive
from dicomfs.fuse import tuning
from tests.conftest import WrittenSeries
from tests.fuse.mounted import PATIENCE, wait_for
from tests.semantics import stalled
from tests.semantics.serving import Serving, copy, serving, uid_of

pytestmark = [pytest.mark.fuse, pytest.mark.promise("S-7")]

CASE = "native-rgb8"
STALLED_READS = 64
HEALTHY_READS = 100
DEADLINE = 5.0


@pytest.fixture
def share(written: WrittenSeries, tmp_path: Path) -> Iterator[Path]:
    """A directory whose folder `stalled` hangs while tmp_path/hang exists."""
    for name in ("stalled", "healthy"):
        copy(written, CASE, tmp_path / "behind" / name, name)
    point = tmp_path / "share"
    point.mkdir()
    with stalled.share(tmp_path / "behind", point, tmp_path / "hang"):
        yield point


def by_series(mount: Serving, name: str, written: WrittenSeries) -> Path:
    uid = uid_of(name, written(CASE).series_uid)
    (path,) = (
        path
        for path in mount.slides()
        if os.getxattr(path, "user.dicomfs.series_instance_uid").decode() == uid
    )
    return path


def set_max_background(point: Path, value: int) -> None:
    """Let the kernel have that many requests of the background in the mount at once."""
    minor = os.minor(point.stat().st_dev)
    with tuning._connections(Path("/sys/fs/fuse/connections")) as connections:
        setting = connections / str(minor) / "max_background"
        if not os.access(setting, os.W_OK):
            pytest.skip("max_background cannot be set here")
        setting.write_text(f"{value}\n")


@pytest.mark.parametrize("kind", ["direct", "buffered"])
def test_64_stalled_reads_hold_up_nobody_else(
    kind: str, share: Path, written: WrittenSeries, tmp_path: Path
) -> None:
    options = ("--read-deadline", str(DEADLINE), "--no-watch")
    with serving(share, tmp_path / "served", *options) as mount:
        # Where the kernel passes on 12 reads at a time, the 13th waits whatever we do.
        set_max_background(mount.point, 128)
        hanging = by_series(mount, "stalled", written)
        healthy = by_series(mount, "healthy", written)
        with open_archive(share, index=tmp_path / "index") as archive:
            known = archive.open(str(healthy.relative_to(mount.point))).read()
        try:
            _stall(hanging, healthy, known, kind, tmp_path / "hang")
        finally:
            (tmp_path / "hang").unlink()
        # The source is back.
        size = hanging.stat().st_size
        wait_for(lambda: _whole(hanging) == size)
        assert "Traceback" not in mount.log.read_text()


def _stall(hanging: Path, healthy: Path, known: bytes, kind: str, hang: Path) -> None:
    hang.write_text("")
    readers = stalled.many_reads(hanging, STALLED_READS, kind)
    said: list[str] = []

    def wait() -> None:
        said.append(readers.communicate()[0])

    waiting = threading.Thread(target=wait)
    waiting.start()
    file = os.open(healthy, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)  # noqa: TID251 - aligned memory
    try:
        for number in range(HEALTHY_READS):
            offset = number * 4096 % (len(known) // 4096 * 4096)
            assert os.preadv(file, [buffer], offset) == 4096
            assert buffer[:] == known[offset : offset + 4096]
            healthy.stat()
        assert waiting.is_alive()
    finally:
        os.close(file)
        waiting.join(PATIENCE)
    assert said == [f"{-errno.EIO}\n"]


def _whole(path: Path) -> int:
    try:
        return len(path.read_bytes())
    except OSError:
        return -1
