"""Worker threads that wait for the source, so that an object that stalls holds up nothing else.

Every object has a lane of a few threads.  A read waits for the source until its deadline and is
then given up; its thread may hang on in its lane, but no longer counts among those that read.  An
object whose whole lane hangs is not waited for at all.  What the threads do is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

import trio

from dicomfs.errors import SourceTimeoutError

T = TypeVar("T")

LANE_WIDTH = 4
"""Threads that one object may occupy."""

_MOST_ABANDONED = 128
"""Threads given up that are left out of the count; more of them hold up the others after all."""


class Lanes:
    """Lanes of threads, one for each key.  All methods are called on the event loop.

    patience : seconds after which a job is overdue
    width : jobs of one key that run at the same time
    live : jobs that run at the same time in all lanes, not counting those that were given up
    """

    def __init__(self, patience: float, width: int = LANE_WIDTH, live: int = 32) -> None:
        self._patience = patience
        self._width = width
        self._live = trio.CapacityLimiter(live)
        self._lanes: dict[Hashable, _Lane] = {}
        self._abandoned = 0
        self._timeouts = 0

    @property
    def abandoned(self) -> int:
        """Threads that still run although nobody waits for them."""
        return self._abandoned

    @property
    def timeouts(self) -> int:
        """Jobs that were given up, or not begun, because the source did not answer."""
        return self._timeouts

    async def run(self, key: Hashable, name: str, job: Callable[[], T], deadline: float) -> T:
        """Run a job in a thread of the lane of `key`, until `deadline` (of the clock of trio).

        The job may go on after this has raised, so it must not touch anything that others use.
        `name` says for people what is waited for.  Raises SourceTimeoutError.
        """
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key, self._width)
        if lane.hangs(trio.current_time() - self._patience):
            self._timeouts += 1
            raise SourceTimeoutError(f"{name} does not answer: {self._width} reads of it hang")
        ticket = _Ticket(self, lane)
        lane.visitors += 1
        try:
            with trio.CancelScope(deadline=deadline):
                # A ticket has the methods of a limiter that are documented as sufficient.
                limiter = cast(trio.CapacityLimiter, ticket)
                return await trio.to_thread.run_sync(job, abandon_on_cancel=True, limiter=limiter)
            self._timeouts += 1
            raise SourceTimeoutError(f"{name} has not answered in time")
        finally:
            ticket.abandon()
            lane.visitors -= 1
            self._tidy(lane)

    def _tidy(self, lane: _Lane) -> None:
        """Forget a lane that nobody is in."""
        if not lane.visitors and not lane.running:
            del self._lanes[lane.key]


class _Lane:
    """The threads that one object occupies."""

    __slots__ = ("key", "limiter", "running", "visitors")

    def __init__(self, key: Hashable, width: int) -> None:
        self.key = key
        self.limiter = trio.CapacityLimiter(width)
        self.running: dict[_Ticket, float] = {}  # the time at which each began
        self.visitors = 0

    def hangs(self, overdue: float) -> bool:
        """Whether every thread of the lane has been at it since before `overdue`."""
        full = len(self.running) >= self.limiter.total_tokens
        return full and all(began < overdue for began in self.running.values())


class _Ticket:
    """Lets one job into its lane; stands in for the limiter of `trio.to_thread.run_sync`."""

    __slots__ = ("_borrower", "_lane", "_lanes", "_lives")

    def __init__(self, lanes: Lanes, lane: _Lane) -> None:
        self._lanes = lanes
        self._lane = lane
        self._borrower: object = None
        self._lives = False

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for a place in the lane, then for one among all lanes."""
        await self._lane.limiter.acquire_on_behalf_of(borrower)
        try:
            await self._lanes._live.acquire_on_behalf_of(borrower)
        except BaseException:
            self._lane.limiter.release_on_behalf_of(borrower)
            raise
        self._borrower = borrower
        self._lives = True
        self._lane.running[self] = trio.current_time()

    def release_on_behalf_of(self, borrower: object) -> None:
        """The thread has ended, no matter whether somebody still waits for it."""
        del self._lane.running[self]
        self._lane.limiter.release_on_behalf_of(borrower)
        if self._lives:
            self._lives = False
            self._lanes._live.release_on_behalf_of(borrower)
        else:
            self._lanes._abandoned -= 1
            self._lanes._tidy(self._lane)

    def abandon(self) -> None:
        """Nobody waits any more; if the thread still runs, it runs outside the count."""
        if self._lives and self._lanes._abandoned < _MOST_ABANDONED:
            self._lives = False
            self._lanes._live.release_on_behalf_of(self._borrower)
            self._lanes._abandoned += 1
