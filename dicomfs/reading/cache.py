"""A cache that is bounded by the bytes it holds, the least recently used entry dropped first.

Knows nothing of what it keeps.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class CacheStats(NamedTuple):
    """How many entries a cache has now, the bytes that they hold together, and how often something
    was found or not."""

    entries: int
    nbytes: int
    hits: int
    misses: int


class ByteCache(Generic[K, V]):
    """Keeps at most `bound` bytes of values, as `size_of` counts them.  Safe in any thread.

    The value that was put in last always stays, even one larger than the bound, which then is
    alone: whoever makes such a value needs it for many small reads.
    """

    def __init__(self, bound: int, size_of: Callable[[V], int]) -> None:
        self._bound = bound
        self._size_of = size_of
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._nbytes = 0
        self._hits = 0
        self._misses = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, which thereby becomes the most recently used; None where there is none."""
        with self._lock:
            value = self._entries.get(key)
            if value is None:
                self._misses += 1
            else:
                self._hits += 1
                self._entries.move_to_end(key)
            return value

    def peek(self, key: K) -> V | None:
        """The value, for somebody who has just missed it; not counted."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value, and drop old ones until the bound is kept."""
        dropped: list[V] = []  # freed outside the lock
        with self._lock:
            old = self._entries.pop(key, None)
            if old is not None:
                self._nbytes -= self._size_of(old)
                dropped.append(old)
            self._entries[key] = value
            self._nbytes += self._size_of(value)
            while self._nbytes > self._bound and len(self._entries) > 1:
                _, old = self._entries.popitem(last=False)
                self._nbytes -= self._size_of(old)
                dropped.append(old)

    def drop(self, is_gone: Callable[[K], bool]) -> None:
        """Drop the entries of which `is_gone` says so."""
        dropped: list[V] = []
        with self._lock:
            for key in [key for key in self._entries if is_gone(key)]:
                dropped.append(self._entries.pop(key))
                self._nbytes -= self._size_of(dropped[-1])

    def stats(self) -> CacheStats:
        """Entries and bytes now, hits and misses so far."""
        return CacheStats(len(self._entries), self._nbytes, self._hits, self._misses)
