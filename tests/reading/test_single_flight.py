"""A value is made once for threads and tasks that want it at the same time."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import trio
import trio.testing

from dicomfs.errors import DicomfsError, SourceError, SourceTimeoutError
from dicomfs.reading.single_flight import REMEMBERED, MadeOnce, landed


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Held:
    """Stands for what was read on the way to an error."""


def of_bytes(clock: Clock | None = None) -> MadeOnce[str, bytes]:
    return MadeOnce(1000, len, clock or Clock())


def test_tasks_and_threads_wait_for_the_same_value() -> None:
    values = of_bytes()
    made: list[str] = []
    answers: list[bytes] = []
    gate = threading.Event()

    def make_blocking() -> bytes:
        made.append("in a thread")
        assert gate.wait(20)
        return b"value"

    async def make() -> bytes:
        made.append("in a task")
        return b"value"

    async def wait() -> None:
        answers.append(await landed(values.begin("key", make)))

    def follow() -> None:
        answers.append(values.obtain_blocking("key", make_blocking, 20))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, follow)
            while not made:
                await trio.sleep(0.002)
            for _ in range(5):
                nursery.start_soon(wait)
                nursery.start_soon(trio.to_thread.run_sync, follow)
            await trio.testing.wait_all_tasks_blocked(0.01)
            gate.set()

    trio.run(main)
    assert made == ["in a thread"]
    assert answers == [b"value"] * 11
    assert values.made == 1
    assert values.get("key") == b"value"


def test_threads_wait_for_a_task() -> None:
    values = of_bytes()

    async def main() -> bytes:
        gate = trio.Event()

        async def make() -> bytes:
            await gate.wait()
            return b"from a task"

        def forbidden() -> bytes:
            raise AssertionError("made twice")

        flight = values.begin("key", make)
        answers: list[bytes] = []

        async def follow() -> None:
            answer = await trio.to_thread.run_sync(values.obtain_blocking, "key", forbidden, 20)
            answers.append(answer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked(0.01)
            gate.set()
        assert answers == [await landed(flight)]
        return answers[0]

    assert trio.run(main) == b"from a task"


def test_a_thread_waits_no_longer_than_its_patience() -> None:
    values = of_bytes()
    gate = threading.Event()

    def make() -> bytes:
        assert gate.wait(20)
        return b"late"

    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(values.obtain_blocking, "key", make, 1)
        while "key" not in values._flights:
            pass
        with pytest.raises(SourceTimeoutError):
            values.obtain_blocking("key", make, 0.01)
        gate.set()
        assert leader.result() == b"late"
    assert values.obtain_blocking("key", make, 0.01) == b"late"
    assert values.made == 1


def test_the_making_goes_on_when_those_who_wait_leave() -> None:
    values = of_bytes()

    async def main() -> None:
        gate = trio.Event()

        async def make() -> bytes:
            await gate.wait()
            return b"value"

        with trio.move_on_after(0.01) as scope:
            await landed(values.begin("key", make))
        assert scope.cancelled_caught
        gate.set()
        assert await landed(values.begin("key", make)) == b"value"

    trio.run(main)
    assert values.made == 1


def failing(values: MadeOnce[str, bytes], error: Exception, blocking: bool) -> int:
    """Ask for a value that cannot be made; how often that was tried."""
    tries: list[int] = []

    def make() -> bytes:
        tries.append(1)
        raise error

    async def make_async() -> bytes:
        return make()

    async def main() -> bytes:
        return await landed(values.begin("key", make_async))

    ask = partial(values.obtain_blocking, "key", make, 1) if blocking else partial(trio.run, main)
    with pytest.raises(type(error), match=str(error)):
        ask()
    return len(tries)


@pytest.mark.parametrize("blocking", [False, True])
def test_a_failure_is_remembered_for_a_while(blocking: bool) -> None:
    clock = Clock()
    values = of_bytes(clock)
    error = DicomfsError("damaged")
    assert failing(values, error, blocking) == 1
    clock.now = REMEMBERED - 0.1
    assert failing(values, error, blocking) == 0
    assert failing(values, error, not blocking) == 0
    clock.now = REMEMBERED
    assert failing(values, error, blocking) == 1
    clock.now = 3 * REMEMBERED
    assert values.obtain_blocking("key", lambda: b"mended", 1) == b"mended"


@pytest.mark.parametrize("blocking", [False, True])
def test_that_a_source_did_not_answer_is_not_remembered(blocking: bool) -> None:
    values = of_bytes()
    assert failing(values, SourceTimeoutError("too late"), blocking) == 1
    assert failing(values, SourceTimeoutError("too late"), blocking) == 1


def test_the_memory_of_failures_is_bounded() -> None:
    values: MadeOnce[int, bytes] = MadeOnce(1000, len, Clock())

    def make() -> bytes:
        raise DicomfsError("damaged")

    for key in range(1000):
        with pytest.raises(DicomfsError):
            values.obtain_blocking(key, make, 1)
    assert len(values._failures) == 256


def test_failures_that_are_over_are_forgotten() -> None:
    clock = Clock()
    values: MadeOnce[int, bytes] = MadeOnce(1000, len, clock)

    def make() -> bytes:
        raise DicomfsError("damaged")

    for key in range(10):
        with pytest.raises(DicomfsError):
            values.obtain_blocking(key, make, 1)
    clock.now = REMEMBERED
    with pytest.raises(DicomfsError):
        values.obtain_blocking(10, make, 1)
    assert list(values._failures) == [10]


def test_an_error_does_not_grow_with_every_raise() -> None:
    values = of_bytes()
    error = DicomfsError("damaged")
    for _ in range(50):
        failing(values, error, blocking=True)
    depth = 0
    traceback = error.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    assert depth < 10


def test_a_failure_that_is_remembered_holds_nothing_that_was_read() -> None:
    values = of_bytes()
    held: list[weakref.ref[Held]] = []

    def read() -> bytes:
        here = Held()
        held.append(weakref.ref(here))
        raise DicomfsError("damaged")

    async def make() -> bytes:
        return await trio.to_thread.run_sync(read)

    async def run() -> None:
        values.begin("key", make)
        while not values._failures:
            await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()
        assert list(values._failures) == ["key"]
        assert held[0]() is None

    gc.disable()  # memory must not depend on when somebody looks for garbage
    try:
        trio.run(run)
    finally:
        gc.enable()


def test_those_who_wait_for_an_interrupted_thread_get_an_error() -> None:
    values = of_bytes()
    gate = threading.Event()

    def make() -> bytes:
        assert gate.wait(20)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(values.obtain_blocking, "key", make, 1)
        while "key" not in values._flights:
            pass
        follower = pool.submit(values.obtain_blocking, "key", make, 20)
        gate.set()
        assert isinstance(leader.exception(), KeyboardInterrupt)
        assert isinstance(follower.exception(), (SourceError, KeyboardInterrupt))
    assert values.obtain_blocking("key", lambda: b"value", 1) == b"value"


def test_a_flight_ends_with_its_loop() -> None:
    values = of_bytes()

    async def main() -> None:
        values.begin("key", never)
        await trio.testing.wait_all_tasks_blocked()

    async def never() -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    trio.run(main)
    assert values.obtain_blocking("key", lambda: b"value", 1) == b"value"
