"""A source that does not answer holds up its own readers only, and those not for ever.

Time passes only where a test says so, thus none of them depends on how fast the machine is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dicomfs.errors import SourceTimeoutError
from dicomfs.extents import ExtentTable, ExtentTableBuilder, TileRun
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.reading.lanes import LANE_WIDTH, Lanes
from dicomfs.reading.reader import Reader
from dicomfs.reading.virtual_file import VirtualFile
from tests.reading.doubles import MemorySource, Painter, TableResolver, object_of

pytestmark = pytest.mark.promise("S-7")

BAD = b"b" * 1000
GOOD = b"g" * 1000
LIMITS = replace(DEFAULT_LIMITS, read_deadline=60.0)
TOO_LONG = 61.0


def source_table(size: int = 1000) -> ExtentTable:
    builder = ExtentTableBuilder()
    builder.source(0, 0, size)
    return builder.build()


def plain(key: str) -> VirtualFile:
    return VirtualFile(source_table(), (object_of(key, 1000),), None)


def deferred(key: str) -> VirtualFile:
    base = ExtentTableBuilder()
    base.deferred(1000)
    resolver = TableResolver(source_table(), None)
    return VirtualFile(base.build(), (object_of(key, 1000),), resolver)


def tiled(key: str) -> VirtualFile:
    builder = ExtentTableBuilder()
    builder.tiles(TileRun(1, 100, 10))
    table = builder.build()
    return VirtualFile(table, (object_of(key, 1000),), TableResolver(table, Painter()))


def crowded(key: str) -> VirtualFile:
    builder = ExtentTableBuilder()
    for i in range(1000):
        builder.source(0, i, 1)
    return VirtualFile(builder.build(), (object_of(key, 1000),), None)


@contextmanager
def stalling(*keys: str) -> Iterator[tuple[MemorySource, threading.Event]]:
    """A source of which these objects do not answer until the event is set."""
    source = MemorySource({"bad": BAD, "bad2": BAD, "good": GOOD})
    source.warm = lambda: False
    event = threading.Event()
    source.stalled = dict.fromkeys(keys, event)
    try:
        yield source, event
    finally:
        event.set()


async def until(condition: Callable[[], bool]) -> None:
    """Let everything run until something has come about; the time of day limits the wait."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        await trio.lowlevel.checkpoint()
        time.sleep(0.001)


def run(main: Callable[[MockClock], Awaitable[None]]) -> None:
    clock = MockClock()
    trio.run(main, clock, clock=clock)


async def ten(reader: Reader, key: str) -> bool:
    """Whether the first bytes of an object can be read."""
    return await reader.read_into(plain(key), 0, memoryview(bytearray(10))) == 10


async def all_time_out(
    clock: MockClock, reads: Sequence[Callable[[], Awaitable[int]]], hanging: Callable[[], bool]
) -> None:
    """Start reads, let the deadline pass when they hang, and see all of them fail."""

    async def fails(read: Callable[[], Awaitable[int]]) -> None:
        with pytest.raises(SourceTimeoutError):
            await read()

    async with trio.open_nursery() as nursery:
        for read in reads:
            nursery.start_soon(fails, read)
        await until(hanging)
        await wait_all_tasks_blocked()
        clock.jump(TOO_LONG)


@pytest.mark.parametrize("kind", [plain, deferred, tiled, crowded])
def test_others_are_read_while_one_stalls(kind: Callable[[str], VirtualFile]) -> None:
    with stalling("bad") as (source, event):
        reader = Reader(source, LIMITS)

        async def main(_: MockClock) -> None:
            bad = [kind("bad") for _ in range(20)]
            good = [kind("good") for _ in range(20)]
            async with trio.open_nursery() as nursery:
                for file in bad:
                    nursery.start_soon(reader.read_into, file, 0, memoryview(bytearray(1000)))
                await until(lambda: source.waiting["bad"] > 0)
                for file in good:
                    assert await reader.read_into(file, 0, memoryview(bytearray(1000))) == 1000
                assert source.waiting["bad"] > 0
                event.set()

        run(main)
        assert 0 < source.most_waiting["bad"] <= LANE_WIDTH


@pytest.mark.parametrize("kind", [plain, deferred, tiled, crowded])
def test_a_read_is_given_up_at_its_deadline(kind: Callable[[str], VirtualFile]) -> None:
    with stalling("bad") as (source, event):
        reader = Reader(source, LIMITS)
        file = kind("bad")

        async def main(clock: MockClock) -> None:
            buffer = bytearray(b"." * 1000)
            read = partial(reader.read_into, file, 0, memoryview(buffer))
            await all_time_out(clock, [read], lambda: source.waiting["bad"] > 0)
            buffer[:] = b"," * 1000  # the buffer now belongs to somebody else
            event.set()
            await until(lambda: source.waiting["bad"] == 0)
            await until(lambda: reader.stats().abandoned_threads == 0)
            assert buffer == b"," * 1000
            assert await read() == 1000

        run(main)
        assert reader.stats().timeouts >= 1


