"""What is known of the objects of a source, ready for what is asked often.

One thread changes it; any may ask meanwhile, and then gets what was known before or after a change.
Must not know how anything was found out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dicomfs.catalog.findings import What
from dicomfs.catalog.store import Row


class KnownObjects:
    """Objects by key, and how many there are of what.

    rows : by key
    series : of each series the keys of its objects
    kinds : how many objects there are of each kind
    strangers : how many of each group, of those that are of other kinds than slides
    rejected : keys of the objects that are not shown
    """

    __slots__ = ("kinds", "rejected", "rows", "series", "strangers")

    def __init__(self, rows: Iterable[tuple[str, Row]] = ()) -> None:
        self.rows: dict[str, Row] = {}
        self.series: dict[str, list[str]] = {}
        self.kinds: Counter[What] = Counter()
        self.strangers: Counter[str] = Counter()
        self.rejected: set[str] = set()
        for key, row in rows:
            self.put(key, row)

    def put(self, key: str, row: Row) -> None:
        """Add an object, of which nothing is known so far."""
        self.rows[key] = row
        self.kinds[row.what] += 1
        match row.what:
            case What.INSTANCE:
                self.series.setdefault(row.group, []).append(key)
            case What.STRANGER:
                self.strangers[row.group] += 1
            case What.REJECTED:
                self.rejected.add(key)

    def take(self, key: str) -> Row | None:
        """Remove an object; returns what was known of it."""
        row = self.rows.pop(key, None)
        if row is None:
            return None
        self.kinds[row.what] -= 1
        match row.what:
            case What.INSTANCE:
                members = self.series[row.group]
                members.remove(key)
                if not members:
                    del self.series[row.group]
            case What.STRANGER:
                self.strangers[row.group] -= 1
                if not self.strangers[row.group]:
                    del self.strangers[row.group]
            case What.REJECTED:
                self.rejected.discard(key)
        return row
