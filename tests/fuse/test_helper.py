"""Called as mount(8) calls it: directly, without an environment, by mount itself, from fstab."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import pytest

from dicomfs.source.mount_table import mount_at
from tests.fuse.archive_fixture import SLIDE, expected
from tests.fuse.mounted import (
    COMMAND,
    PATIENCE,
    ROOT,
    environment,
    process_of,
    run,
    sweep,
    wait_for,
)

pytestmark = pytest.mark.fuse

by_mount_8 = pytest.mark.skipif(
    os.geteuid() != 0
    or not os.path.exists("/sbin/mount.fuse3")
    or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="mount(8) is root's, and needs /sbin/mount.fuse3 and a mount namespace for the test",
)


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Path]:
    """An empty directory with a space in its name, from which everything is removed again."""
    folder = tmp_path / "mount point"
    folder.mkdir()
    yield folder
    process = process_of(folder)
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
    sweep(folder)


def with_mount_8(folder: Path, script: str, **variables: Path) -> list[str]:
    """The lines that a shell writes in whose view /usr/local/sbin has the command `dicomfs` with
    the test archive, and nothing else; mount(8) unsets PATH, and there the shell looks first.
    """
    programs = folder / "sbin"
    programs.mkdir()
    program = programs / "dicomfs"
    python = shlex.quote(sys.executable)
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {python} -m tests.fuse.mount_fixture "$@"\n')
    program.chmod(0o755)
    prepare = f'mount --bind "{programs}" /usr/local/sbin\ntrap \'umount -l "$POINT" || :\' EXIT\n'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-euc", prepare + script],
        env={**environment(folder), **{name: str(value) for name, value in variables.items()}},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()


def test_without_a_command(source: Path, point: Path, tmp_path: Path) -> None:
    done = run(tmp_path, source, point, "-o", "rw,dev,suid,noauto,nofail,_netdev,x-a=b")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # The command has returned, so the mount answers.
    assert (point / SLIDE).read_bytes() == expected()
    process = process_of(point)
    assert process is not None
    assert os.getsid(process.pid) == process.pid


def test_what_is_wrong_is_exit_code_1(source: Path, point: Path, tmp_path: Path) -> None:
    done = run(tmp_path, source, point, "-o", "ro,nonsense")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: unknown option: nonsense; there are foreground, ")
    assert mount_at(point) is None


def test_without_an_environment(source: Path, point: Path, tmp_path: Path) -> None:
    # As at boot: no PATH, no HOME, no locale.
    done = subprocess.run(
        ["/usr/bin/env", "-i", f"XDG_STATE_HOME={tmp_path / 'state'}", sys.executable,
         "-m", "tests.fuse.mount_fixture", source, point, "-o", "ro,auto_unmount"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (point / SLIDE).read_bytes() == expected()


@pytest.mark.skipif(shutil.which("fusermount3") is None, reason="needs fusermount3")
def test_a_mount_that_is_removed_when_its_process_is_killed(
    source: Path, point: Path, tmp_path: Path
) -> None:
    done = run(tmp_path, source, point, "-o", "auto_unmount")
    assert (done.returncode, done.stderr) == (0, "")
    process = process_of(point)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: mount_at(point) is None)
    assert list(point.iterdir()) == []


@by_mount_8
def test_mount_8(source: Path, point: Path, tmp_path: Path) -> None:
    lines = with_mount_8(
        tmp_path,
        """
        mount -t fuse.dicomfs "$SOURCE" "$POINT"
        findmnt -n -o FSTYPE,SOURCE "$POINT"
        b2sum < "$POINT/$SLIDE"
        umount "$POINT"
        mount -t fuse.dicomfs "$SOURCE" "$POINT" -o ro,big_writes || echo "exit code $?"
        """,
        SOURCE=source,
        POINT=point,
        SLIDE=Path(SLIDE),
    )
    assert lines[0].split() == ["fuse.dicomfs", str(source)]
    assert lines[1].split()[0] == blake2b(expected()).hexdigest()
    assert lines[2].startswith("Error: unknown option: big_writes; there are ")
    assert lines[3] == "exit code 1"


@by_mount_8
def test_fstab(source: Path, point: Path, tmp_path: Path) -> None:
    log, table = tmp_path / "log", tmp_path / "fstab"
    escaped = str(point).replace(" ", "\\040")
    words = f"ro,allow_other,nofail,_netdev,x-systemd.automount,noatime,rescan=60,log_file={log}"
    table.write_text(f"{source} {escaped} fuse.dicomfs {words} 0 0\n")
    lines = with_mount_8(
        tmp_path,
        """
        mount -a -T "$TABLE"
        mount -a -T "$TABLE"  # nothing is left to be done
        findmnt -n -o OPTIONS "$POINT"
        b2sum < "$POINT/$SLIDE"
        """,
        TABLE=table,
        POINT=point,
        SLIDE=Path(SLIDE),
    )
    assert "allow_other" in lines[0].split(",")
    assert lines[1].split()[0] == blake2b(expected()).hexdigest()
    assert log.read_text().count("is shown at") == 1


def test_a_mount_under_systemd_logs_to_the_journal(
    source: Path, point: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    with journal.open("wb") as sink:
        status = os.fstat(sink.fileno())
        stream = f"{status.st_dev}:{status.st_ino}"
        done = subprocess.run(
            [*COMMAND, source, point],
            cwd=ROOT,
            env={**environment(tmp_path), "JOURNAL_STREAM": stream},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sink,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 0, journal.read_text()
    # From the background, too, and nowhere else.
    with pytest.raises(OSError):
        (point / "trouble" / "damaged").read_bytes()
    process = process_of(point)
    assert process is not None
    os.kill(process.pid, signal.SIGTERM)
    process.wait(PATIENCE)
    lines = journal.read_text().splitlines()
    assert lines[0].startswith(f"<6>dicomfs.cli.mount: {source} is shown at {point} by process ")
    assert "<4>dicomfs.fuse.boundary: /trouble/damaged: frame 7 cannot be decoded" in lines
    assert lines[-1] == f"<6>dicomfs.cli.mount: {point} is unmounted"
    assert not (tmp_path / "state").exists()


def test_a_log_of_json(source: Path, point: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = run(tmp_path, source, point, "-o", f"log_format=json,log_file={log}")
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(OSError):
        (point / "trouble" / "runtime").read_bytes()
    run(tmp_path, "unmount", point)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["level"] for entry in entries] == ["info", "error", "info"]
    assert entries[1]["traceback"].endswith("RuntimeError: a bug")
