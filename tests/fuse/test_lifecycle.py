"""Mounts from beginning to end: signals, crashes, unmounting from outside, the background."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomfs.fuse import tuning
from dicomfs.fuse.process import Process
from dicomfs.source.mount_table import mount_at
from tests.fuse.archive_fixture import SLIDE, STALLED, STUCK, expected
from tests.fuse.mounted import (
    COMMAND,
    ROOT,
    daemon,
    environment,
    mounted,
    process_of,
    reader_process,
    run,
    started,
    sweep,
    wait_for,
)

pytestmark = pytest.mark.fuse

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.mark.promise("S-22")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_unmounts(source: Path, tmp_path: Path, number: int) -> None:
    with started(source, tmp_path) as mount:
        mount.wait_until_mounted()
        assert mount.end(number) == 0
        assert mount_at(mount.point) is None
        assert list(mount.point.iterdir()) == []
        assert "ERROR" not in mount.log.read_text()


@pytest.mark.promise("S-22")
def test_a_signal_unmounts_in_spite_of_open_files(source: Path, tmp_path: Path) -> None:
    with started(source, tmp_path) as mount:
        mount.wait_until_mounted()
        with (mount.point / SLIDE).open("rb", buffering=0) as file:
            stalled = reader_process(mount.point / STALLED)
            stuck = reader_process(mount.point / STUCK)
            assert mount.end() == 0
            assert mount_at(mount.point) is None
            with pytest.raises(OSError):
                os.pread(file.fileno(), 100, 6_000_000)
        for process in (stalled, stuck):
            answer, _ = process.communicate(timeout=10)
            assert int(answer) in (errno.ECONNABORTED, errno.ENOTCONN, errno.EIO)


def test_two_signals_are_as_good_as_one(source: Path, tmp_path: Path) -> None:
    with started(source, tmp_path) as mount:
        mount.wait_until_mounted()
        stalled = reader_process(mount.point / STALLED)
        mount.process.send_signal(signal.SIGTERM)
        assert mount.end(signal.SIGINT) == 0
        assert mount_at(mount.point) is None
        stalled.communicate(timeout=10)


@pytest.mark.parametrize("command", [["umount"], ["fusermount3", "-u"]])
def test_unmounted_from_outside(source: Path, tmp_path: Path, command: list[str]) -> None:
    if command == ["umount"] and os.geteuid() != 0:
        pytest.skip("umount is root's")
    with started(source, tmp_path) as mount:
        mount.wait_until_mounted()
        subprocess.run([*command, mount.point], check=True)
        assert mount.process.wait(5) == 0
        assert mount_at(mount.point) is None
        assert "ERROR" not in mount.log.read_text()


@pytest.mark.promise("S-23")
def test_a_mount_left_dead_by_a_crash_is_replaced(source: Path, tmp_path: Path) -> None:
    with started(source, tmp_path) as mount:
        mount.wait_until_mounted()
        mount.process.kill()
        mount.process.wait(5)
        with pytest.raises(OSError) as caught:
            os.listdir(mount.point)
        assert caught.value.errno == errno.ENOTCONN
        with mounted(source, tmp_path) as again:
            assert (again.point / SLIDE).read_bytes() == expected()


@pytest.mark.promise("S-23")
def test_a_mount_left_dead_by_a_crash_can_be_unmounted(source: Path, tmp_path: Path) -> None:
    with started(source, tmp_path) as mount:
        mount.wait_until_mounted()
        mount.process.kill()
        mount.process.wait(5)
        done = run(tmp_path, "unmount", mount.point)
        assert (done.returncode, done.stderr) == (0, "")
        assert mount_at(mount.point) is None


def test_the_kernel_is_tuned(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        device = mount.point.stat().st_dev
        setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
        if not os.access(setting, os.W_OK):
            pytest.skip(f"{setting} cannot be written")
        assert setting.read_text() == "1024\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount fusectl")
def test_the_kernel_is_tuned_without_the_control_filesystem(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        minor = os.minor(mount.point.stat().st_dev)
        with contextlib.ExitStack() as opened:
            descriptor = tuning._fusectl(opened)
            if descriptor is None:
                pytest.skip("the kernel does not let us mount fusectl")
            settings = Path("/proc/self/fd", str(descriptor), str(minor))
            assert (settings / "max_background").read_text() == "128\n"
            assert (settings / "congestion_threshold").read_text() == "96\n"


def test_a_connection_cut_by_the_administrator(source: Path, tmp_path: Path) -> None:
    with started(source, tmp_path) as mount:
        mount.wait_until_mounted()
        minor = os.minor(mount.point.stat().st_dev)
        with tuning._connections(Path("/sys/fs/fuse/connections")) as connections:
            abort = connections / str(minor) / "abort"
            if not abort.exists():
                pytest.skip("fusectl is not mounted")
            abort.write_text("1")
        assert mount.process.wait(5) == 0
        assert mount_at(mount.point) is None


# ---------------------------------------------------------------- in the background


def test_the_background(source: Path, tmp_path: Path) -> None:
    with daemon(source, tmp_path) as point:
        # No waiting here: the mount answers when the command returns.
        assert (point / SLIDE).read_bytes() == expected()
        process = process_of(point)
        assert process is not None
        assert process.runs()
        assert os.getsid(process.pid) == process.pid
        folder = Path("/proc", str(process.pid))
        assert os.readlink(folder / "cwd") == "/"
        assert os.readlink(folder / "fd" / "0") == "/dev/null"
        (log,) = (tmp_path / "state" / "dicomfs").iterdir()
        assert os.readlink(folder / "fd" / "1") == os.readlink(folder / "fd" / "2") == str(log)
        with pytest.raises(OSError):
            (point / "trouble" / "damaged").read_bytes()

        done = run(tmp_path, "unmount", point)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert mount_at(point) is None
        assert not process.runs()
        lines = log.read_text().splitlines()
        assert lines[0].endswith(f"{source} is shown at {point} by process {process.pid}")
        assert lines[1].endswith("/trouble/damaged: frame 7 cannot be decoded")
        assert lines[2].endswith(f"{point} is unmounted")
        assert len(lines) == 3


def test_what_the_background_says(source: Path, point: Path, tmp_path: Path) -> None:
    try:
        done = run(tmp_path, "mount", source, point)
        sentence = f"{source} is shown at {point}. Unmount with: dicomfs unmount {point}\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, "", sentence)
        assert run(tmp_path, "unmount", point).returncode == 0
        assert run(tmp_path, "-q", "mount", source, point).stderr == ""
        assert run(tmp_path, "unmount", point).returncode == 0
    finally:
        sweep(point)


def test_relative_paths_and_a_log_file(source: Path, tmp_path: Path) -> None:
    point = tmp_path / "mountpoint"
    point.mkdir()
    arguments = ["mount", os.path.relpath(source, ROOT), os.path.relpath(point, ROOT)]
    log = tmp_path / "logs" / "here.log"
    try:
        done = run(tmp_path, *arguments, "--log-file", os.path.relpath(log, ROOT))
        assert done.returncode == 0, done.stderr
        assert (point / SLIDE).read_bytes() == expected()
        assert f"{source} is shown" in log.read_text()
        assert run(tmp_path, "unmount", os.path.relpath(point, ROOT)).returncode == 0
    finally:
        sweep(point)


@pytest.mark.promise("S-22")
def test_a_daemon_ends_by_a_signal_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    with daemon(source, tmp_path) as point:
        process = process_of(point)
        assert process is not None
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(5)
        assert mount_at(point) is None


def test_a_log_file_that_cannot_be_written(source: Path, point: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = tmp_path / "file" / "log"
    done = run(tmp_path, "mount", "--log-file", wrong, source, point)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: the log file {wrong} cannot be written: ")
    assert mount_at(point) is None
    (tmp_path / "state").write_text("in the way of the default log file")
    with daemon(source, tmp_path):
        assert (point / SLIDE).read_bytes() == expected()


def test_a_failure_before_the_mount_is_the_commands(source: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "unreadable").write_text("")
    point = tmp_path / "mountpoint"
    point.mkdir()
    done = run(tmp_path, "mount", locked, point)
    assert done.returncode == 1
    assert done.stderr == "Error: the drawer of slides is locked\n"
    assert mount_at(point) is None


@pytest.fixture
def scanning(tmp_path: Path, point: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that goes into the background, but is still busy with its source."""
    slow = tmp_path / "slow-source"
    slow.mkdir()
    (slow / "slow").write_text("")
    process = subprocess.Popen(
        [*COMMAND, "mount", slow, point],
        cwd=ROOT,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for((slow / "scanning").exists)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        sweep(point)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("whom", ["terminal", "command"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_the_scan(
    scanning: subprocess.Popen[str], point: Path, whom: str, number: int
) -> None:
    (child,) = _children(scanning.pid)
    daemon_process = Process.of(child)
    assert daemon_process is not None
    if whom == "terminal":
        os.killpg(scanning.pid, number)
    else:
        scanning.send_signal(number)
    _, said = scanning.communicate(timeout=10)
    assert scanning.returncode == 1
    expected_words = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    assert expected_words in said
    assert daemon_process.wait(5)
    assert mount_at(point) is None


# ---------------------------------------------------------------- unmount


def test_a_busy_mount(source: Path, tmp_path: Path) -> None:
    with daemon(source, tmp_path) as point:
        process = process_of(point)
        assert process is not None
        with (point / SLIDE).open("rb", buffering=0) as file:
            done = run(tmp_path, "unmount", point)
            assert done.returncode == 1
            assert f"({os.getpid()})" in done.stderr
            assert f"dicomfs unmount --lazy {point}" in done.stderr
            assert process.runs()

            done = run(tmp_path, "unmount", "--lazy", point)
            assert done.returncode == 0
            assert f"process {process.pid} ends when" in done.stderr
            assert mount_at(point) is None
            assert file.read() == expected()
        assert process.wait(5)


def test_unmount_knows_its_own(point: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "unmount", point)
    assert (done.returncode, done.stderr) == (1, f"Error: nothing is mounted at {point}\n")
    done = run(tmp_path, "unmount", "/proc")
    assert done.returncode == 1
    assert done.stderr == "Error: /proc is a mount of proc, not of dicomfs\n"


def test_unmount_through_a_symbolic_link(source: Path, tmp_path: Path) -> None:
    with daemon(source, tmp_path) as point:
        link = tmp_path / "link"
        link.symlink_to(point)
        assert run(tmp_path, "unmount", link).returncode == 0
        assert mount_at(point) is None


def test_a_stopped_process_stops_nobody_else(source: Path, tmp_path: Path) -> None:
    with started(source, tmp_path) as mount:
        mount.wait_until_mounted()
        mount.process.send_signal(signal.SIGSTOP)
        done = run(tmp_path, "unmount", "--lazy", mount.point)
        assert done.returncode == 0, done.stderr
        assert mount_at(mount.point) is None
        mount.process.send_signal(signal.SIGCONT)
        assert mount.process.wait(10) == 0


def test_names_that_need_escaping(tmp_path: Path) -> None:
    source = tmp_path / "a,b\\c d\nMüller=#"
    source.mkdir()
    point = tmp_path / "point, \\x\tß"
    point.mkdir()
    for number in range(2):
        (source / f"{number}.dcm").write_bytes(bytes(5_000_000))
    try:
        done = run(tmp_path, "mount", source, point)
        assert done.returncode == 0, done.stderr
        mount = mount_at(point)
        assert mount is not None
        assert mount.source == str(source)
        assert (point / "TCGA-02" / "patient.json").read_bytes() == b"{}\n"
        assert run(tmp_path, "unmount", point).returncode == 0
    finally:
        sweep(point)


def test_the_command_without_a_test_archive_is_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicomfs", "mount", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "MOUNTPOINT" in done.stdout
