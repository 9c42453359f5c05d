"""Waiting for the next request: at once where there is one, as trio does it where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing
from trio.testing import assert_checkpoints, assert_no_checkpoints

from dicomfs.fuse import readiness


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


async def _wait_twice(read_end: int, write_end: int) -> None:
    os.write(write_end, b"1")
    with assert_no_checkpoints():
        await trio.lowlevel.wait_readable(read_end)
    os.read(read_end, 1)
    with trio.move_on_after(0.01) as scope:
        await trio.lowlevel.wait_readable(read_end)
    assert scope.cancelled_caught  # there was nothing to be read


def test_a_request_at_hand_is_not_waited_for(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_is_fuse", lambda fd: fd == pipe[0])
    before = trio.lowlevel.wait_readable
    with readiness.requests_at_hand():
        trio.run(_wait_twice, *pipe)
    assert trio.lowlevel.wait_readable is before


def test_other_files_are_waited_for_as_ever(pipe: tuple[int, int]) -> None:
    async def wait() -> None:
        os.write(pipe[1], b"1")
        with assert_checkpoints():
            await trio.lowlevel.wait_readable(pipe[0])

    with readiness.requests_at_hand():
        trio.run(wait)


class Clock:
    """Seconds that pass by 10 µs whenever somebody asks; something may happen at one of them."""

    def __init__(self) -> None:
        self.asked = 0
        self.passed = 0.0
        self.at: dict[int, Callable[[], object]] = {}

    def __call__(self) -> float:
        self.asked += 1
        self.at.pop(self.asked, lambda: None)()
        return self.passed + self.asked * 0.000_01


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(readiness, "perf_counter", clock)
    return clock


Pipe = tuple[int, int]


def _comes_soon(lookout: readiness.Lookout, clock: Clock, pipe: Pipe) -> None:
    """Something comes within 20 µs."""
    clock.at[clock.asked + 2] = lambda: os.write(pipe[1], b"1")
    if not lookout.sees():
        lookout.seen()
    assert os.read(pipe[0], 1) == b"1"


def _comes_late(lookout: readiness.Lookout, clock: Clock) -> bool:
    """Something comes after a second; returns whether it was looked for more than once."""
    before = clock.asked
    assert not lookout.sees()
    looked = clock.asked > before + 1  # once, to know when the waiting began
    clock.passed += 1
    lookout.seen()
    return looked


def test_nothing_is_looked_for_where_nothing_comes_soon(pipe: Pipe, clock: Clock) -> None:
    lookout = readiness.Lookout(pipe[0])
    assert not any(_comes_late(lookout, clock) for _ in range(20))


def test_what_comes_soon_is_looked_for_a_moment_longer(pipe: Pipe, clock: Clock) -> None:
    lookout = readiness.Lookout(pipe[0])
    _comes_soon(lookout, clock, pipe)
    clock.at[clock.asked + 5] = lambda: os.write(pipe[1], b"1")
    assert lookout.sees()
    assert os.read(pipe[0], 1) == b"1"
    begun = clock.asked
    assert not lookout.sees()
    assert 2 < clock.asked - begun < 20  # 60 µs


def test_looking_ends_when_requests_no_longer_come_soon(pipe: Pipe, clock: Clock) -> None:
    lookout = readiness.Lookout(pipe[0])
    for _ in range(100):
        _comes_soon(lookout, clock, pipe)
    looked = [_comes_late(lookout, clock) for _ in range(100)]
    assert looked[0]
    assert 0 < sum(looked) < 10
    _comes_soon(lookout, clock, pipe)
    assert not _comes_late(lookout, clock)  # one is not enough to begin again


def test_the_first_lock_is_a_turn_and_no_other() -> None:
    with readiness.requests_at_hand():
        assert isinstance(trio.Lock(), readiness.Turn)
        assert isinstance(trio.Lock(), trio.Lock)
    assert isinstance(trio.Lock(), trio.Lock)
    with readiness.requests_at_hand():
        pass
    assert isinstance(trio.Lock(), trio.Lock)


def test_a_free_turn_is_taken_without_a_checkpoint() -> None:
    async def take() -> None:
        turn = readiness.Turn()
        with assert_no_checkpoints():
            for _ in range(3):
                async with turn:
                    pass

    trio.run(take)


def test_one_at_a_time_and_everybody_in_the_end() -> None:
    inside: list[int] = []
    done: list[int] = []

    async def work(turn: readiness.Turn, number: int) -> None:
        for _ in range(20):
            async with turn:
                inside.append(number)
                assert inside == [number]
                await trio.lowlevel.checkpoint()
                inside.remove(number)
            await trio.lowlevel.checkpoint()
        done.append(number)

    async def all_of_them() -> None:
        turn = readiness.Turn()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(work, turn, number)

    trio.run(all_of_them)
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_who_never_waits_lets_others_run_all_the_same() -> None:
    """Neither a task that waits for its turn nor one that has nothing to do with it starves."""
    told: list[str] = []

    async def greedy(turn: readiness.Turn) -> None:
        while len(told) < 2:
            async with turn:
                pass

    async def patient(turn: readiness.Turn) -> None:
        async with turn:
            told.append("its turn")

    async def other() -> None:
        await trio.lowlevel.checkpoint()
        told.append("something else")

    async def all_of_them() -> None:
        turn = readiness.Turn()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                async with turn:
                    nursery.start_soon(patient, turn)
                    await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(greedy, turn)
                nursery.start_soon(other)

    trio.run(all_of_them)
    assert sorted(told) == ["its turn", "something else"]


def test_who_gives_up_waiting_holds_up_nobody() -> None:
    async def wait(turn: readiness.Turn, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            async with turn:
                return True
        return False

    async def all_of_them() -> None:
        turn = readiness.Turn()
        async with turn:
            assert not await wait(turn, 0.01)
        with trio.fail_after(10):
            assert await wait(turn, 10)

    trio.run(all_of_them)


class _Steps(trio.abc.Instrument):
    """How often a task of that name has run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name == self._name


