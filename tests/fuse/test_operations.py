"""The handlers, called directly: what the tests through a mount cannot reach."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import pyfuse3
import pytest
import trio

from dicomfs.extents import literal_table
from dicomfs.fuse.buffers import LARGEST
from dicomfs.fuse.operations import Operations
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs.nodes import File
from dicomfs.vfs.tree import Entry, Tree, build

ANYBODY = cast(pyfuse3.RequestContext, None)


class Reader:
    """Fills a buffer with one byte, and remembers the buffers."""

    def __init__(self) -> None:
        self.buffers: list[object] = []

    async def read_into(self, file: VirtualFile, offset: int, buffer: memoryview) -> int:
        self.buffers.append(buffer.obj)
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


class Fixture:
    """Handlers over a tree that can be replaced."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.tree = tree("1")
        self.operations = Operations(lambda: self.tree, self.reader, {"user.root": b"yes"})

    @property
    def file(self) -> File:
        """The file in the tree as it is now."""
        node = self.tree.lookup(1, "file")
        assert isinstance(node, File)
        return node


def tree(token: str, size: int = 5_000_000) -> Tree:
    """A tree with one file, whose number depends on the token."""
    content = VirtualFile(literal_table(bytes(size)), (), None)
    return build([Entry(("file",), content, 0, token), Entry(("folder", "x"), content, 0, "")])


def call(handler: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """Run a handler; an errno comes back as a negative number."""

    async def run() -> Any:
        try:
            return await handler(*arguments)
        except pyfuse3.FUSEError as error:
            return -error.errno

    return trio.run(run)


@pytest.fixture
def fixture() -> Fixture:
    return Fixture()


def test_a_missing_name_may_be_remembered_for_a_moment(fixture: Fixture) -> None:
    missing = call(fixture.operations.lookup, 1, b"missing", ANYBODY)
    assert missing.st_ino == 0
    assert 0 < missing.entry_timeout <= 2
    found = call(fixture.operations.lookup, 1, b"file", ANYBODY)
    assert found.st_ino == fixture.file.inode
    assert found.entry_timeout == found.attr_timeout == 300


def test_a_number_can_be_looked_up_after_a_restart(fixture: Fixture) -> None:
    # NFS hands out numbers and comes back with them to a mount that has never heard of them.
    number = fixture.file.inode
    again = Fixture()
    assert again.operations.supports_dot_lookup
    assert call(again.operations.lookup, number, b".", ANYBODY).st_ino == number
    assert call(again.operations.lookup, number, b"..", ANYBODY).st_ino == 1
    assert call(again.operations.lookup, 1, b"..", ANYBODY).st_ino == 1


def test_a_changed_file_is_another_file(fixture: Fixture) -> None:
    operations, before = fixture.operations, fixture.file
    handle = call(operations.open, before.inode, os.O_RDONLY, ANYBODY).fh
    fixture.tree = tree("2", size=10)
    assert fixture.file.inode != before.inode
    # The open handle keeps its version ...
    assert len(call(operations.read, handle, 0, 1000)) == 1000
    assert call(operations.getattr, before.inode, ANYBODY).st_size == before.content.size
    # ... until it is closed; then the number means nothing any more.
    call(operations.release, handle)
    assert call(operations.getattr, before.inode, ANYBODY) == -errno.ESTALE
    assert call(operations.open, before.inode, os.O_RDONLY, ANYBODY) == -errno.ESTALE
    assert call(operations.lookup, before.inode, b"x", ANYBODY) == -errno.ESTALE
    assert call(operations.read, handle, 0, 10) == -errno.EBADF


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (os.O_RDONLY, 0),
        (os.O_RDONLY | os.O_DIRECT | os.O_NOFOLLOW, 0),
        (os.O_WRONLY, errno.EROFS),
        (os.O_RDWR, errno.EROFS),
        (os.O_RDONLY | os.O_TRUNC, errno.EROFS),
    ],
)
def test_opening(fixture: Fixture, flags: int, code: int) -> None:
    answer = call(fixture.operations.open, fixture.file.inode, flags, ANYBODY)
    if code:
        assert answer == -code
    else:
        assert answer.keep_cache
        assert not answer.direct_io


