"""Notices changes below a directory as the system tells of them (inotify, FSEvents).

Where the system tells of none, as on network file systems, or has no more watches to give, nothing
is noticed and `failed` says so.  Knows keys of objects, not what they are.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from dicomfs.source.own_mounts import ours_below

log = logging.getLogger(__name__)

_STEP_MS = 50
_DEBOUNCE_MS = 200
_TICK_MS = 500
_MANY = 2000  # changed keys at once for which a look at everything is quicker


class Watch:
    """Watches a directory from its making on, in a thread of its own."""

    def __init__(self, root: Path, *, contained: bool = True, names: bool = True) -> None:
        """Begin to watch.

        contained : whether it is known that no link to a folder leads out of the directory; where
            one may, nothing is watched, as watchfiles follows all links
        names : whether names of folders may stand in messages
        """
        self._contained = contained
        self._names = names
        self.failed = False
        """Whether changes are no longer noticed."""
        self._root = os.path.realpath(root)
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        self._everything = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def changed_keys(self) -> set[str] | None:
        """What may have changed since the last call; None where that may be anything."""
        with self._lock:
            keys, self._keys = self._keys, set()
            everything, self._everything = self._everything, False
        return None if everything or len(keys) > _MANY else keys

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            from watchfiles import watch

            if ours_below(self._root):
                # Watches are put in place while no other thread runs: nobody could answer.
                raise OSError("a mount of dicomfs lies in it")
            if not self._contained:
                raise OSError("links to folders may lead out of it, and would be followed")
            began = False
            for changes in watch(
                self._root,
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                step=_STEP_MS,
                stop_event=self._stop,
                rust_timeout=_TICK_MS,
                yield_on_timeout=True,
                raise_interrupt=False,
                force_polling=False,
                ignore_permission_denied=True,
            ):
                with self._lock:
                    if not began:
                        # What has changed before the watches were in place was told to nobody.
                        began = self._everything = True
                    self._keys.update(self._key(path) for _, path in changes)
                    if "" in self._keys:
                        self._keys.discard("")
                        self._everything = True
        except Exception as error:
            # Too many folders for the watches of this user, among others.
            reason = error if self._names else type(error).__name__
            log.warning("changes of the source cannot be watched (%s); see --rescan", reason)
        self.failed = not self._stop.is_set()

    def _key(self, path: str) -> str:
        """The key of a path; "" where it could be any."""
        key = os.path.relpath(path, self._root)
        return "" if key == "." or "\ufffd" in key else key  # not UTF-8: the name is lost