def test_who_waits_is_not_woken_while_the_turn_is_taken_again_and_again() -> None:
    async def patient(turn: readiness.Turn) -> None:
        async with turn:
            pass

    async def all_of_them() -> None:
        turn = readiness.Turn()
        steps = _Steps("patient")
        trio.lowlevel.add_instrument(steps)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                async with turn:
                    nursery.start_soon(patient, turn, name="patient")
                    await trio.testing.wait_all_tasks_blocked()
                assert steps.count == 1
                for _ in range(3):
                    async with turn:
                        pass
                async with turn:  # waits, as it does for the device, and keeps its turn
                    await trio.testing.wait_all_tasks_blocked()
                assert steps.count == 1
                await trio.testing.wait_all_tasks_blocked()  # waits for something else
                assert steps.count == 2

    trio.run(all_of_them)


def test_who_is_woken_and_gives_up_passes_the_turn_on() -> None:
    got_it: list[str] = []

    async def wait(turn: readiness.Turn, name: str, scope: trio.CancelScope) -> None:
        with scope:
            async with turn:
                got_it.append(name)
                await trio.lowlevel.checkpoint()
                got_it.append(f"{name}, to the end")

    async def all_of_them() -> None:
        turn = readiness.Turn()
        hurried = trio.CancelScope()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                async with turn:
                    nursery.start_soon(wait, turn, "hurried", hurried)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(wait, turn, "patient", trio.CancelScope())
                    await trio.testing.wait_all_tasks_blocked()
                await trio.lowlevel.cancel_shielded_checkpoint()
                hurried.cancel()

    trio.run(all_of_them)
    assert got_it[-1] == "patient, to the end"
    assert "hurried, to the end" not in got_it
