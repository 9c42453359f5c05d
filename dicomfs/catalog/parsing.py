"""Looks at many objects at once, in processes where there are enough of them to pay.

Parsing a header is Python from beginning to end, so threads would share one processor.  The
processes are started as programs of their own, not forked: the one that starts them has threads.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from dicomfs.catalog.findings import Finding
from dicomfs.catalog.worker import receive_findings, send_objects, send_profile
from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.limits import DEFAULT_LIMITS, Limits
from dicomfs.source import apart
from dicomfs.source.protocol import ScannableSource, SourceObject

log = logging.getLogger(__name__)

_PROGRAM = "dicomfs.catalog.worker"
_FEW = 200  # objects for which starting processes takes longer than the work
_BATCH = 32
_MOST_PROCESSES = 8
_THREADS = 4  # headers are read from media that answer several requests at once

Batch = list[tuple[SourceObject, Finding]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where another process finds the source.

    root : the directory of the source; cache : that of inflated copies
    exclude : key of a folder that is left out when the source is listed
    """

    root: Path
    cache: Path
    exclude: str | None = None


def look_at_all(
    source: ScannableSource,
    objects: Sequence[SourceObject],
    limits: Limits,
    place: Place | None,
    stopped: Callable[[], bool] = lambda: False,
    profile: Profile | None = None,
) -> Iterator[Batch]:
    """What each of the objects is, in batches, in any order.

    place : for worker processes; None for none
    stopped : asked between batches whether to give up
    profile : how to de-identify what is found; None for not at all

    Closing the iterator ends the processes.
    """
    batches = [objects[i : i + _BATCH] for i in range(0, len(objects), _BATCH)]
    if place is not None and _usual(limits) and len(objects) > _FEW and sys.executable:
        yield from _in_processes(source, batches, limits, place, stopped, profile)
    else:
        yield from _in_threads(source, batches, limits, stopped, profile)


def _usual(limits: Limits) -> bool:
    """Whether these are the limits that worker processes have; parsing knows no deadline."""
    return replace(limits, read_deadline=DEFAULT_LIMITS.read_deadline) == DEFAULT_LIMITS


def _in_threads(
    source: ScannableSource,
    batches: Sequence[Sequence[SourceObject]],
    limits: Limits,
    stopped: Callable[[], bool],
    profile: Profile | None,
) -> Iterator[Batch]:
    from dicomfs.catalog.looking import look_at

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="scan") as pool:
        for batch in batches:
            if stopped():
                return
            found = pool.map(lambda obj: look_at(source, obj, limits, profile), batch)
            yield list(zip(batch, found, strict=True))


def _in_processes(
    source: ScannableSource,
    batches: Sequence[Sequence[SourceObject]],
    limits: Limits,
    place: Place,
    stopped: Callable[[], bool],
    profile: Profile | None,
) -> Iterator[Batch]:
    waiting = iter(batches)
    lock = threading.Lock()
    done: queue.Queue[Batch | None] = queue.Queue(maxsize=64)
    ended = threading.Event()

    def next_batch() -> Sequence[SourceObject] | None:
        with lock:
            return None if ended.is_set() else next(waiting, None)

    def put(batch: Batch | None) -> None:
        while not ended.is_set():
            with contextlib.suppress(queue.Full):
                return done.put(batch, timeout=0.2)

    def serve() -> None:
        try:
            with _Worker(place, profile) as worker:
                while (batch := next_batch()) is not None:
                    put(worker.look_at(batch))
        except OSError as error:
            log.warning("no process can be started to parse in: %s", error)
            from dicomfs.catalog.looking import look_at

            while (batch := next_batch()) is not None:
                put([(obj, look_at(source, obj, limits, profile)) for obj in batch])
        finally:
            put(None)

    count = min(max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                    else os.cpu_count() or 1), _MOST_PROCESSES, len(batches))  # fmt: skip
    threads = [threading.Thread(target=serve, name=f"scan-{n}") for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        left = count
        while left and not stopped():
            try:
                batch = done.get(timeout=0.2)
            except queue.Empty:
                continue
            if batch is None:
                left -= 1
            else:
                yield batch
    finally:
        ended.set()
        for thread in threads:
            thread.join()


class _Worker:
    """A process that parses; started again where a file is the end of it."""

    def __init__(self, place: Place, profile: Profile | None) -> None:
        self._place = place
        self._profile = profile
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Worker:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def look_at(self, objects: Sequence[SourceObject]) -> Batch:
        """What each of the objects is."""
        found = self._answer(objects)
        if found is None and len(objects) > 1:
            # One of them has ended the process: all but that one get their answer.
            self._restart()
            return list(itertools.chain.from_iterable(self.look_at([obj]) for obj in objects))
        if found is None:
            from dicomfs.catalog.looking import rejected

            self._restart()
            obj = objects[0]
            log.error("%s ended the process that parsed it", obj.key)
            return [(obj, rejected(obj, "internal", "could not be parsed"))]
        return list(zip(objects, found, strict=True))

    def _answer(self, objects: Sequence[SourceObject]) -> list[Finding] | None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send_objects(process.stdin, objects)
            return receive_findings(process.stdout)
        except BrokenPipeError:
            return None

    def _start(self) -> None:
        place = self._place
        self._process = apart.start(_PROGRAM, os.fspath(place.root), os.fspath(place.cache))
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            send_profile(self._process.stdin, self._profile)

    def _restart(self) -> None:
        self._end()
        self._start()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
