"""A mount follows its source, and the kernel does not go on believing what it was told before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import WrittenSeries
from tests.fuse.mounted import PATIENCE, environment, sweep, wait_for

pytestmark = pytest.mark.fuse


@pytest.fixture
def source(written: WrittenSeries, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    shutil.copytree(written("jpeg-420-jfif").directory, folder / "first")
    return folder


@pytest.fixture
def point(source: Path, tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "mountpoint"
    place.mkdir()
    command = [sys.executable, "-m", "dicomfs"]
    done = subprocess.run(
        [*command, "mount", source, place],
        env=environment(tmp_path) | {"XDG_CACHE_HOME": os.fspath(tmp_path / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    try:
        assert done.returncode == 0, done.stderr
        yield place
        subprocess.run([*command, "unmount", place], check=True, timeout=PATIENCE)
    finally:
        sweep(place)


def slides(point: Path) -> set[Path]:
    # os.walk passes over folders that go while it walks.
    paths = (Path(folder, name) for folder, _, names in os.walk(point) for name in names)
    return {path for path in paths if path.suffix in (".svs", ".tif")}


def test_slides_come_change_and_go(source: Path, point: Path, written: WrittenSeries) -> None:
    (first,) = slides(point)
    before = first.stat()
    shutil.copytree(written("native-rgb8").directory, source / "second")
    wait_for(lambda: len(slides(point)) == 2)
    (second,) = slides(point) - {first}
    assert len(second.read_bytes()) == second.stat().st_size
    assert first.stat() == before

    with first.open("rb", buffering=0) as old:
        content = first.read_bytes()
        changed = next((source / "first").iterdir())
        os.utime(changed, (1e9, 1e9))
        wait_for(lambda: first.stat().st_ino != before.st_ino)
        assert first.read_bytes() == content
        assert os.fstat(old.fileno()).st_ino == before.st_ino

    folder = second.parent
    shutil.rmtree(source / "second")
    wait_for(lambda: slides(point) == {first})
    assert not second.exists()
    assert not folder.exists() or folder == first.parent
