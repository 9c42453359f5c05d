"""One mount from its beginning to its end: attach, serve, and detach whatever happens.

Must not know what is shown, nor whether it runs in a terminal or as a daemon.  pyfuse3 keeps its
session in global variables, so a process has one mount at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import stat
import string
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from dicomfs.errors import DicomfsError, MountError
from dicomfs.fuse.changes import Deliver, Messenger
from dicomfs.fuse.operations import ContentReader, Operations
from dicomfs.fuse.process import ATTRIBUTE, Process
from dicomfs.fuse.readiness import requests_at_hand
from dicomfs.fuse.tuning import tune
from dicomfs.fuse.unmount import unmount
from dicomfs.source.mount_table import mount_at
from dicomfs.source.own_mounts import KIND
from dicomfs.vfs.tree import Tree

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Seconds for the first answer of the mount.
_START = 20.0

# Seconds that requests under way get after a signal; what is left of five is for the rest.
_GRACE = 2.0

# Requests answered at the same time; stalled ones must not use them all up.
_MOST_TASKS = 256

_OPTIONS = ("ro", "nosuid", "nodev", "noexec", "default_permissions", "subtype=dicomfs")

# Characters that need no escape in the value of an option.
_PLAIN = (string.ascii_letters + string.digits + "/._-+:@%").encode("ascii")


@dataclass(slots=True)
class _Course:
    """What has happened to a mount so far."""

    answered: bool = False
    stopped: bool = False
    failure: str = ""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


def mount(
    tree: Callable[[], Tree],
    reader: ContentReader,
    mountpoint: Path,
    source: str,
    allow_other: bool = False,
    options: Iterable[str] = (),
    ready: Callable[[], None] = lambda: None,
    complete: Callable[[], None] = lambda: None,
    changing: Callable[[Deliver | None], None] = lambda deliver: None,
    observed: Callable[[Callable[[], dict[str, Any]]], None] = lambda gauges: None,
) -> None:
    """Show a tree at a directory until SIGINT, SIGTERM, SIGHUP, or until somebody unmounts it.

    tree : gives the current snapshot.
    mountpoint : as `prepare_mountpoint` returned it.
    source : what the table of mounts says is mounted.
    options : further mount options.
    ready : called once the kernel has answered from the mount; what it raises ends the mount.
    complete : called in a thread before that; returns when the tree is worth telling of
    changing : is given what carries out changes of the tree from any thread, so that no request
        sees half of one and the kernel forgets what is no longer so; None when the mount ends.
    observed : is given what tells in numbers how the mount is doing.

    Runs in the main thread.  Raises MountError if the mount could not be made or broke.
    """
    process = Process.of(os.getpid())
    handlers = Operations(tree, reader, {ATTRIBUTE: bytes(process)} if process else {})
    observed(handlers.gauges)
    everything = {*_OPTIONS, *options, f"fsname={_escaped(source)}"}
    if allow_other:
        everything.add("allow_other")
    course = _Course()
    trio.run(_run, handlers, mountpoint, everything, (complete, ready), changing, course)
    if course.failure:
        raise MountError(course.failure)
    if not course.answered and not course.stopped:
        raise MountError(f"the mount at {mountpoint} was ended before it answered")


async def _run(
    handlers: Operations,
    mountpoint: Path,
    options: set[str],
    steps: tuple[Callable[[], None], Callable[[], None]],
    changing: Callable[[Deliver | None], None],
    course: _Course,
) -> None:
    # From here on a signal can no longer end the process and leave a dead mount behind.
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        before = (await trio.to_thread.run_sync(os.stat, mountpoint)).st_dev
        _attach(handlers, mountpoint, options)
        device = _device(mountpoint)
        messenger = Messenger(trio.lowlevel.current_trio_token())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_on_signal, signals, course)
                nursery.start_soon(_announce, mountpoint, before, steps, course)
                changing(messenger.deliver)
                await _serve(course)
                nursery.cancel_scope.cancel()
        finally:
            changing(None)
            messenger.end()
            _detach(mountpoint, device)


async def _serve(course: _Course) -> None:
    try:
        with course.scope, requests_at_hand():
            await pyfuse3.main(max_tasks=_MOST_TASKS)
    except Exception as error:
        log.critical("the connection to the kernel broke", exc_info=error)
        course.failure = f"the connection to the kernel broke: {error}"


def _stop(course: _Course) -> None:
    if course.stopped:
        course.scope.cancel()
        return
    course.stopped = True
    pyfuse3.terminate()
    course.scope.deadline = trio.current_time() + _GRACE


async def _end_on_signal(signals: AsyncIterator[int], course: _Course) -> None:
    async for number in signals:
        name = signal.Signals(number).name
        log.info("unmounting on %s", name)
        if not course.answered and not course.failure:
            early = "interrupted" if number == signal.SIGINT else f"ended by {name}"
            course.failure = f"{early} before the mount was ready"
        _stop(course)


async def _announce(
    mountpoint: Path,
    before: int,
    steps: tuple[Callable[[], None], Callable[[], None]],
    course: _Course,
) -> None:
    """Wait for the first answer of the mount, from a thread as any program would, then tell."""
    complete, ready = steps
    try:
        with trio.fail_after(_START):
            status = await trio.to_thread.run_sync(os.stat, mountpoint, abandon_on_cancel=True)
            if status.st_dev == before:
                raise MountError("the kernel still shows the directory below")
            await trio.to_thread.run_sync(os.statvfs, mountpoint, abandon_on_cancel=True)
        device = os.major(status.st_dev), os.minor(status.st_dev)
        for line in await trio.to_thread.run_sync(tune, device):
            log.debug("%s", line)
        await trio.to_thread.run_sync(complete, abandon_on_cancel=True)
        ready()
    except trio.TooSlowError:
        course.failure = f"the mount at {mountpoint} did not answer within {_START:g} s"
        _stop(course)
    except DicomfsError as error:
        course.failure = str(error)
        _stop(course)
    except Exception as error:
        course.failure = f"the mount at {mountpoint} did not start: {error}"
        log.debug("the mount did not start", exc_info=error)
        _stop(course)
    else:
        course.answered = True


def _attach(handlers: Operations, mountpoint: Path, options: set[str]) -> None:
    guard = _guarding_socket() if "auto_unmount" in options else contextlib.nullcontext()
    with guard, _captured_stderr() as captured:
        try:
            pyfuse3.init(handlers, os.fspath(mountpoint), options)
        except RuntimeError as error:
            reason = " ".join(captured().split()) or str(error)
            raise MountError(f"{mountpoint} could not be mounted: {reason}") from error


def _device(mountpoint: Path) -> tuple[int, int] | None:
    entry = mount_at(mountpoint)
    return entry.device if entry is not None and entry.kind == KIND else None


def _detach(mountpoint: Path, device: tuple[int, int] | None) -> None:
    pyfuse3.close(unmount=True)  # lazy, so open files do not hold it up; no request is served
    # libfuse leaves the mount where it is if the connection was cut from outside.
    if device is not None and _device(mountpoint) == device:
        unmount(mountpoint, lazy=True)


@contextlib.contextmanager
def _guarding_socket() -> Iterator[None]:
    """Give the socket that libfuse opens meanwhile a lower number than that of /dev/fuse.

    With auto_unmount, fusermount3 stays and waits for the end of a socket that libfuse leaves open
    in our process; then it removes the mount if that answers ENOTCONN, and nothing if it does not
    yet (libfuse 3.14, util/fusermount.c).  When a process ends, Linux releases what was opened
    under the highest number first, so /dev/fuse has to have the higher one.
    """
    low = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    before = _sockets()
    try:
        yield
        for new in _sockets() - before:
            # No child of ours may keep it open, either.
            os.dup2(new, low, inheritable=False)
            os.close(new)
            return
    except BaseException:
        os.close(low)
        raise
    os.close(low)


def _sockets() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.add(int(name))
    return found


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Collect what libfuse and fusermount3 write to file descriptor 2: the only place where they
    say why a mount failed."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:

        def text() -> str:
            sink.seek(0)
            return sink.read().decode(errors="replace")

        saved = os.dup(2)
        try:
            os.dup2(sink.fileno(), 2)
            yield text
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _escaped(source: str) -> str:
    """A mount option's value: libfuse splits options at commas and undoes octal escapes, and
    pyfuse3 takes ASCII only."""
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in os.fsencode(source))
