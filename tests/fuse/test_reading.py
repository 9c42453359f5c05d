"""What programs get from a real mount: bytes, listings, attributes, refusals, errors."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fuse.archive_fixture import (
    ATTRIBUTES,
    MANY,
    MTIME,
    SLIDE,
    STALLED,
    TROUBLES,
    expected,
)
from tests.fuse.mounted import Mounted, mounted, started, wait_for

pytestmark = pytest.mark.fuse

CONTENT = expected()


@pytest.fixture
def slide(mount: Mounted) -> Path:
    return mount.point / SLIDE


def test_the_whole_file(slide: Path) -> None:
    assert slide.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (0, 1),
        (0, 10),
        (995, 20),
        (len(CONTENT) - 10, 10),
        (4_899_000, 200_000),
        (1_048_575, 2),
        (3, 3_000_001),
    ],
)
def test_a_part(slide: Path, offset: int, size: int) -> None:
    with slide.open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), size, offset) == CONTENT[offset : offset + size]


def test_the_end_of_the_file(slide: Path) -> None:
    with slide.open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 100, len(CONTENT) - 7) == CONTENT[-7:]
        assert os.pread(file.fileno(), 100, len(CONTENT)) == b""
        assert os.pread(file.fileno(), 100, len(CONTENT) + 10_000) == b""
        assert file.seek(0, os.SEEK_END) == len(CONTENT)
        assert file.read() == b""


def test_an_empty_file(mount: Mounted) -> None:
    assert (mount.point / "empty").read_bytes() == b""


def test_many_readers_at_once(slide: Path) -> None:
    failures: list[str] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        with slide.open("rb", buffering=0) as file:
            for _ in range(60):
                offset = chance.randrange(len(CONTENT))
                size = chance.choice([1, 4096, 48_000, 131_072, 1_500_000])
                if os.pread(file.fileno(), size, offset) != CONTENT[offset : offset + size]:
                    failures.append(f"{size} bytes at {offset}")

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(read, range(24)))
    assert not failures


def test_many_readers_past_the_page_cache(slide: Path) -> None:
    # Every read is a request of its own, so buffers change hands all the time.
    failures: list[int] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        with open(os.open(slide, os.O_RDONLY | os.O_DIRECT), "rb", buffering=0) as file:
            buffer = mmap.mmap(-1, 512 * 1024)  # noqa: TID251 - aligned memory
            for _ in range(40):
                offset = chance.randrange(len(CONTENT) // 4096) * 4096
                got = os.preadv(file.fileno(), [buffer], offset)
                if buffer[:got] != CONTENT[offset : offset + 512 * 1024]:
                    failures.append(offset)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(read, range(16)))
    assert not failures


def test_direct_reads(slide: Path) -> None:
    with open(os.open(slide, os.O_RDONLY | os.O_DIRECT), "rb", buffering=0) as file:
        buffer = mmap.mmap(-1, 4 * 1024 * 1024)  # noqa: TID251 - aligned memory
        assert os.preadv(file.fileno(), [buffer], 0) == len(buffer)
        assert buffer[:] == CONTENT[: len(buffer)]
        tail = len(CONTENT) // 4096 * 4096
        assert os.preadv(file.fileno(), [buffer], tail) == len(CONTENT) - tail
        assert buffer[: len(CONTENT) - tail] == CONTENT[tail:]


def test_a_memory_map(slide: Path) -> None:
    with slide.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # noqa: TID251 - the reader
        assert mapped[4_899_500:4_970_500] == CONTENT[4_899_500:4_970_500]
        assert mapped[:] == CONTENT
        mapped.close()


def test_sendfile(slide: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with slide.open("rb") as file, copy.open("wb") as sink:
        offset = 0
        while sent := os.sendfile(sink.fileno(), file.fileno(), offset, len(CONTENT)):
            offset += sent
    assert copy.read_bytes() == CONTENT


@pytest.mark.parametrize("program", [["cat"], ["dd", "bs=1M", "status=none", "if=/dev/stdin"]])
def test_other_programs(slide: Path, program: list[str]) -> None:
    with slide.open("rb") as file:
        done = subprocess.run(program, stdin=file, stdout=subprocess.PIPE, check=True)
    assert done.stdout == CONTENT


@pytest.mark.promise("S-19")
def test_attributes_of_a_file(slide: Path) -> None:
    status = slide.stat()
    assert stat.S_IMODE(status.st_mode) == 0o444
    assert stat.S_ISREG(status.st_mode)
    assert status.st_size == len(CONTENT)
    assert status.st_blocks == -(-len(CONTENT) // 512)
    assert status.st_mtime_ns == status.st_ctime_ns == MTIME
    assert status.st_nlink == 1
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    assert status.st_blksize == 4096


@pytest.mark.promise("S-19")
def test_attributes_of_a_directory(mount: Mounted) -> None:
    status = mount.point.stat()
    assert stat.S_IMODE(status.st_mode) == 0o555
    assert stat.S_ISDIR(status.st_mode)
    assert status.st_ino == 1
    assert status.st_nlink == 2 + 3
    assert (mount.point / "many").stat().st_nlink == 2


def test_extended_attributes(slide: Path, mount: Mounted) -> None:
    assert set(os.listxattr(slide)) == set(ATTRIBUTES)
    assert {name: os.getxattr(slide, name) for name in os.listxattr(slide)} == ATTRIBUTES
    with pytest.raises(OSError) as caught:
        os.getxattr(slide, "user.dicom.PatientName")
    assert caught.value.errno == errno.ENODATA
    assert os.listxattr(mount.point / "many") == []


def test_listings(mount: Mounted) -> None:
    assert sorted(os.listdir(mount.point)) == ["TCGA-02", "empty", "many", "trouble"]
    with os.scandir(mount.point / "many") as entries:
        found = {entry.name: entry.inode() for entry in entries}
    assert list(found) == [f"{number:05d}" for number in range(MANY)]
    assert len(set(found.values())) == MANY
    assert found["00007"] == (mount.point / "many" / "00007").stat().st_ino
    dotted = subprocess.run(["ls", "-a", mount.point], stdout=subprocess.PIPE, check=True)
    assert dotted.stdout.split()[:2] == [b".", b".."]


def test_going_back_in_a_listing(mount: Mounted) -> None:
    """telldir(3) and seekdir(3), by which Samba finds its place again."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    for function in (libc.readdir, libc.telldir, libc.closedir):
        function.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    stream = libc.opendir(os.fsencode(mount.point / "many"))
    assert stream

    def read(count: int) -> list[bytes]:
        names: list[bytes] = []
        while len(names) < count and (entry := libc.readdir(stream)):
            names.append(ctypes.string_at(entry + 19))  # d_name
        return names

    try:
        head = read(1000)
        place = libc.telldir(stream)
        middle = read(500)
        assert len(read(5000)) == MANY + 2 - 1500
        libc.seekdir(stream, place)
        assert read(500) == middle
    finally:
        libc.closedir(stream)
    names = [f"{number:05d}".encode() for number in range(MANY)]
    assert head + middle == [b".", b"..", *names][:1500]


