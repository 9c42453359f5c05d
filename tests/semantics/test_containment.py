"""Nothing outside of the source is opened, whatever links say; a mount never reads itself.

What is opened is told by the kernel (strace), not by the program.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import WrittenSeries
from tests.fuse.mounted import ROOT, environment, wait_for
from tests.semantics.serving import copy, serving

pytestmark = pytest.mark.fuse

CASE = "jpeg-444-jfif"

# Nameless files of our own, settings of the kernel in fusectl, and / itself.
SCRATCH = r"/(tmp|var/tmp)?(/?#\d+|/?[a-z0-9_]{8,11})?( \(deleted\))?$|/memfd:|/\d+/\w+$"


def links_out_of(source: Path, outside: Path) -> None:
    """Every way that a link can lead out of the source."""
    (source / "to-a-file.dcm").symlink_to(next(outside.iterdir()))
    (source / "to-a-folder").symlink_to(outside)
    (source / "upwards").symlink_to(Path("..", outside.name))
    (source / "through").mkdir()
    (source / "through" / "again").symlink_to(Path("..", "upwards"))
    (source / "to-itself").symlink_to("to-itself")
    (source / "to-the-root").symlink_to("/")
    (source / "to-a-process").symlink_to("/proc/self/root")
    (source / "inside").symlink_to("a")


@contextmanager
def swapping(place: Path, outside: Path) -> Iterator[None]:
    """A folder that is a link to the outside every other moment."""
    kept = place.with_name("kept")
    stop = threading.Event()

    def swap() -> None:
        while not stop.wait(0.001):
            place.rename(kept)
            place.symlink_to(outside)
            time.sleep(0.001)
            place.unlink()
            kept.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.promise("S-20")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing: NOTHING PROVEN")
def test_nothing_outside_of_the_source_is_opened(written: WrittenSeries, tmp_path: Path) -> None:
    source = tmp_path / "source"
    copy(written, CASE, source / "a")
    outside = copy(written, "jpeg-rgb-adobe", tmp_path / "outside")
    racing = copy(written, "jpeg-420-jfif", source / "racing", "racing")
    links_out_of(source, outside)
    trace = tmp_path / "trace"
    tracer = [
        *("strace", "-f", "-y", "-s", "4096", "-o", os.fspath(trace)),
        *("-e", "trace=open,openat,openat2,creat,execve"),
    ]
    with swapping(racing, outside), serving(
        source, tmp_path / "served", "--rescan", "1", wrapper=tracer
    ) as mount:  # fmt: skip
        for _ in range(3):
            for path in mount.files():
                try:
                    path.read_bytes()
                except OSError:
                    continue  # of the folder that is swapped
            time.sleep(1)
        uids = {
            os.getxattr(path, "user.dicomfs.series_instance_uid").decode()
            for path in mount.slides()
        }
    assert written("jpeg-rgb-adobe").series_uid not in uids
    assert written(CASE).series_uid in uids
    lines = trace.read_text(errors="replace").splitlines()
    opened = [found[1] for line in lines if (found := re.search(r"= \d+<([^>]*)>$", line))]
    assert any(path.startswith(os.fspath(source / "a")) for path in opened)
    assert [path for path in opened if path.startswith(os.fspath(outside))] == []
    known = (
        *(tmp_path / "source", tmp_path / "served", ROOT, Path(sys.prefix), Path(sys.base_prefix)),
        *map(Path, ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/bin", "/run")),
    )
    elsewhere = {
        path
        for path in opened
        if path.startswith("/")
        and not any(Path(path).is_relative_to(place) for place in known)
        and not re.match(SCRATCH, path)
    }
    # The folders on the way from / to the source are walked, and hold nothing of anybody's.
    assert {path for path in elsewhere if not source.is_relative_to(path)} == set()


@pytest.mark.promise("S-21")
def test_a_mountpoint_inside_of_the_source_is_refused(
    written: WrittenSeries, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    copy(written, CASE, source / "a")
    (source / "inside").mkdir()
    (tmp_path / "link").symlink_to(source / "inside")
    (tmp_path / "source-link").symlink_to(source)
    for given, place in (
        (source, source / "inside"),
        (source, tmp_path / "link"),
        (tmp_path / "source-link", source / "inside"),
        (source, tmp_path / "source-link" / "inside"),
        (source / "a", source),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "dicomfs", "mount", given, place],
            cwd=ROOT,
            env=environment(tmp_path) | {"XDG_CACHE_HOME": os.fspath(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("Error: the ")


@pytest.mark.promise("S-21")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can bind a directory")
def test_a_mountpoint_that_shows_in_the_source_by_a_bind_mount_is_left_out(
    written: WrittenSeries, tmp_path: Path
) -> None:
    """The mount does not find its own files in its source, and does not wait for itself."""
    source, served = tmp_path / "source", tmp_path / "served"
    copy(written, CASE, source / "a")
    window = source / "window"
    window.mkdir()
    (served / "mountpoint").mkdir(parents=True)
    subprocess.run(["mount", "--bind", served, window], check=True)
    try:
        # What is mounted below `served` from now on shows below `source` as well.
        with serving(source, served / "mount", "--rescan", "1") as mount:
            before = mount.slides()
            assert len(before) == 1
            (source / "another").mkdir()
            for path in written("native-grey16").paths:
                shutil.copy(path, source / "another")
            wait_for(lambda: len(list(mount.point.glob("*/*/*.json"))) >= 4)
            time.sleep(2)
            assert len(mount.slide_uids()) == 2
            assert "Traceback" not in mount.log.read_text()
    finally:
        subprocess.run(["umount", "-l", window], check=True)


@pytest.mark.promise("S-21")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can bind a directory")
def test_a_mount_that_is_bound_into_its_source_is_left_out(
    written: WrittenSeries, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    copy(written, CASE, source / "a")
    (source / "loop").mkdir()
    with serving(source, tmp_path / "served", "--rescan", "1") as mount:
        subprocess.run(["mount", "--bind", mount.point, source / "loop"], check=True)
        try:
            content = mount.slide().read_bytes()
            time.sleep(3)
            assert mount.slide().read_bytes() == content
            assert len(mount.slide_uids()) == 1
            assert "Traceback" not in mount.log.read_text()
        finally:
            subprocess.run(["umount", "-l", source / "loop"], check=True)