def test_files_are_no_directories_and_the_other_way_round(fixture: Fixture) -> None:
    operations = fixture.operations
    assert call(operations.open, 1, os.O_RDONLY, ANYBODY) == -errno.EISDIR
    assert call(operations.opendir, fixture.file.inode, ANYBODY) == -errno.ENOTDIR
    assert call(operations.opendir, 12345, ANYBODY) == -errno.ESTALE
    assert call(operations.readdir, 12345, 0, None) == -errno.EBADF
    handle = call(operations.opendir, 1, ANYBODY)
    call(operations.releasedir, handle)
    assert call(operations.readdir, handle, 0, None) == -errno.EBADF


def test_reads_are_clipped_at_the_end_and_reuse_their_buffers(fixture: Fixture) -> None:
    operations, size = fixture.operations, fixture.file.content.size
    handle = call(operations.open, fixture.file.inode, os.O_RDONLY, ANYBODY).fh
    assert bytes(call(operations.read, handle, 0, 10)) == b"x" * 10
    assert len(call(operations.read, handle, size - 3, 10)) == 3
    assert len(call(operations.read, handle, size, 10)) == 0
    assert len(call(operations.read, handle, size + 99, 10)) == 0
    assert len(call(operations.read, handle, 0, LARGEST)) == LARGEST
    assert len({id(buffer) for buffer in fixture.reader.buffers}) == 1
    assert len(call(operations.read, handle, 0, 3 * LARGEST)) == 3 * LARGEST


def test_reads_at_the_same_time_have_buffers_of_their_own(fixture: Fixture) -> None:
    class Slow(Reader):
        async def read_into(self, file: VirtualFile, offset: int, buffer: memoryview) -> int:
            buffer[:] = bytes([offset]) * len(buffer)
            await trio.sleep(0)
            return len(buffer)

    operations = Operations(lambda: fixture.tree, Slow())
    handle = call(operations.open, fixture.file.inode, os.O_RDONLY, ANYBODY).fh
    answers: dict[int, bytes] = {}

    async def read(offset: int) -> None:
        # As pyfuse3 does: the bytes are sent before anything else can run.
        answers[offset] = bytes(await operations.read(handle, offset, 1000))

    async def run() -> None:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for offset in range(100):
                    nursery.start_soon(read, offset)

    trio.run(run)
    assert answers == {offset: bytes([offset]) * 1000 for offset in range(100)}


def test_attributes_of_the_root_and_of_nothing_else(fixture: Fixture) -> None:
    operations = fixture.operations
    folder = fixture.tree.root.children["folder"].inode
    assert call(operations.listxattr, 1, ANYBODY) == [b"user.root"]
    assert call(operations.getxattr, 1, b"user.root", ANYBODY) == b"yes"
    assert call(operations.listxattr, folder, ANYBODY) == []
    assert call(operations.getxattr, folder, b"user.root", ANYBODY) == -errno.ENODATA
    assert call(operations.getxattr, folder, b"user.\xff", ANYBODY) == -errno.ENODATA


def test_access(fixture: Fixture) -> None:
    assert call(fixture.operations.access, 1, os.R_OK | os.X_OK, ANYBODY) is True
    assert call(fixture.operations.access, 1, os.W_OK, ANYBODY) == -errno.EROFS
    assert call(fixture.operations.access, 12345, os.F_OK, ANYBODY) == -errno.ESTALE


# ---------------------------------------------------------------- listings


