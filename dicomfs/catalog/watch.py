"""Notices changes below a directory as the system tells of them (inotify, FSEvents).

    python -m dicomfs.catalog.watch ROOT

The watches are those of a process of its own, which writes lines of JSON: to put them in place
holds up all threads of a process for as long as it takes to list all folders, and looking for
changes wakes it many times a second.  Where the system tells of no changes, as on network file
systems, or has no more watches to give, nothing is noticed and `failed` says so.  Knows keys of
objects, not what they are.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from dicomfs.source import apart
from dicomfs.source.own_mounts import ours_below

log = logging.getLogger(__name__)

_STEP_MS = 50
_DEBOUNCE_MS = 200
_TICK_MS = 500
_MANY = 2000  # changed keys at once for which a look at everything is quicker
_PATIENCE = 2.0  # seconds for the process to end


class Watch:
    """Watches a directory from its making on."""

    def __init__(self, root: Path, *, contained: bool = True, names: bool = True) -> None:
        """Begin to watch.

        contained : whether it is known that no link to a folder leads out of the directory; where
            one may, nothing is watched, as watchfiles follows all links
        names : whether names of folders may stand in messages
        """
        self._names = names
        self.failed = False
        """Whether changes are no longer noticed."""
        self._root = os.path.realpath(root)
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        self._everything = False
        self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        try:
            if ours_below(self._root):
                # Whoever asks may be the one who has to answer.
                raise OSError("a mount of dicomfs lies in it")
            if not contained:
                raise OSError("links to folders may lead out of it, and would be followed")
            self._process = apart.start(__name__, self._root)
        except (OSError, ValueError) as error:
            self._fail(type(error).__name__, str(error))
            return
        assert self._process.stdout is not None
        self._thread = threading.Thread(
            target=self._listen, args=(self._process.stdout,), name="watch", daemon=True
        )
        self._thread.start()

    def changed_keys(self) -> set[str] | None:
        """What may have changed since the last call; None where that may be anything."""
        with self._lock:
            keys, self._keys = self._keys, set()
            everything, self._everything = self._everything, False
        return None if everything or len(keys) > _MANY else keys

    def close(self) -> None:
        """End the process."""
        self._stopped = True
        if self._process is None or self._thread is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()  # what it waits for
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()

    def _listen(self, lines: IO[bytes]) -> None:
        reason = "RuntimeError", "the process that watches has ended"
        began = False
        with lines:
            for line in lines:
                told = json.loads(line)
                if "failed" in told:
                    reason = told["failed"]
                    break
                with self._lock:
                    # What has changed before the watches were in place was told to nobody.
                    self._everything |= not began
                    began = True
                    self._keys.update(map(self._key, told["changed"]))
                    if "" in self._keys:
                        self._keys.discard("")
                        self._everything = True
        if not self._stopped:
            self._fail(*reason)

    def _fail(self, kind: str, reason: str) -> None:
        # Too many folders for the watches of this user, among others.
        said = reason if self._names else kind
        log.warning("changes of the source cannot be watched (%s); see --rescan", said)
        self.failed = True

    def _key(self, path: str) -> str:
        """The key of a path; "" where it could be any."""
        key = os.path.relpath(path, self._root)
        return "" if key == "." or "\ufffd" in key else key  # not UTF-8: the name is lost


def main(root: str) -> None:
    """Write what changes, from an empty list on that says that nothing is missed any more, until
    the input ends: whoever wanted to know is gone then."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # those are for whoever wants to know
    os.chdir("/")
    threading.Thread(target=_end_with_input, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        try:
            _watch(root)
        except Exception as error:
            _tell({"failed": [type(error).__name__, str(error)]})


def _watch(root: str) -> None:
    from watchfiles import watch

    began = False
    for changes in watch(
        root,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=_TICK_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
        force_polling=False,
        ignore_permission_denied=True,
    ):
        if changes or not began:
            began = True
            _tell({"changed": [path for _, path in changes]})


def _tell(content: object) -> None:
    sys.stdout.buffer.write(json.dumps(content).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