def test_missing_names(mount: Mounted) -> None:
    for name in ("missing", "Missing", "TCGA-02/missing", "bad\udcff"):
        with pytest.raises(FileNotFoundError):
            (mount.point / name).stat()
    with pytest.raises(NotADirectoryError):
        (mount.point / "empty" / "x").stat()


def test_access(slide: Path, mount: Mounted) -> None:
    assert os.access(slide, os.F_OK | os.R_OK)
    assert os.access(mount.point / "many", os.R_OK | os.X_OK)
    for path, mode in ((slide, os.W_OK), (mount.point, os.W_OK), (slide, os.X_OK)):
        assert not os.access(path, mode)
    assert not os.access(mount.point / "missing", os.F_OK)


def test_statfs(mount: Mounted) -> None:
    answer = os.statvfs(mount.point)
    total = answer.f_blocks * answer.f_frsize
    assert len(CONTENT) < total < 3 * len(CONTENT)
    assert answer.f_bavail == answer.f_bfree == answer.f_ffree == 0
    assert answer.f_files > MANY
    assert answer.f_namemax == 255
    assert answer.f_flag & os.ST_RDONLY
    assert answer.f_flag & os.ST_NOSUID


def test_the_table_of_mounts(mount: Mounted) -> None:
    wanted = ["-n", "-o", "SOURCE,FSTYPE,OPTIONS", "--mountpoint", os.fspath(mount.point)]
    line = subprocess.run(["findmnt", *wanted], stdout=subprocess.PIPE, check=True, text=True)
    source, kind, options = line.stdout.split()
    assert source == os.fspath(mount.source)
    assert kind == "fuse.dicomfs"
    given = options.split(",")
    assert {"ro", "nosuid", "nodev", "noexec", "default_permissions"} <= set(given)
    assert "allow_other" not in given


