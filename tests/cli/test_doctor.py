"""`dicomfs doctor`: what it finds, what it advises, and its exit code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import imagecodecs
import pytest
from click.testing import CliRunner

from dicomfs.cli import main, surroundings, trial
from dicomfs.fuse import prerequisites, system, tuning
from dicomfs.fuse.system import Finding, State
from dicomfs.source.mount_table import mounts


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(folder))
    return folder


def found(findings: list[Finding], name: str) -> Finding:
    (one,) = (finding for finding in findings if finding.name == name)
    return one


# ---------------------------------------------------------------- the command


@pytest.mark.fuse
@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="/dev/fuse is missing")
def test_a_system_that_can_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "source").mkdir()
    done = CliRunner().invoke(main, ["doctor", str(tmp_path / "source"), "--json"])
    document = json.loads(done.stdout)
    states = {one["name"]: one["state"] for one in document["findings"]}
    assert done.exit_code == 0, done.output
    assert document["ok"]
    assert states["mount"] == "ok"
    assert {"kernel", "device", "fusermount3", "allow_other", "pyfuse3", "read_ahead_kb",
            "max_background", "python", "codecs", "cache", "open-files", "watches", "encoding",
            "source", "source-watches", "index"} <= states.keys()  # fmt: skip
    assert all(one["found"] for one in document["findings"])
    assert all(one["advice"] for one in document["findings"] if one["state"] != "ok")
    assert not [mount for mount in mounts() if mount.mountpoint.startswith(str(tmp_path))]
    assert not list(tmp_path.glob("dicomfs-doctor-*"))


def test_what_fails_is_exit_code_1_and_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_DEVICE", Path("/nowhere/fuse"))
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "fail  device" in done.stdout
    assert "/nowhere/fuse is missing" in done.stdout
    assert "modprobe fuse" in done.stdout
    assert "\nok    mount" not in done.stdout  # there was no need to try


def test_a_mount_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(arguments: list[str]) -> str:
        return "fusermount3: mount failed: Operation not permitted"

    monkeypatch.setattr(trial, "_run", refuse)
    monkeypatch.setattr(system, "examine", list)
    done = CliRunner().invoke(main, ["doctor", "--json"])
    assert done.exit_code == 1
    (one,) = (f for f in json.loads(done.stdout)["findings"] if f["name"] == "mount")
    assert one["state"] == "fail"
    assert one["found"] == "fusermount3: mount failed: Operation not permitted"


def test_settings_that_were_not_raised() -> None:
    slow, unseen = trial.judge({"read_ahead_kb": (128, 1024)})
    assert (slow.state, unseen.state) == (State.WARN, State.WARN)
    assert "128" in slow.found
    assert "fusectl" in unseen.advice
    fast = trial.judge({"read_ahead_kb": (4096, 1024), "max_background": (64, 64)})
    assert [one.state for one in fast] == [State.OK, State.OK]


def test_settings_are_read_as_they_are(tmp_path: Path) -> None:
    for name, value in (("class/bdi/0:7/read_ahead_kb", 128),
                        ("fs/fuse/connections/7/max_background", 12)):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"{value}\n")
    assert tuning.settings((0, 7), tmp_path) == {
        "read_ahead_kb": (128, 1024),
        "max_background": (12, 128),
    }
    assert "read_ahead_kb" not in tuning.settings((0, 8), tmp_path)


# ---------------------------------------------------------------- FUSE


def test_users_need_fusermount_and_root_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    one = found(system.examine(), "fusermount3")
    assert (one.state, "apt install fuse3" in one.advice) == (State.FAIL, True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert found(system.examine(), "fusermount3").state is State.WARN


def test_a_fusermount_that_is_not_setuid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "fusermount3"
    program.write_text("#!/bin/sh\necho fusermount3 version: 3.99.0\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: os.fspath(program))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    one = found(system.examine(), "fusermount3")
    assert one.state is State.WARN
    assert "3.99.0 is not setuid" in one.found
    program.chmod(0o4755)
    assert found(system.examine(), "fusermount3").state is State.OK


@pytest.mark.parametrize(("text", "state"), [("", "warn"), ("user_allow_other\n", "ok")])
def test_whether_others_may_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, state: str
) -> None:
    (tmp_path / "fuse.conf").write_text(text)
    monkeypatch.setattr(prerequisites, "_CONFIGURATION", tmp_path / "fuse.conf")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert found(system.examine(), "allow_other").state == state


# ---------------------------------------------------------------- everything else


def test_codecs_that_are_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagecodecs.JPEG2K, "available", False)
    one = found(surroundings.examine(), "codecs")
    assert one.state is State.WARN
    assert "lacks JPEG2K" in one.found
    assert "JPEG 2000 and HTJ2K" in one.advice


def test_a_cache_directory_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    one = found(surroundings.examine(), "cache")
    assert one.state is State.WARN
    assert "cannot be written: File exists" in one.found


def test_a_cache_directory_that_others_may_enter(home: Path) -> None:
    (home / "dicomfs").mkdir(parents=True)
    (home / "dicomfs").chmod(0o755)
    assert "chmod 700" in found(surroundings.examine(), "privacy").advice
    (home / "dicomfs").chmod(0o700)
    assert not [one for one in surroundings.examine() if one.name == "privacy"]


def test_more_folders_than_watches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / "source" / str(number)).mkdir(parents=True)
    (tmp_path / "limit").write_text("9\n")
    monkeypatch.setattr(surroundings, "_WATCHES", tmp_path / "limit")
    one = found(surroundings.examine_source(tmp_path / "source"), "source-watches")
    assert one.state is State.WARN
    assert "max_user_watches=20" in one.advice


@pytest.mark.parametrize(
    ("kind", "state"), [("nfs4", "warn"), ("fuse.sshfs", "warn"), ("xfs", "ok")]
)
def test_network_sources(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, state: str
) -> None:
    monkeypatch.setattr(surroundings, "_kind", lambda device: kind)
    one = found(surroundings.examine_source(tmp_path), "source")
    assert one.state == state
    assert ("--rescan" in one.advice) is (state == "warn")


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["doctor", str(tmp_path / "missing"), "--json"])
    assert done.exit_code == 1
    (one,) = (f for f in json.loads(done.stdout)["findings"] if f["name"] == "source")
    assert "does not exist" in one["found"]