class Pages:
    """Reads a directory as the kernel does: some entries at a time, from a cookie on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
        self._size = size
        self._page: list[tuple[str, int]] = []
        monkeypatch.setattr(pyfuse3, "readdir_reply", self._take)

    def _take(self, token: object, name: bytes, attributes: Any, cookie: int) -> bool:
        if len(self._page) == self._size:
            return False
        assert cookie > 0
        self._page.append((name.decode(), cookie))
        return True

    def read(self, operations: Operations, inode: int, cookie: int) -> list[tuple[str, int]]:
        """A page of a directory that is opened for it alone, as an NFS server does."""
        handle = call(operations.opendir, inode, ANYBODY)
        assert handle > 0
        self._page = []
        answer = call(operations.readdir, handle, cookie, None)
        assert answer in (None, -errno.EINVAL)
        call(operations.releasedir, handle)
        return self._page if answer is None else [("EINVAL", 0)]


def folder_of(numbers: Iterable[int], token: str = "") -> Tree:
    content = VirtualFile(literal_table(b"x"), (), None)
    return build([Entry((f"{number:03d}",), content, 0, token) for number in numbers])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_pages_of_a_directory_are_all_of_it(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    pages = Pages(monkeypatch, size)
    operations = Operations(lambda: now, Reader())
    now = folder_of(range(50))
    seen, cookie = [], 0
    while page := pages.read(operations, 1, cookie):
        seen += [name for name, _ in page]
        cookie = page[-1][1]
    assert seen == [".", "..", *(f"{number:03d}" for number in range(50))]


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("token", ["", "changed"])
def test_nothing_is_left_out_or_doubled_where_entries_come_and_go_meanwhile(
    monkeypatch: pytest.MonkeyPatch, size: int, token: str
) -> None:
    pages = Pages(monkeypatch, size)
    operations = Operations(lambda: now, Reader())
    there = set(range(0, 60, 3))
    now = folder_of(there)
    rng = random.Random(size)
    seen: list[str] = []
    always = set(there)
    cookie = 0
    while page := pages.read(operations, 1, cookie):
        seen += [name for name, _ in page]
        cookie = page[-1][1]
        # The entry at which the reader has stopped goes as well, or becomes another file.
        if seen[-1].isdigit() and not token:
            there.discard(int(seen[-1]))
        there ^= {rng.randrange(60) for _ in range(5)}
        always &= there | {int(name) for name in seen if name.isdigit()}
        now = folder_of(there, token)
    assert seen == sorted(set(seen))
    assert always <= {int(name) for name in seen if name.isdigit()}


def test_a_cookie_that_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(monkeypatch, 5)
    assert pages.read(Operations(lambda: folder_of(range(9)), Reader()), 1, 4711) == [("EINVAL", 0)]


def test_cookies_mean_the_same_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(monkeypatch, 5)
    *_, (name, cookie) = pages.read(Operations(lambda: folder_of(range(9)), Reader()), 1, 0)
    assert name == "002"
    again = pages.read(Operations(lambda: folder_of(range(9)), Reader()), 1, cookie)
    assert again[0][0] == "003"


def test_what_the_log_calls_things(fixture: Fixture) -> None:
    operations, file = fixture.operations, fixture.file
    handle = call(operations.open, file.inode, os.O_RDONLY, ANYBODY).fh
    folder = call(operations.opendir, fixture.tree.root.children["folder"].inode, ANYBODY)
    assert operations.subject("read", handle) == "/file"
    assert operations.subject("readdir", folder) == "/folder"
    assert operations.subject("getattr", file.inode) == "/file"
    assert operations.subject("getattr", 12345) == "inode 12345"
    assert operations.subject("forget", [(1, 1)]) == "/"
    fixture.tree = tree("2")
    assert operations.subject("read", handle) == "file"


class Fetched:
    """A content that is put together when somebody opens it; counts how often."""

    size = 3

    def __init__(self) -> None:
        self.times = 0

    def fetch(self) -> VirtualFile:
        self.times += 1
        return VirtualFile(literal_table(b"abc"), (), None)


def test_a_file_that_is_open_is_not_put_together_again() -> None:
    held = Fetched()
    tree = build([Entry(("slide",), held, 0, "token")])
    (node,) = tree.root.children.values()
    operations = Operations(lambda: tree, Reader())

    async def main() -> None:
        first = await operations.open(node.inode, os.O_RDONLY, ANYBODY)
        second = await operations.open(node.inode, os.O_RDONLY, ANYBODY)
        assert held.times == 1
        assert first.fh != second.fh

    trio.run(main)
