"""Servers that export a mount to other machines: what arrives is what the mount shows.

Samba and NFS-Ganesha run for real, on ports of their own, where they are installed; the clients are
smbclient and libnfs, so that the kernel needs no support for either.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import WrittenSeries
from tests.mount.conftest import PATIENCE, Mount, mounted

pytestmark = [
    pytest.mark.fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="the servers are root's"),
]


def installed(*programs: str) -> bool:
    return all(
        shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") for program in programs
    )


@pytest.fixture(scope="module")
def exported(written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """A mount of slides that pass through, are decoded, and are inflated."""
    home = tmp_path_factory.mktemp("exported")
    for case_id in ("jpeg-422-jfif", "jpegls-rgb8", "jpeg-422-jfif-sparse-gaps"):
        shutil.copytree(written(case_id).directory, home / "source" / case_id)
    for path in (home, *home.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)  # servers read as other users
    yield from mounted(home / "source", home, "--allow-other")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "status.json"
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(port: int, log: Path, *command: str | Path) -> Iterator[None]:
    """A server in the foreground that has begun to listen; ended in any case.

    In a session of its own: at its end smbd signals the group of its processes.
    """
    with log.open("wb") as sink:
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL,
                                   stdout=sink, stderr=sink, start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def client(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.skipif(not installed("smbd", "smbclient"), reason="Samba is not installed")
def test_samba(exported: Mount, tmp_path: Path) -> None:
    port = free_port()
    folders = "".join(
        f"{name} directory = {tmp_path / name.replace(' ', '-')}\n"
        for name in ("state", "cache", "lock", "pid", "ncalrpc")
    ).replace("ncalrpc directory", "ncalrpc dir")
    for name in ("private", "state", "cache", "lock", "pid", "got"):
        (tmp_path / name).mkdir()
    (tmp_path / "smb.conf").write_text(
        f"""
        [global]
        server role = standalone server
        map to guest = Bad User
        interfaces = lo
        bind interfaces only = yes
        smb ports = {port}
        private dir = {tmp_path / "private"}
        {folders}
        disable spoolss = yes
        load printers = no
        [slides]
        path = {exported.point}
        read only = yes
        guest ok = yes
        """
    )
    smbd = shutil.which("smbd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert smbd is not None
    with serving(port, tmp_path / "log", smbd, "-F", "--no-process-group", "--debug-stdout",
                 "-s", tmp_path / "smb.conf"):  # fmt: skip
        client("smbclient", "//127.0.0.1/slides", "-p", str(port), "-N", "-c",
               "recurse ON; prompt OFF; mget *", folder=tmp_path / "got")  # fmt: skip
    expected = contents(exported.point)
    assert len(expected) >= 10
    assert contents(tmp_path / "got") == expected


@pytest.mark.skipif(not installed("ganesha.nfsd", "nfs-cp"), reason="NFS-Ganesha is not installed")
def test_nfs_ganesha(exported: Mount, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "recovery").mkdir()
    (tmp_path / "ganesha.conf").write_text(
        f"""
        NFS_CORE_PARAM {{ NFS_Port = {port}; Protocols = 4; Bind_addr = 127.0.0.1;
                          Enable_NLM = false; Enable_RQUOTA = false; }}
        NFS_KRB5 {{ Active_krb5 = false; }}
        NFSv4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = {tmp_path / "recovery"}; }}
        EXPORT {{ Export_Id = 1; Path = "{exported.point}"; Pseudo = "/slides"; Access_Type = RO;
                  Squash = None; SecType = sys; Protocols = 4; Filesystem_Id = 7.7;
                  FSAL {{ Name = VFS; }} }}
        """
    )
    program = shutil.which("ganesha.nfsd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    expected = contents(exported.point)
    with serving(port, tmp_path / "out", program, "-F", "-f", tmp_path / "ganesha.conf",
                 "-L", tmp_path / "log", "-p", tmp_path / "pid"):  # fmt: skip
        for name, data in expected.items():
            # The kernel of the server has forgotten the file: it asks for its number alone.
            Path("/proc/sys/vm/drop_caches").write_text("2\n")
            address = f"nfs://127.0.0.1/slides/{name}?version=4&nfsport={port}"
            client("nfs-cp", address, tmp_path / "copy", folder=tmp_path)
            assert (tmp_path / "copy").read_bytes() == data
            (tmp_path / "copy").unlink()
