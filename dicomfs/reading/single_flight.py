"""Values that are expensive to make: made once for all who want them, kept, failures included.

Whoever wants a value first makes it, and those who come while it is made wait for the same one.  A
failure is remembered for a few seconds, so that a damaged file is not looked through again on every
read.  Works for threads and for trio tasks alike; what the values are is not known here.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Generic, TypeVar

import trio

from dicomfs.errors import DicomfsError, SourceError, SourceTimeoutError, let_go_of_frames
from dicomfs.reading.cache import ByteCache, CacheStats

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

REMEMBERED = 5.0
"""Seconds for which a failure is remembered."""

_MOST_FAILURES = 256
"""Failures that are remembered at once."""


class MadeOnce(Generic[K, V]):
    """Makes, shares and keeps values.

    bound, size_of : of the cache, see `ByteCache`
    clock : seconds, for the memory of failures
    """

    def __init__(
        self,
        bound: int,
        size_of: Callable[[V], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept: ByteCache[K, V] = ByteCache(bound, size_of)
        self._clock = clock
        self._lock = threading.Lock()
        self._flights: dict[K, Future[V]] = {}
        self._failures: OrderedDict[K, tuple[float, Exception]] = OrderedDict()
        self._made = 0
        self.get = self._kept.get
        """The value if it is at hand, otherwise None."""
        self.drop = self._kept.drop
        """Drop the values of keys of which a function says that they are gone."""

    @property
    def made(self) -> int:
        """How many values were made so far."""
        return self._made

    def stats(self) -> CacheStats:
        """What is kept now."""
        return self._kept.stats()

    def obtain_blocking(self, key: K, make: Callable[[], V], patience: float) -> V:
        """The value, made by `make` in this thread unless somebody else is at it.

        Raises what `make` raises, and SourceTimeoutError where somebody else needs more than
        `patience` seconds.
        """
        flight, leads = self._join(key)
        if leads:
            try:
                value = make()
            except BaseException as error:
                self._crash(key, flight, error)
                raise
            self._land(key, flight, value)
            return value
        try:
            failure = flight.exception(patience)
        except FutureTimeoutError:
            raise SourceTimeoutError("the source has not answered in time") from None
        if failure is not None:
            raise _again(failure)
        return flight.result()

    def begin(self, key: K, make: Callable[[], Awaitable[V]]) -> Future[V]:
        """Start to make the value in a task of its own, unless somebody is at it already.

        The task does not end when those who wait lose their patience: what it makes is kept.
        """
        flight, leads = self._join(key)
        if leads:
            try:
                trio.lowlevel.spawn_system_task(self._fly, key, flight, make)
            except BaseException as error:
                self._crash(key, flight, error)
                raise
        return flight

    async def _fly(self, key: K, flight: Future[V], make: Callable[[], Awaitable[V]]) -> None:
        try:
            value = await make()
        except BaseException as error:
            self._crash(key, flight, error)
            if not isinstance(error, Exception):
                raise
            if isinstance(error, DicomfsError):
                # It is remembered; whoever waits raises it anew.
                let_go_of_frames(error)
        else:
            self._land(key, flight, value)

    def _join(self, key: K) -> tuple[Future[V], bool]:
        """The flight of a key, and whether the caller has to make the value."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = Future()
            # A flight may have landed since the caller looked.
            value = self._kept.peek(key)
            failure = self._failures.get(key)
            if value is not None:
                flight.set_result(value)
                return flight, False
            if failure is not None and self._clock() < failure[0]:
                flight.set_exception(failure[1])
                return flight, False
            self._flights[key] = flight
            return flight, True

    def _land(self, key: K, flight: Future[V], value: V) -> None:
        self._kept.put(key, value)
        with self._lock:
            self._made += 1
            self._failures.pop(key, None)
            del self._flights[key]
        flight.set_result(value)

    def _crash(self, key: K, flight: Future[V], error: BaseException) -> None:
        with self._lock:
            del self._flights[key]
            # That a source did not answer in time says nothing of the next time.
            if isinstance(error, Exception) and not isinstance(error, SourceTimeoutError):
                self._forget_failures()
                self._failures[key] = self._clock() + REMEMBERED, error
                self._failures.move_to_end(key)
        if not isinstance(error, Exception):
            error = SourceError("the read was interrupted")
        flight.set_exception(error)

    def _forget_failures(self) -> None:
        """Drop those that are over: errors hold the frames that they came through, and what was
        read there.  To be called with the lock, before one is added; the oldest come first."""
        now = self._clock()
        while self._failures:
            until, _ = next(iter(self._failures.values()))
            if until > now and len(self._failures) < _MOST_FAILURES:
                return
            self._failures.popitem(last=False)


async def landed(flight: Future[V]) -> V:
    """Wait for a flight, without a checkpoint where it has landed already."""
    if not flight.done():
        event = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def wake(_: Future[Any]) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(event.set)

        flight.add_done_callback(wake)
        await event.wait()
    error = flight.exception()
    if error is not None:
        raise _again(error)
    return flight.result()


def _again(error: BaseException) -> BaseException:
    """What to raise for an error that came up elsewhere and may be raised many times."""
    if isinstance(error, DicomfsError):
        # A traceback grows with every raise, and what it says is of no interest here.
        return error.with_traceback(None)
    # A mistake in the program: its traceback is worth keeping as it is.
    again = RuntimeError(f"{type(error).__name__}: {error}")
    again.__cause__ = error
    return again