def _changes(file: Path, folder: Path) -> dict[str, object]:
    new = folder / "new"
    return {
        "open for writing": lambda: os.open(file, os.O_WRONLY),
        "open for both": lambda: os.open(file, os.O_RDWR),
        "open and truncate": lambda: os.open(file, os.O_WRONLY | os.O_TRUNC),
        "append": lambda: os.open(file, os.O_WRONLY | os.O_APPEND),
        "create": lambda: os.open(new, os.O_WRONLY | os.O_CREAT),
        "truncate": lambda: os.truncate(file, 0),
        "mkdir": lambda: os.mkdir(new),
        "rmdir": lambda: os.rmdir(folder),
        "unlink": lambda: os.unlink(file),
        "rename": lambda: os.rename(file, new),
        "symlink": lambda: os.symlink("x", new),
        "link": lambda: os.link(file, new),
        "mkfifo": lambda: os.mkfifo(new),
        "mknod": lambda: os.mknod(new),
        "chmod": lambda: os.chmod(file, 0o666),
        "chown": lambda: os.chown(file, 1, 1),
        "utime": lambda: os.utime(file),
        "setxattr": lambda: os.setxattr(file, "user.x", b"y"),
        "setxattr of an existing one": lambda: os.setxattr(file, "user.dicom.PatientID", b"y"),
        "removexattr": lambda: os.removexattr(file, "user.dicom.PatientID"),
        "access": lambda: None if os.access(file, os.W_OK) else _refused(),
    }


def _refused() -> None:
    raise OSError(errno.EROFS, "access(2) says only no")


CHANGES = list(_changes(Path(), Path()))


@pytest.mark.promise("S-18")
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_refused(mount: Mounted, slide: Path, change: str) -> None:
    attempt = _changes(slide, slide.parent)[change]
    assert callable(attempt)
    with pytest.raises(OSError) as caught:
        attempt()
    assert caught.value.errno == errno.EROFS
    assert slide.stat().st_size == len(CONTENT)


@pytest.mark.promise("S-18")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can remount a mount for writing")
def test_every_change_is_refused_by_ourselves_too(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        remount = ["mount", "-i", "-o", "remount,rw", os.fspath(mount.point)]
        subprocess.run(remount, check=True)
        assert not os.statvfs(mount.point).f_flag & os.ST_RDONLY
        slide = mount.point / SLIDE
        answers = {}
        for name, attempt in _changes(slide, slide.parent).items():
            assert callable(attempt)
            try:
                attempt()
            except OSError as error:
                answers[name] = error.errno
        # The kernel asks us about everything but access, which default_permissions makes its own.
        assert answers == dict.fromkeys(set(CHANGES) - {"access"}, errno.EROFS)
        assert slide.read_bytes() == CONTENT
        assert "ERROR" not in mount.log.read_text()


@pytest.mark.promise("S-24")
def test_an_error_of_one_file_is_that_of_one_read(source: Path, tmp_path: Path) -> None:
    with mounted(source, tmp_path) as mount:
        for _ in range(3):
            for name, code in TROUBLES.items():
                with pytest.raises(OSError) as caught:
                    (mount.point / "trouble" / name).read_bytes()
                assert (name, caught.value.errno) == (name, code)
            for ask in (os.listxattr, lambda path: os.getxattr(path, "user.x")):
                with pytest.raises(OSError) as caught:
                    ask(mount.point / "trouble" / "attributes")
                assert caught.value.errno == errno.EIO
        assert (mount.point / SLIDE).read_bytes() == CONTENT
        log = mount.log.read_text()
    # Each file and reason once, with a traceback only for what nobody foresaw.
    assert log.count("WARNING: /trouble/damaged: frame 7 cannot be decoded") == 1
    assert log.count("WARNING: /trouble/changed: a.dcm has changed") == 1
    assert log.count("WARNING: /trouble/changed-in-group: b.dcm has changed") == 1
    assert log.count("/trouble/runtime: read failed unexpectedly") == 1
    assert log.count("RuntimeError: a bug") == 3  # reading, listing and asking for attributes
    assert log.count("RuntimeError: the reader filled ") == 1


def test_stalled_reads_hold_up_nobody(source: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys, threading\n"
        "def read(number):\n"
        "    try:\n"
        "        os.pread(os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), 10, 4096 * number)\n"
        "    except OSError:\n"
        "        pass\n"
        "for number in range(40):\n"
        "    threading.Thread(target=read, args=(number,)).start()\n"
    )
    with started(source, tmp_path, verbosity="-vv") as mount:
        mount.wait_until_mounted()
        if "max_background raised" not in mount.log.read_text():
            pytest.skip("the kernel's limit of 12 stalled read-aheads may not be raised here")
        stalled = subprocess.Popen([sys.executable, "-c", program, mount.point / STALLED])
        wait_for(lambda: mount.log.read_text().count("a read stalls") == 40)
        whole = subprocess.run(
            ["cat", mount.point / SLIDE], stdout=subprocess.PIPE, check=True, timeout=20
        )
        assert whole.stdout == CONTENT
        assert mount.end() == 0
    # Only now: reads under way cannot even be killed while the mount lives.
    assert stalled.wait(10) == 0
