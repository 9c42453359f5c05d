"""Takes requests that are already waiting without going around the event loop for each.

pyfuse3 has a task take a lock and wait for the device before it receives a request, and another
one take the lock when it has.  With trio's lock and trio's wait that is two rounds of the event
loop for every request, each of which takes longer than answering a read from the page cache does.
Here the lock goes to whoever asks for it while it is free, and one `poll` tells whether a request
is there; so a task goes on by itself as long as there are requests and none of them has to wait for
anything.  Another task gets its turn when one does, and after a millisecond at the latest.

A program that has got its answer often asks again before a processor could have been put to sleep
and woken.  Where requests come like that, the next one is looked for a moment longer.

Must not know what is done with the requests.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import trio

_DEVICE = os.makedev(10, 229)  # /dev/fuse; Linux, Documentation/admin-guide/devices.txt

_LONGEST_TURN = 0.001
"""Seconds for which a task may go on taking requests before it lets the others run."""

_MOMENT = 0.000_06
"""Seconds for which the next request is looked for: about what waiting for it costs."""

_LATELY = 8
"""How far requests that came soon are ahead at most, and behind: as many end the looking."""


@contextmanager
def requests_at_hand() -> Iterator[None]:
    """Within the block, pyfuse3 takes requests that are there without waiting for them.

    The first lock that is made within the block has to be that of pyfuse3's main loop.
    """
    wait, lock = trio.lowlevel.wait_readable, trio.Lock
    lookouts: dict[int, Lookout] = {}

    def wait_readable(fd: Any) -> Awaitable[None]:
        lookout = lookouts.get(fd)
        if lookout is None and isinstance(fd, int) and _is_fuse(fd):
            lookout = lookouts[fd] = Lookout(fd)
        if lookout is None:
            return wait(fd)
        return _AT_ONCE if lookout.sees() else wait_for(fd, lookout)

    async def wait_for(fd: int, lookout: Lookout) -> None:
        await wait(fd)
        lookout.seen()

    def make_lock() -> Turn:
        trio.Lock = lock  # type: ignore[misc]
        return Turn()

    trio.lowlevel.wait_readable = wait_readable  # type: ignore[assignment]
    trio.Lock = make_lock  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        trio.lowlevel.wait_readable = wait
        trio.Lock = lock  # type: ignore[misc]


class _AtOnce:
    """Has no one who awaits it wait, and costs less than a coroutine that returns at once."""

    __slots__ = ()
    __await__ = ().__iter__  # nothing is yielded, and no Python is run for it


_AT_ONCE: Awaitable[None] = _AtOnce()  # type: ignore[assignment]


class Turn(trio.abc.Instrument):
    """A lock for tasks of one event loop, which whoever holds it gives up without losing its turn.

    Who waits longest is woken when somebody has to wait for something and does not hold it: the
    event loop tells when that is, from the first wait on and as long as it runs.  Until then
    whoever has released it may take it again.
    """

    __slots__ = ("_held", "_is_told", "_since", "_waiting")

    def __init__(self) -> None:
        self._held = False
        self._is_told = False
        self._since = perf_counter()
        self._waiting: deque[trio.lowlevel.Task] = deque()

    def __aenter__(self) -> Awaitable[None]:
        if self._held or perf_counter() - self._since > _LONGEST_TURN:
            return self._take()
        self._held = True
        return _AT_ONCE

    def __aexit__(self, *_: object) -> Awaitable[None]:
        self._held = False
        return _AT_ONCE

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task waits, or has ended: the next one may have the lock."""
        if self._waiting and not self._held:
            trio.lowlevel.reschedule(self._waiting.popleft())

    async def _take(self) -> None:
        if perf_counter() - self._since > _LONGEST_TURN:
            await trio.lowlevel.checkpoint()
            self._since = perf_counter()
        while self._held:
            await self._wait()
            self._since = perf_counter()
        self._held = True

    async def _wait(self) -> None:
        if not self._is_told:
            trio.lowlevel.add_instrument(self)
            self._is_told = True
        task = trio.lowlevel.current_task()
        self._waiting.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class Lookout:
    """Looks whether there is something to be read from a file, a moment longer where that pays.

    It pays while more than half of what came lately came within that moment.
    """

    __slots__ = ("_poll", "_since", "_soon")

    def __init__(self, fd: int) -> None:
        asked = select.poll()
        asked.register(fd, select.POLLIN)
        self._poll = asked.poll
        self._since = 0.0
        self._soon = 0  # of the last few requests, how many more came soon than did not

    def sees(self) -> bool:
        """Whether there is something to be read; if not, the event loop has to wait for it."""
        if self._poll(0):
            return True
        self._since = perf_counter()
        while self._soon > 0 and perf_counter() - self._since < _MOMENT:
            if self._poll(0):
                self.seen()
                return True
        return False

    def seen(self) -> None:
        """There is something after all, seen here or waited for by the event loop."""
        if perf_counter() - self._since < _MOMENT:
            self._soon = min(self._soon + 1, _LATELY)
        else:
            self._soon = max(self._soon - 1, -_LATELY)


def _is_fuse(fd: int) -> bool:
    state = os.fstat(fd)
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == _DEVICE
