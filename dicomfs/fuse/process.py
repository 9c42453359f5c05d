"""How a mount says which process serves it, so that `unmount` can wait for its end.

The answer is an extended attribute of the root directory: no file that could be left behind.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

ATTRIBUTE = "user.dicomfs.process"
"""Extended attribute of the root: process id and start time, decimal, with a space between."""

_INTERVAL = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart by its start time (clock ticks since boot) from others of that id."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has that id now; None if there is none, or only a zombie."""
        started = _start_time(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def parse(cls, value: bytes) -> Process | None:
        """From the value of the attribute; None if it makes no sense."""
        try:
            pid, started = map(int, value.split())
        except ValueError:
            return None
        return cls(pid, started)

    def __bytes__(self) -> bytes:
        return b"%d %d" % (self.pid, self.started)

    def runs(self) -> bool:
        """Whether the process is still there and no zombie."""
        return _start_time(self.pid) == self.started

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended; False if it has not after that many seconds."""
        deadline = time.monotonic() + seconds
        while self.runs():
            if time.monotonic() > deadline:
                return False
            time.sleep(_INTERVAL)
        return True


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat (proc_pid_stat(5)); None when the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in field 2 may hold anything, so count from the parenthesis that closes it.
    fields = text[text.rindex(b")") + 2 :].split()
    state, started = fields[0], fields[19]
    return None if state in (b"Z", b"X") else int(started)
