"""Takes a request that is already waiting without asking the event loop for it.

pyfuse3 has trio wait for the device before it receives each request.  That registers the device
with epoll and goes once around the event loop, which takes longer than answering a read from the
page cache does; under load the next request is there already, and a single `poll` says so.  Nobody
is kept waiting by this: pyfuse3 takes a trio lock before each request, which lets the other tasks
run and is where a cancellation arrives.

Must not know what is done with the requests.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

_DEVICE = os.makedev(10, 229)  # /dev/fuse; Linux, Documentation/admin-guide/devices.txt


@contextmanager
def requests_at_hand() -> Iterator[None]:
    """Within the block, waiting for a FUSE device returns at once where it can be read."""
    wait = trio.lowlevel.wait_readable
    waiting: dict[int, Callable[[int], object]] = {}

    async def wait_readable(fd: Any) -> None:
        poll = waiting.get(fd)
        if poll is None and isinstance(fd, int) and _is_fuse(fd):
            poll = waiting[fd] = _poll_of(fd)
        if poll is None or not poll(0):
            await wait(fd)

    trio.lowlevel.wait_readable = wait_readable
    try:
        yield
    finally:
        trio.lowlevel.wait_readable = wait


def _is_fuse(fd: int) -> bool:
    state = os.fstat(fd)
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == _DEVICE


def _poll_of(fd: int) -> Callable[[int], object]:
    asked = select.poll()
    asked.register(fd, select.POLLIN)
    return asked.poll
