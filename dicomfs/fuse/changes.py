"""Changes of the tree while it is mounted: carried out between requests, then told to the kernel.

The kernel keeps names and attributes for minutes without asking; it has to be told what is no
longer so.  Must not know what changes, nor why.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pyfuse3
import trio

from dicomfs.vfs.tree import Changes

log = logging.getLogger(__name__)

_PATIENCE = 1.0

Deliver = Callable[[Callable[[], Changes]], None]
"""Carries out a change of the tree, and returns when the kernel has been told of it."""


class Messenger:
    """Carries out changes in the event loop of a mount, from any other thread.

    token : of the event loop
    """

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token
        self._ended = False
        self._telling = threading.Lock()

    def deliver(self, change: Callable[[], Changes]) -> None:
        """Carry out a change between two requests, and have the kernel forget what is not so.

        Without an event loop, when the mount has ended, nothing happens.
        """
        try:
            changes = trio.from_thread.run_sync(change, trio_token=self._token)
        except (trio.RunFinishedError, trio.Cancelled):
            return
        for inode in changes.inodes:
            self._tell(lambda inode=inode: pyfuse3.invalidate_inode(inode, True))  # type: ignore[misc]
        for parent, name, number in changes.names:
            self._forget_name(parent, name.encode("utf-8"), number or 0)

    def end(self) -> None:
        """Tell the kernel nothing from now on: its session is about to be freed."""
        self._ended = True
        if self._telling.acquire(timeout=_PATIENCE):
            self._telling.release()

    def _forget_name(self, parent: int, name: bytes, inode: int) -> None:
        if inode and self._tell(lambda: pyfuse3.invalidate_entry(parent, name, inode)):
            return
        # The kernel does not delete a directory in which something is in use: then forgetting has
        # to do.
        self._tell(lambda: pyfuse3.invalidate_entry(parent, name))

    def _tell(self, message: Callable[[], None]) -> bool:
        """Whether the kernel has taken a message.  It answers when requests about the same
        directory have been answered, so this must not run on the event loop."""
        with self._telling:
            if self._ended:
                return False
            try:
                message()
            except FileNotFoundError:
                return True  # the kernel knows nothing of it, so there is nothing to forget
            except OSError as error:
                log.debug("the kernel does not take a message: %s", error)
                return False
            return True
