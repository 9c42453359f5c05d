"""Going on in the background: the command returns when the work is under way, not before.

The process forks before it does anything, while Python has one thread and nothing is open.
Whatever is made later (threads of a scan, SQLite connections, a progress bar, trio's loop) is made
in the child and never crosses a fork.  Until it is ready the child stays in the terminal's
foreground process group, writes its progress to the terminal and gets its Ctrl-C; then it leaves
the session and reports through a pipe.  A second fork after `setsid` would only keep the process
from opening a terminal as its controlling one, which it never does, and would come too late to be
safe with threads.

Must not know what the work is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from dicomfs.errors import DicomfsError, MountError

log = logging.getLogger(__name__)

_READY = b"+"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def in_background(work: Callable[[Callable[[], None]], None], output: Path | None) -> None:
    """Run `work(ready)` in a child process and return when the child has called `ready`.

    output : file that standard output and error of the child are appended to from then on; what
        cannot be opened is replaced by /dev/null.  None: standard error stays what it is.

    Raises MountError with the child's reason if the child ends before it is ready.
    """
    # Threads of Python would be gone in the child, with the locks they held.  Those that numpy's
    # OpenBLAS may have are no obstacle: it ends them around a fork (pthread_atfork).
    if threading.active_count() != 1:
        raise RuntimeError(f"cannot fork safely with {threading.active_count()} threads")
    sys.stdout.flush()
    sys.stderr.flush()
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        _work(work, output, sender)
    os.close(sender)
    with _passing_signals_to(child):
        report = b""
        while block := os.read(receiver, 65536):
            report += block
        os.close(receiver)
        if report == _READY:
            return
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise MountError(f"ended by {signal.Signals(-code).name} before the mount was ready")
    raise MountError(
        report.removeprefix(_READY).decode("utf-8", "replace")
        or "the mount was ended before it was ready"
    )


@contextlib.contextmanager
def _passing_signals_to(child: int) -> Iterator[None]:
    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    before = {number: signal.signal(number, forward) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(work: Callable[[Callable[[], None]], None], output: Path | None, sender: int) -> NoReturn:
    """The child's life.  Leaves by os._exit, so that nothing of the parent runs a second time."""
    reporting = True

    def ready() -> None:
        nonlocal reporting
        _leave_terminal(output)
        os.write(sender, _READY)
        os.close(sender)
        reporting = False

    code = 1
    reason = ""
    try:
        work(ready)
        code = 0
    except DicomfsError as error:
        reason = str(error)
    except KeyboardInterrupt:
        reason = "interrupted"
    except BaseException as error:
        log.critical("ended unexpectedly", exc_info=error)
        reason = f"ended unexpectedly: {type(error).__name__}: {error}"
    finally:
        if reporting:
            # The command that waits for the report may have been killed.
            with contextlib.suppress(BrokenPipeError):
                os.write(sender, reason.encode("utf-8", "backslashreplace"))
        elif reason:
            log.critical("%s", reason)
        logging.shutdown()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _leave_terminal(output: Path | None) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    try:
        sink = os.dup(2) if output is None else _appending(output)
    except OSError:
        sink = os.dup(null)
    for source, target in ((null, 0), (sink, 1), (sink, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(sink)


def _appending(output: Path) -> int:
    return os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
