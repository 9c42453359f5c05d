"""Follows a source: what is there at first, and what comes, changes and goes from then on.

An object is looked at once nothing has been written to it for a moment, and a series is told of
once nothing is under way any more in the folders of its objects: a slide that is still being
copied is not shown in pieces.  Runs in a thread of its own; knows nothing of what is made of the
series.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from dicomfs.catalog.collection import Collection, Progress
from dicomfs.catalog.watch import Watch
from dicomfs.errors import DicomfsError
from dicomfs.source.protocol import SourceObject

log = logging.getLogger(__name__)

QUIET = 1.0
"""Seconds without a change after which an object counts as complete."""

_PATIENCE = 15.0  # seconds that a complete series waits for its folders to come to rest
_TOLD_EVERY = 0.5  # seconds between two tellings while much is looked at
_TICK = 0.1
_FALLBACK = 60.0  # seconds between two looks where nothing tells of changes

Tell = Callable[[set[str]], None]
"""Is told which series are new, have changed or are gone."""


class Follower:
    """Keeps a collection like its source.

    tell : called in the follower's thread, and in that of `catch_up`
    untold : finds out which series are known, but were not told of as they are; called by the
        thread that follows, once, and whenever somebody else has written to the index
    watched : the directory of the source where changes are to be noticed by themselves
    rescan : seconds between two looks at all of the source, None for none
    at_rest : called once by the thread that follows, when it has seen all of the source
    """

    def __init__(
        self,
        collection: Collection,
        tell: Tell,
        untold: Callable[[], Iterable[str]] = tuple,
        *,
        watched: Path | None = None,
        rescan: float | None = None,
        quiet: float = QUIET,
        at_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self.scanned = threading.Event()
        """Set when all of the source has been looked at once, or cannot be."""
        self.failure: DicomfsError | None = None
        """Why the source cannot be listed, where that is so."""
        self._collection = collection
        self._tell = tell
        self._watched = watched
        self._rescan = rescan
        self._quiet = quiet
        self._at_rest = at_rest
        self._stop = threading.Event()
        self._watch: Watch | None = None
        self._thread: threading.Thread | None = None
        self._young: dict[str, tuple[SourceObject, float]] = {}
        self._under_way: Counter[str] = Counter()
        self._untold: dict[str, float] = {}  # series, and since when they wait to be told of
        self._last_told = 0.0
        self._find_untold = untold
        self._checked = False

    # ------------------------------------------------------------ from outside

    def catch_up(self, progress: Progress | None = None) -> None:
        """Look at all of the source now, in this thread, whether it is at rest or not.

        Raises SourceError where it cannot be listed.
        """
        self._look_at_all(progress, wait=False)
        self._tell_ready(at_once=True)

    def start(self, progress: Progress | None = None) -> None:
        """Follow the source in a thread."""
        self._thread = threading.Thread(
            target=self._run, args=(progress,), name="follow", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it has found so far is kept."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    # ------------------------------------------------------------ the thread

    def _run(self, progress: Progress | None) -> None:
        try:
            self._first(progress)
            self._at_rest()
            # Not earlier: only the first look tells whether links lead out of the source.
            if self._watched is not None and not self._stop.is_set():
                self._watch = Watch(
                    self._watched,
                    contained=self._is_contained(),
                    names=self._collection.profile is None,
                )
            self._go_on(self._watch)
        except Exception as error:
            log.exception("changes of the source are no longer noticed")
            self.failure = self.failure or DicomfsError(str(error))
        finally:
            self.scanned.set()
            if self._watch is not None:
                self._watch.close()

    def _first(self, progress: Progress | None) -> None:
        try:
            self._look_at_all(progress, wait=True)
            while self._young and not self._stop.wait(_TICK):
                self._look_at_grown_up()
            self._tell_ready()
        except DicomfsError as error:
            self.failure = error
            log.error("%s", error)
        self.scanned.set()

    def _is_contained(self) -> bool:
        """Whether all of the source was listed, and whoever follows its links stays in it."""
        problems = self._collection.problems
        return self.failure is None and not any(problem.leads_out for problem in problems)

    def _go_on(self, watch: Watch | None) -> None:
        every = self._rescan
        if every is None and watch is None:
            return
        next_look = time.monotonic() + every if every is not None else float("inf")
        while not self._stop.wait(_TICK):
            try:
                keys: set[str] | None = set()
                if watch is not None:
                    keys = watch.changed_keys()
                    if keys:
                        keys = {self._collection.source.key(path) for path in keys}
                    if watch.failed and every is None:
                        every = _FALLBACK
                        next_look = time.monotonic() + every
                if keys is None or time.monotonic() >= next_look:
                    self._look_at_all(None, wait=True)
                    if every is not None:
                        next_look = time.monotonic() + every
                else:
                    for key in _outermost(keys):
                        self._look_below(key)
                self._look_at_grown_up()
                self._tell_ready()
            except DicomfsError as error:
                # A server that is away for a moment has not lost its slides.
                log.warning("%s", error)
                self._stop.wait(1.0)

    # ------------------------------------------------------------ looking

    def _look_at_all(self, progress: Progress | None, *, wait: bool) -> None:
        collection = self._collection
        if not self._checked:
            collection.check(self._stop.is_set)
            if self._stop.is_set():
                return
            self._touch(self._find_untold())
            self._checked = True
        difference = collection.difference(self._stop.is_set)
        for key in difference.gone:
            self._forget_young(key)
        self._touch(collection.remove(difference.gone))
        self._look_at(self._set_aside(difference.fresh) if wait else difference.fresh, progress)

    def _look_below(self, key: str) -> None:
        collection = self._collection
        difference = collection.difference_below(key)
        prefix = f"{key}/"
        for young in [k for k in self._young if k == key or k.startswith(prefix)]:
            if young in difference.gone or not any(o.key == young for o in difference.fresh):
                self._forget_young(young)
        self._touch(collection.remove(difference.gone))
        self._look_at(self._set_aside(difference.fresh))

    def _set_aside(self, fresh: Iterable[SourceObject]) -> list[SourceObject]:
        """Put the objects aside that were written to a moment ago; returns the others."""
        now, monotonic = time.time(), time.monotonic()
        grown_up = []
        for obj in fresh:
            age = now - obj.identity.mtime_ns / 1e9
            if -self._quiet < age < self._quiet:
                self._forget_young(obj.key)
                self._young[obj.key] = (obj, monotonic + self._quiet - max(age, 0.0))
                self._under_way[_folder(obj.key)] += 1
            else:
                self._forget_young(obj.key)
                grown_up.append(obj)
        return grown_up

    def _look_at_grown_up(self) -> None:
        """Look at the objects that have been left alone for long enough."""
        now = time.monotonic()
        due = [obj for obj, when in self._young.values() if when <= now]
        if not due:
            return
        same: list[SourceObject] = []
        for obj in due:
            self._forget_young(obj.key)
            for found in self._collection.source.objects(obj.key):
                if found == obj:
                    same.append(obj)
                else:
                    same += self._set_aside([found])
        self._look_at(same)

    def _forget_young(self, key: str) -> None:
        if self._young.pop(key, None) is not None:
            self._finish(key)

    def _look_at(self, objects: Iterable[SourceObject], progress: Progress | None = None) -> None:
        objects = list(objects)
        if not objects:
            return
        done = 0
        left = {obj.key for obj in objects}
        for key in left:
            self._under_way[_folder(key)] += 1
        if progress is not None:
            progress(0, len(objects))
        try:
            for batch, touched in self._collection.look_at(objects, self._stop.is_set):
                for obj in batch:
                    left.discard(obj.key)
                    self._finish(obj.key)
                done += len(batch)
                self._touch(touched)
                if progress is not None:
                    progress(done, len(objects))
                if time.monotonic() - self._last_told > _TOLD_EVERY:
                    self._tell_ready()
        finally:
            for key in left:
                self._finish(key)

    def _finish(self, key: str) -> None:
        folder = _folder(key)
        self._under_way[folder] -= 1
        if self._under_way[folder] <= 0:
            del self._under_way[folder]

    # ------------------------------------------------------------ telling

    def _touch(self, series: Iterable[str]) -> None:
        now = time.monotonic()
        for one in series:
            self._untold[one] = now

    def _tell_ready(self, *, at_once: bool = False) -> None:
        if self._collection.take_doubt():
            self._touch(self._find_untold())
        now = time.monotonic()
        ready = {
            one
            for one, since in self._untold.items()
            if at_once or now - since > _PATIENCE or self._is_at_rest(one)
        }
        if not ready and not self._collection.others_changed:
            return
        for one in ready:
            del self._untold[one]
        self._tell(ready)
        self._last_told = time.monotonic()

    def _is_at_rest(self, series: str) -> bool:
        if not self._under_way:
            return True
        return not any(_folder(key) in self._under_way for key in self._collection.keys(series))


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _outermost(keys: set[str]) -> list[str]:
    """The keys that lie below no other of them."""
    kept: list[str] = []
    for key in sorted(keys, key=lambda key: key.split("/")):
        if not kept or not key.startswith(f"{kept[-1]}/"):
            kept.append(key)
    return kept
