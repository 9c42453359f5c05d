"""Sources, painters, resolvers and whole virtual files whose bytes a test knows beforehand."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.steps import Range, Steps, run_on_bytes
from dicomfs.errors import DamagedFrameError, DicomfsError, ShortReadError
from dicomfs.extents import AnyRun, ExtentTable, ExtentTableBuilder, TileRun
from dicomfs.reading.virtual_file import Resolved, SourceRange, VirtualFile
from dicomfs.source.protocol import Identity, SourceObject, SourceStats

T = TypeVar("T")

BAD_TILE = 13
"""Key of a run whose tiles cannot be painted."""


def object_of(key: str, size: int) -> SourceObject:
    return SourceObject(key, Identity(1, hash(key) & 0xFFFF, size, 0))


class MemorySource:
    """A source in memory.  What it has at hand, and what stalls, is up to the test.

    warm : whether a read without waiting succeeds
    stalled : objects of which every waiting read waits until the event is set
    """

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.name = "memory"
        self.contents = dict(contents)
        self.warm: Callable[[], bool] = lambda: True
        self.stalled: dict[str, threading.Event] = {}
        self.waiting: Counter[str] = Counter()
        self.most_waiting: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.failure: DicomfsError | None = None
        self._lock = threading.Lock()

    def objects(self) -> Iterator[SourceObject]:
        return (object_of(key, len(data)) for key, data in sorted(self.contents.items()))

    def run(self, obj: SourceObject, steps: Steps[T]) -> T:
        self.runs[obj.key] += 1
        self._stall(obj.key)
        if self.failure is not None:
            raise self.failure
        return run_on_bytes(steps, self.contents[obj.key])

    def read_into(self, obj: SourceObject, offset: int, buffer: memoryview) -> None:
        self.reads[obj.key] += 1
        self._stall(obj.key)
        if self.failure is not None:
            raise self.failure
        self._copy(obj, offset, buffer)

    def read_into_nowait(self, obj: SourceObject, offset: int, buffer: memoryview) -> bool:
        if obj.key in self.stalled or self.failure is not None or not self.warm():
            buffer[:] = b"?" * len(buffer)
            return False
        self._copy(obj, offset, buffer)
        return True

    def stats(self) -> SourceStats:
        return SourceStats(0, 0, self.reads.total())

    def close(self) -> None:
        self.contents.clear()

    def _copy(self, obj: SourceObject, offset: int, buffer: memoryview) -> None:
        data = self.contents[obj.key][offset : offset + len(buffer)]
        if len(data) < len(buffer):
            raise ShortReadError(f"{obj.key} ends too early")
        buffer[:] = data

    def _stall(self, key: str) -> None:
        event = self.stalled.get(key)
        if event is not None:
            with self._lock:
                self.waiting[key] += 1
                self.most_waiting[key] = max(self.most_waiting[key], self.waiting[key])
            assert event.wait(60)
            with self._lock:
                self.waiting[key] -= 1


def painted(run: AnyRun, tile: int, chunks: Sequence[bytes]) -> bytes:
    """What `Painter` makes of its input: any function of all its arguments will do."""
    seed = b"".join(chunks) + bytes([run.key, tile % 251])
    return (seed[::-1] * (run.size_of(tile) // len(seed) + 1))[: run.size_of(tile)]


@dataclass
class Painter:
    """Paints deterministic nonsense, and counts.

    files : how many objects there are, all of at least 600 bytes
    gate : if set, painting waits for it
    """

    files: int = 1
    gate: threading.Event | None = None
    wrong_size: bool = False
    painted: Counter[tuple[int, int]] = field(default_factory=Counter)
    at_work: int = 0
    most_at_work: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def inputs(self, run: AnyRun, tile: int) -> list[SourceRange]:
        first = SourceRange(tile % self.files, 7 * (tile % 50), 40)
        return [first, SourceRange((tile + 1) % self.files, 100 + run.key, 30)]

    def paint(self, run: AnyRun, tile: int, chunks: Sequence[bytes]) -> bytes:
        with self.lock:
            self.painted[run.key, tile] += 1
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
        if self.gate is not None:
            assert self.gate.wait(60)
        with self.lock:
            self.at_work -= 1
        if run.key == BAD_TILE:
            raise DamagedFrameError("cannot be decoded")
        return painted(run, tile, chunks)[: -1 if self.wrong_size else None]


@dataclass
class TableResolver:
    """Answers with a table made beforehand, after it has read a little of each object."""

    table: ExtentTable
    painter: Painter | None
    files: Sequence[int] = (0,)
    nbytes: int = 1000
    failure: Exception | None = None
    resolved: int = 0

    def frames(self, file: int) -> Steps[FrameTable]:
        head = yield Range(0, 4)
        length = len(head)
        return FrameTable(np.zeros(1, np.int64), np.full(1, length, np.int64), 4, None, "native")

    def resolve(self, tables: Mapping[int, FrameTable]) -> Resolved:
        self.resolved += 1
        assert sorted(tables) == sorted(self.files)
        assert all(int(table.lengths[0]) == 4 for table in tables.values())
        if self.failure is not None:
            raise self.failure
        return Resolved(self.table, self.painter, self.nbytes)


@dataclass
class Known:
    """A virtual file and its content, which was put together without any of the code under test.

    faulty : for each byte, whether reading it is an error
    """

    file: VirtualFile
    content: bytes
    faulty: bytes


def random_file(
    rng: random.Random, objects: Sequence[SourceObject], contents: Mapping[str, bytes]
) -> Known:
    """A virtual file of random pieces of all kinds, some of them deferred."""
    full, base = ExtentTableBuilder(), ExtentTableBuilder()
    content, faulty = bytearray(), bytearray()
    painter = Painter(len(objects))
    defers = rng.random() < 0.5
    has_tiles = rng.random() < 0.6
    for _ in range(rng.randrange(1, 40)):
        kind = rng.choice(["literal", "source", "zero", "tile", "fault", "many"])
        piece, bad = b"", b""
        sinks = [full, base]
        if defers and rng.random() < 0.4:
            sinks = [full]
        if kind == "literal":
            piece = rng.randbytes(rng.randrange(200))
            for sink in sinks:
                sink.literal(piece)
        elif kind == "source":
            number = rng.randrange(len(objects))
            data = contents[objects[number].key]
            at = rng.randrange(len(data))
            size = rng.randrange(min(5000, len(data) - at + 1))
            piece = data[at : at + size]
            for sink in sinks:
                sink.source(number, at, size)
        elif kind == "zero":
            size = rng.choice([rng.randrange(300), 300_000])
            piece = bytes(size)
            for sink in sinks:
                sink.zeros(size)
        elif kind == "tile" and has_tiles:
            run = TileRun(rng.randrange(10), rng.randrange(1, 700), rng.randrange(4))
            for tile in range(run.count):
                chunks = [
                    contents[objects[number].key][at : at + size]
                    for number, at, size in painter.inputs(run, tile)
                ]
                piece += painted(run, tile, chunks)
            for sink in sinks:
                sink.tiles(run)
        elif kind == "fault" and rng.random() < 0.3:
            bad = bytes([1]) * rng.randrange(50)
            for sink in sinks:
                sink.fault(len(bad))
        elif kind == "many":
            number = rng.randrange(len(objects))
            data = contents[objects[number].key]
            count = rng.choice([3, 200])
            sizes = [rng.randrange(12) for _ in range(count)]
            ats = [rng.choice([-1, rng.randrange(len(data) - 12)]) for _ in range(count)]
            parts = zip(sizes, ats, strict=True)
            piece = b"".join(bytes(n) if at < 0 else data[at : at + n] for n, at in parts)
            for sink in sinks:
                sink.scattered(number, np.array(sizes, np.int64), np.array(ats, np.int64))
        if len(sinks) == 1:
            base.deferred(len(piece) + len(bad))
        content += piece + b"!" * len(bad)
        faulty += bytes(len(piece)) + bad
    table = base.build()
    resolver = None
    if defers or table.runs:
        files = rng.sample(range(len(objects)), rng.randrange(len(objects) + 1))
        resolver = TableResolver(full.build(), painter, files)
    return Known(VirtualFile(table, tuple(objects), resolver), bytes(content), bytes(faulty))