def test_a_cancelled_read_never_writes_into_its_buffer_again() -> None:
    with stalling("bad") as (source, event):
        reader = Reader(source, LIMITS)

        async def main(_: MockClock) -> None:
            buffer = bytearray(1000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader.read_into, plain("bad"), 0, memoryview(buffer))
                await until(lambda: source.waiting["bad"] == 1)
                nursery.cancel_scope.cancel()
            assert reader.stats().abandoned_threads == 1
            buffer[:] = b"," * 1000  # the buffer now belongs to somebody else
            event.set()
            await until(lambda: reader.stats().abandoned_threads == 0)
            assert buffer == b"," * 1000

        run(main)
        assert source.reads["bad"] == 1


def test_an_object_whose_lane_hangs_is_refused_at_once_until_it_recovers() -> None:
    with stalling("bad") as (source, event):
        reader = Reader(source, LIMITS)

        async def main(clock: MockClock) -> None:
            reads = [partial(ten, reader, "bad")] * (LANE_WIDTH + 3)
            await all_time_out(clock, reads, lambda: source.waiting["bad"] == LANE_WIDTH)
            before = trio.current_time()
            for _ in range(100):
                with pytest.raises(SourceTimeoutError, match="hang"):
                    await ten(reader, "bad")
            assert trio.current_time() == before
            assert source.reads["bad"] == LANE_WIDTH
            assert await ten(reader, "good")
            event.set()
            await until(lambda: reader.stats().abandoned_threads == 0)
            assert await ten(reader, "bad")

        run(main)
        assert reader.stats().timeouts == LANE_WIDTH + 3 + 100


def test_many_hanging_objects_leave_room_for_the_others() -> None:
    keys = [f"bad{i}" for i in range(20)]
    with stalling(*keys) as (source, event):
        for key in keys:
            source.contents[key] = BAD
        reader = Reader(source, LIMITS)

        async def main(clock: MockClock) -> None:
            reads = [partial(ten, reader, key) for key in keys]
            await all_time_out(clock, reads, lambda: source.reads.total() == 20)
            await all_time_out(clock, reads, lambda: source.reads.total() == 40)
            await all_time_out(clock, reads, lambda: source.reads.total() == 60)
            # More threads hang than may read at once.
            assert reader.stats().abandoned_threads == 60
            assert await ten(reader, "good")
            event.set()
            await until(lambda: reader.stats().abandoned_threads == 0)

        run(main)


def test_a_scan_goes_on_when_its_readers_have_lost_patience() -> None:
    with stalling("bad") as (source, event):
        reader = Reader(source, LIMITS)
        file = deferred("bad")

        async def main(clock: MockClock) -> None:
            buffer = bytearray(10)
            read = partial(reader.read_into, file, 0, memoryview(buffer))
            for _ in range(3):
                await all_time_out(clock, [read], lambda: source.waiting["bad"] == 1)
            del source.stalled["bad"]
            event.set()
            assert await read() == 10
            assert buffer == BAD[:10]

        run(main)
        assert source.runs["bad"] == 1


def test_the_loop_can_end_while_threads_hang() -> None:
    with stalling("bad") as (source, _):
        reader = Reader(source, LIMITS)

        async def main(clock: MockClock) -> None:
            file = deferred("bad")
            reads: list[Callable[[], Awaitable[int]]] = [
                partial(reader.read_into, file, 0, memoryview(bytearray(10))),
                partial(ten, reader, "bad"),
            ]
            await all_time_out(clock, reads, lambda: source.waiting["bad"] == 2)

        run(main)
        assert source.waiting["bad"] == 2


def test_the_loop_can_end_while_a_tile_is_painted() -> None:
    painter = Painter(gate=threading.Event())
    assert painter.gate is not None
    file = tiled("good")
    file = VirtualFile(file.table, file.objects, TableResolver(file.table, painter))
    reader = Reader(MemorySource({"good": GOOD}), LIMITS)

    async def main(_: MockClock) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read_into, file, 0, memoryview(bytearray(10)))
            await until(lambda: painter.at_work == 1)
            nursery.cancel_scope.cancel()

    began = time.monotonic()
    run(main)
    assert time.monotonic() - began < 30  # a painter gives up after 60
    painter.gate.set()


def test_a_lane_is_forgotten_when_nobody_is_in_it() -> None:
    with stalling("bad") as (source, event):
        lanes = Lanes(patience=60.0)

        async def main(clock: MockClock) -> None:
            def wait() -> int:
                source.read_into(object_of("bad", 1000), 0, memoryview(bytearray(10)))
                return 10

            assert await lanes.run("good", "good", lambda: 1, float("inf")) == 1
            assert not lanes._lanes
            job = partial(lanes.run, "bad", "bad", wait, 60.0)
            await all_time_out(clock, [job], lambda: source.waiting["bad"] == 1)
            assert list(lanes._lanes) == ["bad"]
            event.set()
            await until(lambda: not lanes._lanes)
            assert lanes.abandoned == 0

        run(main)
