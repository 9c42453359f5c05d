"""Where a mount may go, what is said where it may not, and how the system is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dicomfs.cli.mount import mount as mount_command
from dicomfs.errors import MountError
from dicomfs.fuse import prerequisites
from dicomfs.fuse.mountpoint import check_source, prepare_mountpoint
from dicomfs.fuse.process import Process
from dicomfs.fuse.tuning import tune
from dicomfs.fuse.unmount import holders, locate
from dicomfs.source.mount_table import Mount, mount_at, mounts, parse
from tests.fuse.mounted import Mounted, daemon, run

# ---------------------------------------------------------------- source and mountpoint


def test_sources(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert check_source(link) == tmp_path
    (tmp_path / "file").write_text("")
    with pytest.raises(MountError, match="does not exist"):
        check_source(tmp_path / "missing")
    with pytest.raises(MountError, match="not a directory; give the directory"):
        check_source(tmp_path / "file")


def test_a_source_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(MountError, match="cannot be read: permission denied"):
        check_source(tmp_path)


def test_a_good_mountpoint(tmp_path: Path, point: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    link = tmp_path / "link"
    link.symlink_to(point)
    assert prepare_mountpoint(point, source) == prepare_mountpoint(link, source) == point
    (point / "file").write_text("")
    assert prepare_mountpoint(point, source, nonempty=True) == point


@pytest.mark.parametrize(
    ("mountpoint", "sentence"),
    [
        ("missing place", "does not exist: create it with `mkdir -p '.*/missing place'`"),
        ("file", "is not a directory"),
        ("file/below", "is not a directory"),
        ("full", "is not empty: mount at an empty directory, or hide .* with `-o nonempty`"),
        ("source", "is the source itself"),
        ("link-to-source", "is the source itself"),
        ("source/inside", "lies inside the source"),
        ("link-to-source/inside", "lies inside the source"),
        (".", "lies inside the mountpoint .* would be hidden"),
    ],
)
def test_a_bad_mountpoint(tmp_path: Path, mountpoint: str, sentence: str) -> None:
    (tmp_path / "source" / "inside").mkdir(parents=True)
    (tmp_path / "link-to-source").symlink_to("source")
    (tmp_path / "full" / "of").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(MountError, match=sentence):
        prepare_mountpoint(tmp_path / mountpoint, tmp_path / "source")


@pytest.mark.fuse
def test_a_mountpoint_in_use(mount: Mounted) -> None:
    sentence = f"already shows {mount.source}: end that with `dicomfs unmount {mount.point}`"
    for nonempty in (False, True):
        with pytest.raises(MountError, match=sentence):
            prepare_mountpoint(mount.point, mount.source, nonempty)


def test_a_mount_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(MountError, match=r"already a mount of proc: .*`-o nonempty`"):
        prepare_mountpoint(Path("/proc"), tmp_path)


# ---------------------------------------------------------------- the command's refusals


@pytest.mark.fuse
def test_refusals_are_a_sentence_and_exit_code_1(source: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "mount", source, tmp_path / "missing")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: the mountpoint {tmp_path}/missing does not exist: ")
    done = run(tmp_path, "mount", tmp_path / "missing", source)
    assert (done.returncode, done.stderr) == (
        1,
        f"Error: the source {tmp_path}/missing does not exist\n",
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["mount"], "SOURCE"),
        (["mount", "a", "b", "--flavour", "png"], "--flavour"),
        (["mount", "a", "b", "-o", "flavour=png"], "--flavour"),
        (["unmount"], "MOUNTPOINT"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: list[str], word: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.fuse
def test_options(source: Path, tmp_path: Path) -> None:
    point = tmp_path / "mountpoint"
    point.mkdir()
    (point / "hidden").write_text("")
    options = "ro,nosuid,_netdev,x-systemd.automount,allow_other,nonempty,noatime"
    with daemon(source, tmp_path, "-o", options, "--flavour", "svs", "--flavour", "ome"):
        table = Path("/proc/self/mountinfo").read_text().splitlines()
        (line,) = (line for line in table if f" {point} " in line)
        assert "allow_other" in line.split(" - ")[1]
        assert not (point / "hidden").exists()
    assert (point / "hidden").exists()


def test_every_option_is_explained() -> None:
    for parameter in mount_command.params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), parameter.name


# ---------------------------------------------------------------- what the system lacks


def test_no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prerequisites, "_DEVICE", tmp_path / "fuse")
    with pytest.raises(MountError, match=r"modprobe fuse.*--device /dev/fuse"):
        prerequisites.check()


@pytest.fixture
def ordinary_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prerequisites, "_DEVICE", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")


@pytest.mark.usefixtures("ordinary_user")
def test_no_fusermount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(MountError, match="apt install fuse3"):
        prerequisites.check()
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # root needs none
    prerequisites.check()


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize(
    ("text", "allowed"),
    [("", False), ("#user_allow_other\n", False), ("mount_max = 5\n user_allow_other \n", True)],
)
def test_other_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, allowed: bool
) -> None:
    configuration = tmp_path / "fuse.conf"
    configuration.write_text(text)
    monkeypatch.setattr(prerequisites, "_CONFIGURATION", configuration)
    prerequisites.check(allow_other=False)
    if allowed:
        prerequisites.check(allow_other=True)
    else:
        with pytest.raises(MountError, match="user_allow_other"):
            prerequisites.check(allow_other=True)


def test_no_pyfuse3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prerequisites, "_DEVICE", tmp_path)
    monkeypatch.setitem(sys.modules, "pyfuse3", None)
    with pytest.raises(MountError, match=r"pyfuse3 cannot be loaded .*libfuse3-3"):
        prerequisites.check()


def test_the_rest_of_the_command_line_works_without_pyfuse3() -> None:
    program = "import sys; sys.modules['pyfuse3'] = None; from dicomfs.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "unmount", "/nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "Error: nothing is mounted at /nowhere\n")


# ---------------------------------------------------------------- the table of mounts


def test_the_table() -> None:
    lines = [
        b"36 35 98:0 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/root rw\n",
        b"42 27 0:39 / /mnt/\xc3\xa4 ro - fuse.dicomfs /x\\134y\\012z ro,user_id=0\n",
    ]
    assert parse(lines) == [
        Mount((98, 0), "/mnt/a b", "ext4", "/dev/root"),
        Mount((0, 39), "/mnt/ä", "fuse.dicomfs", "/x\\y\nz"),
    ]


def test_the_table_of_this_system() -> None:
    assert len(mounts()) > 1
    proc = mount_at(Path("/proc"))
    assert proc is not None
    assert proc.kind == "proc"
    status = os.stat("/proc")
    assert proc.device == (os.major(status.st_dev), os.minor(status.st_dev))
    assert mount_at(Path("/proc/self")) is None


def test_a_mountpoint_is_found_without_being_touched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/proc")
    assert locate(tmp_path / "link") == Path("/proc")
    touched: list[str] = []
    original = os.lstat

    def lstat(path: str, **rest: object) -> os.stat_result:
        touched.append(os.fspath(path))
        return original(path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert locate(Path("/proc")) == Path("/proc")
    assert "/proc" not in touched


# ---------------------------------------------------------------- processes and settings


def test_processes() -> None:
    me = Process.of(os.getpid())
    assert me is not None
    assert me.runs()
    assert Process.parse(bytes(me)) == me
    assert not Process(me.pid, me.started + 1).runs()
    assert not me.wait(0.0)
    for nonsense in (b"", b"1", b"a b", b"1 2 3"):
        assert Process.parse(nonsense) is None


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = Process.of(child.pid)
    assert process is not None
    assert process.runs()
    child.kill()
    assert process.wait(10)
    assert Process.of(child.pid) is None
    child.wait()


def test_who_holds_a_directory(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        assert any(f"({os.getpid()})" in holder for holder in holders(tmp_path))
    assert not any(f"({os.getpid()})" in holder for holder in holders(tmp_path))
    with (tmp_path.parent / f"{tmp_path.name}-neighbour").open("w"):
        assert not any(f"({os.getpid()})" in holder for holder in holders(tmp_path))


def test_settings_are_raised_where_they_can_be(tmp_path: Path) -> None:
    bdi = tmp_path / "class" / "bdi" / "0:39"
    connection = tmp_path / "fs" / "fuse" / "connections" / "39"
    bdi.mkdir(parents=True)
    connection.mkdir(parents=True)
    (bdi / "read_ahead_kb").write_text("128\n")
    (connection / "max_background").write_text("200\n")
    first, second, third = tune((0, 39), tmp_path)
    assert first == "read_ahead_kb raised from 128 to 1024"
    assert (bdi / "read_ahead_kb").read_text() == "1024\n"
    assert second == "max_background is 200"
    assert (connection / "max_background").read_text() == "200\n"
    assert third.startswith("congestion_threshold was left alone: ")
