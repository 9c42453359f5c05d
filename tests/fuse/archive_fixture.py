"""A test archive: what `dicomfs.archive.Archive` is to the command, without any DICOM.

Its slide is put together from two source files, and some of its files fail on purpose when they
are read.  The source is made by `make_source`; a file called `unreadable` in it makes the archive
refuse it, one called `slow` makes it take its time and say so in a file called `scanning`.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import trio

from dicomfs.errors import DamagedFrameError, SourceChangedError, SourceError
from dicomfs.extents import ExtentTableBuilder, literal_table
from dicomfs.reading.reader import Reader
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.source.local import LocalDirectory
from dicomfs.vfs.tree import Entry, Tree, build

log = logging.getLogger("dicomfs.tests")

SLIDE = "TCGA-02/study-1a2b3c4d/Müller µm-5e6f7a8b.svs"
"""The file that is put together from two source files, a literal and zeros."""

STALLED = "trouble/stalled"
"""A file whose reads never end, as those of a network share that is gone."""

STUCK = "trouble/stuck"
"""The same with a thread that cannot be cancelled."""

HEADER = b"II+\0header" * 100
GAP = 70_001
MTIME = 1_234_567_890_123_456_789
ATTRIBUTES = {"user.dicom.PatientID": b"M\xc3\xbcller", "user.dicomfs.flavour": b"svs"}
MANY = 2_000

TROUBLES = {
    "runtime": errno.EIO,
    "oserror": errno.EIO,
    "fuse-like": errno.EIO,
    "group": errno.EIO,
    "short": errno.EIO,
    "damaged": errno.EIO,
    "changed": errno.ESTALE,
    "changed-in-group": errno.ESTALE,
}
"""Files below trouble/, and what reading them answers."""


def noise(seed: str, size: int) -> bytes:
    """`size` bytes that are the same for the same seed and repeat nowhere."""
    return hashlib.shake_128(seed.encode()).digest(size)


def make_source(folder: Path) -> None:
    """Put the two source files into a directory."""
    (folder / "a.dcm").write_bytes(noise("a", 5_000_000))
    (folder / "b.dcm").write_bytes(noise("b", 3_333_333))


def expected() -> bytes:
    """The content of SLIDE."""
    first, second = noise("a", 5_000_000), noise("b", 3_333_333)
    return HEADER + first[1_000:4_900_000] + bytes(GAP) + second[7:]


def _entries(source: LocalDirectory) -> list[Entry]:
    objects = tuple(obj for obj in source.objects() if obj.key.endswith(".dcm"))
    builder = ExtentTableBuilder()
    builder.literal(HEADER)
    builder.source(0, 1_000, 4_899_000)
    builder.zeros(GAP)
    builder.source(1, 7, 3_333_326)
    slide = VirtualFile(builder.build(), objects, None)

    def literal(path: str, data: bytes) -> Entry:
        return Entry(tuple(path.split("/")), VirtualFile(literal_table(data), (), None), MTIME, "")

    return [
        Entry(tuple(SLIDE.split("/")), slide, MTIME, "1", ATTRIBUTES),
        literal("TCGA-02/patient.json", b"{}\n"),
        literal("empty", b""),
        *(literal(f"many/{number:05d}", b"%d" % number) for number in range(MANY)),
        *(literal(f"trouble/{name}", bytes(300_000)) for name in TROUBLES),
        literal(STALLED, bytes(300_000)),
        literal(STUCK, bytes(300_000)),
        Entry(
            ("trouble", "attributes"),
            VirtualFile(literal_table(b"x"), (), None),
            MTIME,
            "",
            _BrokenMapping(),
        ),
    ]


class _BrokenMapping(Mapping[str, bytes]):
    """Attributes that nobody can have a look at."""

    def __getitem__(self, name: str) -> bytes:
        raise RuntimeError("a bug")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("a bug")

    def __len__(self) -> int:
        return 1


class TroubledReader:
    """A reader that fails on the files below trouble/."""

    def __init__(self, source: LocalDirectory) -> None:
        self._reader = Reader(source)
        self.troubles: dict[VirtualFile, Callable[[], None]] = {}
        self.stalled: VirtualFile | None = None
        self.stuck: VirtualFile | None = None

    async def read_into(self, file: VirtualFile, offset: int, buffer: memoryview) -> int:
        if file is self.stalled:
            log.debug("a read stalls")
            await trio.sleep_forever()
        if file is self.stuck:
            await trio.to_thread.run_sync(time.sleep, 3600, abandon_on_cancel=True)
        if trouble := self.troubles.get(file):
            trouble()
            return len(buffer) - 1
        return await self._reader.read_into(file, offset, buffer)


def _raising(error: Exception) -> Callable[[], None]:
    def trouble() -> None:
        raise error

    return trouble


_CAUSES = {
    "runtime": _raising(RuntimeError("a bug")),
    "oserror": _raising(OSError(errno.ENOSPC, "not ours")),
    "fuse-like": _raising(PermissionError(errno.EACCES, "not ours")),
    "group": _raising(ExceptionGroup("several", [ValueError("one"), OSError("two")])),
    "short": lambda: None,
    "damaged": _raising(DamagedFrameError("frame 7 cannot be decoded")),
    "changed": _raising(SourceChangedError("a.dcm has changed")),
    "changed-in-group": _raising(ExceptionGroup("one", [SourceChangedError("b.dcm has changed")])),
}


class Archive:
    """What `dicomfs.archive.Archive` gives to the command."""

    def __init__(self, source: LocalDirectory) -> None:
        self.tree: Tree = build(_entries(source))
        self.reader = TroubledReader(source)
        for name, cause in _CAUSES.items():
            self.reader.troubles[_content(self.tree, name)] = cause
        self.reader.stalled = _content(self.tree, "stalled")
        self.reader.stuck = _content(self.tree, "stuck")
        self._source = source
        self._folder = Path(source.name)

    @classmethod
    def remembered(cls, source: Path, *options: Any, exclude: Path, **others: Any) -> Archive:
        return cls(LocalDirectory(source, exclude=exclude))

    def follow(
        self, *, watch: bool, rescan: float | None, progress: Callable[[int, int | None], None]
    ) -> Follower:
        return Follower(self._folder, progress)

    def deliver_changes(self, deliver: object) -> None:
        """Nothing changes."""

    def observe(self, gauges: object) -> None:
        """Nobody asks."""

    def close(self) -> None:
        self._source.close()


class Follower:
    """Looks at the source in a thread, which must not be in the way of the background."""

    def __init__(self, source: Path, progress: Callable[[int, int | None], None]) -> None:
        self.scanned = threading.Event()
        self.failure: SourceError | None = None
        threading.Thread(target=self._scan, args=(source, progress), daemon=True).start()

    def _scan(self, source: Path, progress: Callable[[int, int | None], None]) -> None:
        progress(0, None)
        if (source / "slow").exists():
            (source / "scanning").write_text("")
            time.sleep(60)
        if (source / "unreadable").exists():
            self.failure = SourceError("the drawer of slides is locked")
        progress(2, 2)
        self.scanned.set()


def _content(tree: Tree, trouble: str) -> VirtualFile:
    folder = tree.root.children["trouble"]
    return folder.children[trouble].content  # type: ignore[union-attr]
