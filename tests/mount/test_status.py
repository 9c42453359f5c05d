"""`.dicomfs/status.json`: what it tells of the moment in which it is read."""

from __future__ import annotations

import json
import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WrittenSeries
from tests.mount.conftest import Mount, mounted

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="module")
def one(written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """A mount of one slide, whose tiles are decoded."""
    home = tmp_path_factory.mktemp("status")
    shutil.copytree(written("jpegls-rgb8").directory, home / "source" / "a")
    yield from mounted(home / "source", home)


def status(mount: Mount) -> dict[str, Any]:
    path = mount.point / ".dicomfs" / "status.json"
    data = path.read_bytes()
    assert len(data) == path.stat().st_size
    return json.loads(data)


def test_it_tells_of_the_present(one: Mount) -> None:
    before = status(one)
    assert (before["slides"], before["rejected"]) == (1, 0)
    assert before["scan"]["state"] == "done"
    slide = next(one.point.rglob("*.svs"))
    with slide.open("rb") as file:
        file.read()
        during = status(one)
    # One is the file, the other status.json itself.
    assert during["mount"]["open_files"] >= 1
    assert during["uptime"] > before["uptime"]
    assert during["time"] > before["time"]
    reads = [sum(each["reads"][kind] for kind in ("inline", "waited")) for each in (before, during)]
    assert reads[1] > reads[0]
    assert during["caches"]["tiles"]["entries"] > 0
    assert during["caches"]["tiles"]["misses"] > 0
    assert during["source_files"]["opened"] > 0
    assert during["process"] == int(os.getxattr(one.point, "user.dicomfs.process").split()[0])


def test_a_hit_is_a_hit(one: Mount) -> None:
    slide = next(one.point.rglob("*.svs"))
    slide.read_bytes()
    before = status(one)["caches"]["tiles"]
    with slide.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.read()
    after = status(one)["caches"]["tiles"]
    assert after["hits"] > before["hits"]
    assert after["misses"] == before["misses"]
    assert 0 < after["hit_ratio"] <= 1


def test_it_is_a_file_like_any_other(one: Mount) -> None:
    path = one.point / ".dicomfs" / "status.json"
    number = path.stat().st_ino
    with path.open("rb") as first, path.open("rb") as second:
        a, b = first.read(), second.read()
        # An open handle keeps to its moment.
        first.seek(0)
        assert first.read() == a != b
        with mmap.mmap(first.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as mapped:  # noqa: TID251
            json.loads(mapped[:])
    assert path.stat().st_ino == number
    assert json.loads((one.point / ".dicomfs" / "rejected.json").read_bytes()) == []


def test_a_failed_request_is_counted(written: WrittenSeries, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(written("jpeg-444-jfif").directory, source)
    for mount in mounted(source, tmp_path, "--no-watch"):
        assert status(mount)["mount"]["failed_requests"] == 0
        slide = next(mount.point.rglob("*.svs"))
        for path in source.iterdir():
            os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(OSError):
            slide.read_bytes()
        assert status(mount)["mount"]["failed_requests"] > 0
