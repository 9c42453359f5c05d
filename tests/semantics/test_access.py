"""Who sees a mount: the user who mounted it, others only if that was asked for."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from dicomfs.source.mount_table import mount_at
from tests.conftest import WrittenSeries
from tests.semantics.serving import Serving, copy, serving

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.promise("S-19"),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("setpriv") is None,
        reason="only root can be another user: NOTHING PROVEN",
    ),
]

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def reachable(folder: Path) -> None:
    """Let others get to a folder of pytest, which are closed to them."""
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.getuid() and len(place.parts) > 2:
            place.chmod(place.stat().st_mode | 0o711)


def as_nobody(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NOBODY, *map(str, command)], capture_output=True, text=True, timeout=30, check=False
    )


def options_of(mount: Serving) -> list[str]:
    line = subprocess.run(
        ["findmnt", "-n", "-o", "OPTIONS", "--mountpoint", os.fspath(mount.point)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return line.stdout.strip().split(",")


def test_another_user_sees_nothing(written: WrittenSeries, tmp_path: Path) -> None:
    copy(written, "jpeg-444-jfif", tmp_path / "source" / "a")
    with serving(tmp_path / "source", tmp_path) as mount:
        reachable(tmp_path)
        slide = mount.slide()
        for command in (
            ("ls", mount.point),
            ("cat", slide),
            ("stat", slide),
            ("stat", mount.point),
        ):
            done = as_nobody(*command)
            assert done.returncode != 0
            assert "Permission denied" in done.stderr
            assert done.stdout == ""
        options = options_of(mount)
        assert "allow_other" not in options
        assert "default_permissions" in options


def test_another_user_reads_what_was_opened_to_others(
    written: WrittenSeries, tmp_path: Path
) -> None:
    copy(written, "jpeg-444-jfif", tmp_path / "source" / "a")
    with serving(tmp_path / "source", tmp_path, "--allow-other") as mount:
        reachable(tmp_path)
        slide = mount.slide()
        done = as_nobody("sha256sum", slide)
        own = subprocess.run(["sha256sum", slide], capture_output=True, text=True, check=True)
        assert (done.returncode, done.stdout) == (0, own.stdout)
        assert as_nobody("touch", slide).returncode != 0
        assert as_nobody("rm", "-f", slide).returncode != 0
        assert {"allow_other", "default_permissions"} <= set(options_of(mount))
        assert mount_at(mount.point) is not None


def test_modes_and_owners(written: WrittenSeries, tmp_path: Path) -> None:
    copy(written, "jpeg-main", tmp_path / "source" / "a")
    with serving(tmp_path / "source", tmp_path) as mount:
        for folder, _, names in os.walk(mount.point):
            state = os.stat(folder)
            assert stat.S_IMODE(state.st_mode) == 0o555
            assert (state.st_uid, state.st_gid) == (os.getuid(), os.getgid())
            for name in names:
                state = os.stat(os.path.join(folder, name))
                assert stat.S_IMODE(state.st_mode) == 0o444
                assert (state.st_uid, state.st_gid) == (os.getuid(), os.getgid())
