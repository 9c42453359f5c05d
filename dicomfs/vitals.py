"""How an archive is doing, in numbers, for `.dicomfs/status.json`.

Asks without locks: numbers may be of slightly different moments.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from dicomfs.catalog.collection import Progress
from dicomfs.catalog.follow import Follower
from dicomfs.reading.cache import CacheStats
from dicomfs.reading.reader import Reader
from dicomfs.source.inflating import InflatingSource


class Vitals:
    """Gathers the numbers of a source, its reader and whoever follows it.

    follower : None where nobody follows
    others : further numbers
    """

    def __init__(self, source: InflatingSource, reader: Reader) -> None:
        self.follower: Follower | None = None
        self.others: Callable[[], dict[str, Any]] = dict
        self._source = source
        self._reader = reader
        self._began = time.monotonic()
        self._scanned: tuple[int, int | None] = (0, None)

    def noting(self, progress: Progress | None) -> Progress:
        """Note how far the scan is, and tell `progress`, too."""

        def note(done: int, total: int | None) -> None:
            self._scanned = done, total
            if progress is not None:
                progress(done, total)

        return note

    def present(self) -> dict[str, Any]:
        """Objects of numbers by name; sizes are in bytes, times in seconds."""
        reads, source = self._reader.stats(), self._source.stats()
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "uptime": round(time.monotonic() - self._began, 3),
            "process": os.getpid(),
            "scan": self._scan(),
            "reads": {
                "inline": reads.inline_reads,
                "waited": reads.waited_reads,
                "timeouts": reads.timeouts,
                "abandoned_threads": reads.abandoned_threads,
            },
            "caches": {"resolved": _cache(reads.resolved), "tiles": _cache(reads.decoded)},
            "source_files": {
                "open": source.open_handles,
                "opened": source.opens,
                "cold_reads": source.cold_reads,
            },
            "mount": self.others(),
        }

    def _scan(self) -> dict[str, Any]:
        done, total = self._scanned
        state = "running"
        if self.follower is None or self.follower.scanned.is_set():
            state = "done"
        if self.follower is not None and self.follower.failure is not None:
            state = "failed"
        return {"state": state, "done": done, "total": total}


def _cache(stats: CacheStats) -> dict[str, Any]:
    asked = stats.hits + stats.misses
    return {
        "entries": stats.entries,
        "bytes": stats.nbytes,
        "hits": stats.hits,
        "misses": stats.misses,
        "hit_ratio": round(stats.hits / asked, 4) if asked else None,
    }
