"""What is known of the objects of a source, ready for what is asked often.

One thread changes it; any may ask meanwhile, and then gets what was known before or after a change.
Must not know how anything was found out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from dicomfs.catalog.findings import What
from dicomfs.catalog.store import Row
from dicomfs.source.protocol import SourceObject


@dataclass(frozen=True, slots=True)
class Difference:
    """How a source differs from what is known of it.

    fresh : objects that are new or another version than the known one; gone : keys
    """

    fresh: tuple[SourceObject, ...]
    gone: tuple[str, ...]


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

    def members(self, series: str) -> list[tuple[str, Row]]:
        """The objects of a series by key, in any order; none of a series that is not known."""
        return [(key, self.rows[key]) for key in self.series.get(series, ())]

    def difference(self, objects: Iterable[SourceObject], below: str = "") -> Difference:
        """Compare what is known with what a source lists.

        below : the key that the listing starts at, "" for all of the source
        """
        fresh: list[SourceObject] = []
        seen: set[str] = set()
        for obj in objects:
            seen.add(obj.key)
            row = self.rows.get(obj.key)
            if row is None or row.identity != obj.identity:
                fresh.append(obj)
        gone = [key for key in self.rows if key not in seen]
        if below:
            prefix = f"{below}/"
            gone = [key for key in gone if key == below or key.startswith(prefix)]
        return Difference(tuple(fresh), tuple(gone))

    def digest(self) -> bytes:
        """Changes with the series and their objects; see `digest_of_all`."""
        return digest_of_all({one: digest_of(self.members(one)) for one in self.series})

    def state(self) -> bytes:
        """Changes with whatever is known of any object."""
        lines = [
            f"{key}\0{row.identity.fingerprint} {row.what:d} {row.group}"
            for key, row in sorted(self.rows.items())
        ]
        return blake2b("\0".join(lines).encode("utf-8", "surrogateescape"), digest_size=16).digest()


def digest_of(members: Iterable[tuple[str, Row]]) -> bytes:
    """Changes with the objects of a series, and with the version of each."""
    text = "\0".join([f"{key}\0{row.identity.fingerprint}" for key, row in sorted(members)])
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def digest_of_all(digests: dict[str, bytes]) -> bytes:
    """Changes with the series that there are, and with the digest of each."""
    text = "\0".join([f"{series}\0{digests[series].hex()}" for series in sorted(digests)])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
