"""The index of a source: what was found out about its objects, kept in an SQLite file.

Everything in it can be found out again, so it is never trusted and never in the way: an index of
another version or a damaged one is made anew, what cannot be read is parsed again, and what cannot
be written because the disk is full or another process writes is not written.  Several processes
may use one file at the same time (write-ahead log).  Knows records as bytes; what they mean is in
`dicomfs.catalog.records`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dicomfs.catalog.catalogue import Rejection
from dicomfs.catalog.findings import Finding, Inflated, What
from dicomfs.errors import DicomfsError, UsageError
from dicomfs.source import private
from dicomfs.source.protocol import Identity, SourceObject
from dicomfs.version import __version__

if TYPE_CHECKING:
    # What is in a record is imported when one is read: it brings numpy.
    from dicomfs.dicom.frame_table import FrameTable
    from dicomfs.dicom.instance import Instance

log = logging.getLogger(__name__)

T = TypeVar("T")

_APPLICATION = 0x64636D66  # "dcmf", in the header of the file
_FORMAT = 1
_64_BITS = (1 << 64) - 1
_ROWS = (
    'SELECT key, device, inode, size, mtime_ns, what, "group", inflate_from, inflated_size'
    " FROM files"
)
_PATIENCE = 5.0  # seconds that a writer waits for another one
_READERS_OF_FACTS = ("dicom", "catalog")  # packages whose code decides what is in the index


@dataclass(frozen=True, slots=True)
class Row:
    """What the index has of an object beside its facts."""

    identity: Identity
    what: What
    group: str
    inflated: Inflated | None


def index_path(folder: Path, source: Path, variant: str = "") -> Path:
    """The index of a source in a directory of indexes; those of its variants are others."""
    real = os.fsencode(os.path.realpath(source))
    if variant:
        real += b"\0" + variant.encode()
    digest = hashlib.blake2b(real, digest_size=12).hexdigest()
    return folder / f"{digest}.sqlite3"


class Index:
    """An open index.  May be used from any thread.

    Made by `open_index` or `memory_index`.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path | None, variant: str = ""
    ) -> None:
        self.path = path
        """Its file; None for one in memory."""
        self.name = "the index in memory" if path is None else f"the index {path}"
        self._connection = connection
        self._variant = variant
        self._lock = threading.RLock()
        self._failed = False
        self._closed = False

    # ------------------------------------------------------------ objects

    def rows(self) -> Iterator[tuple[str, Row]]:
        """All objects by key.  Rows that make no sense are left out."""
        return self._rows(_ROWS)

    def members(self, series: str) -> Iterator[tuple[str, Row]]:
        """The objects of a series by key, as `rows` has them."""
        values = (_storable(series), int(What.INSTANCE))
        return self._rows(f'{_ROWS} WHERE "group" = ? AND what = ?', values)

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[str, Row]]:
        groups: dict[str, str] = {}
        for key, device, inode, size, mtime_ns, what, group, start, inflated in self._all(
            statement, values
        ):
            try:
                row = Row(
                    Identity(device, inode & _64_BITS, size, mtime_ns),
                    What(what),
                    groups.setdefault(group, group),
                    None if start is None else Inflated(start, inflated),
                )
                yield os.fsdecode(key), row
            except (TypeError, ValueError):
                continue

    def counts(self) -> dict[What, int]:
        """How many objects of each kind there are."""
        statement = "SELECT what, count(*) FROM files GROUP BY what"
        kinds = {int(what) for what in What}
        return {What(what): count for what, count in self._all(statement) if what in kinds}

    def kind(self, what: What) -> Iterator[tuple[str, str]]:
        """Key and group of the objects of a kind."""
        statement = 'SELECT key, "group" FROM files WHERE what = ?'
        for key, group in self._all(statement, (int(what),)):
            if type(key) is bytes and type(group) is str:
                yield os.fsdecode(key), group

    def keep(self, findings: Iterable[tuple[SourceObject, Finding]]) -> None:
        """Keep what objects turned out to be, all of them or none."""
        files: list[tuple[Any, ...]] = []
        facts: list[tuple[bytes, bytes]] = []
        shared: dict[bytes, bytes] = {}
        for obj, one in findings:
            key, identity, inflated = os.fsencode(obj.key), obj.identity, one.inflated
            files.append(
                (key, identity.device, _signed(identity.inode), identity.size, identity.mtime_ns)
                + (int(one.what), _storable(one.group))
                + ((inflated.start, inflated.size) if inflated else (None, None))
            )
            facts.append((key, one.record))
            shared.update(one.shared)
        self._write(
            ("INSERT OR IGNORE INTO shared VALUES (?, ?)", list(shared.items())),
            ("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", files),
            ("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts),
        )

    def forget(self, keys: Iterable[str]) -> None:
        """Drop objects that are gone."""
        gone = [(os.fsencode(key),) for key in keys]
        tables = ("files", "facts", "frames")
        self._write(*((f"DELETE FROM {table} WHERE key = ?", gone) for table in tables))

    def instance(self, key: str, object_size: int) -> Instance | None:
        """The facts of an instance; None where they are not there or damaged."""
        from dicomfs.catalog.records import instance_of

        record = self._one("SELECT record FROM facts WHERE key = ?", (os.fsencode(key),))
        return self._decoded(key, record, lambda data: instance_of(data, self._find, object_size))

    def rejection(self, key: str) -> Rejection | None:
        """Why an object is not shown; None where that is not there or damaged."""
        from dicomfs.catalog.records import rejection_of

        record = self._one("SELECT record FROM facts WHERE key = ?", (os.fsencode(key),))
        return self._decoded(key, record, rejection_of)

    # ------------------------------------------------------------ frame tables

    def frame_table(self, obj: SourceObject) -> FrameTable | None:
        """The frame table of an object, if it is kept and is of this version of the object."""
        from dicomfs.catalog.records import frames_of

        found = self._one(
            "SELECT record FROM frames WHERE key = ? AND identity = ?",
            (os.fsencode(obj.key), obj.identity.fingerprint),
        )
        size = obj.identity.size
        return self._decoded(obj.key, found, lambda data: frames_of(data, size))

    def keep_frame_table(self, obj: SourceObject, table: FrameTable) -> None:
        """Keep the frame table of an object."""
        from dicomfs.catalog.records import record_of_frames

        row = (os.fsencode(obj.key), obj.identity.fingerprint, record_of_frames(table))
        self._write(("INSERT OR REPLACE INTO frames VALUES (?, ?, ?)", [row]))

    # ------------------------------------------------------------ listings

    def listings(self, options: str) -> Iterator[tuple[str, bytes, bytes]]:
        """Series, digest and record of all listings made with these options."""
        statement = "SELECT series, digest, record FROM listings WHERE options = ?"
        for series, digest, record in self._all(statement, (options,)):
            if type(series) is str and type(digest) is bytes and type(record) is bytes:
                yield series, digest, record

    def keep_listings(self, options: str, rows: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Keep listings: series, digest and record of each."""
        values = [(_storable(series), options, digest, record) for series, digest, record in rows]
        self._write(("INSERT OR REPLACE INTO listings VALUES (?, ?, ?, ?)", values))

    def forget_other_listings(self, code: str) -> None:
        """Drop the listings that other code has made: their options start differently."""
        self._write(("DELETE FROM listings WHERE substr(options, 1, ?) <> ?", [(len(code), code)]))

    def forget_listings(self, series: Iterable[str]) -> None:
        """Drop the listings of series that are gone."""
        self._write(
            ("DELETE FROM listings WHERE series = ?", [(_storable(one),) for one in series])
        )

    def is_sound(self) -> bool:
        """Check that all of the file can be read, which takes time and holds up nobody."""
        if self.path is None:
            return True
        try:
            with closing(sqlite3.connect(self.path, timeout=_PATIENCE)) as connection:
                return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except sqlite3.OperationalError as error:
            log.debug("%s could not be checked: %s", self.name, error)
            return True
        except sqlite3.DatabaseError:
            return False

    def renew(self) -> None:
        """Put an empty index in the place of this one, in memory where no file can be had."""
        assert self.path is not None
        log.info("%s is damaged and made anew", self.name)
        try:
            _make(self.path, self._variant)
            fresh = _connect(self.path, self.name, self._variant)
        except (OSError, sqlite3.Error) as error:
            log.warning("%s cannot be made anew, which costs time only: %s", self.name, error)
            fresh = None
        with self._lock:
            if self._closed:
                return
            with suppress(sqlite3.Error):
                self._connection.close()
            if fresh is None:
                self.path = None
            self._connection = fresh or _in_memory()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            with suppress(sqlite3.Error):
                self._connection.close()

    # ------------------------------------------------------------ SQLite

    def _find(self, digest: bytes) -> bytes | None:
        return self._one("SELECT data FROM shared WHERE digest = ?", (digest,))

    def _one(self, statement: str, values: tuple[Any, ...]) -> bytes | None:
        with self._lock:
            if self._closed:
                return None
            try:
                row = self._connection.execute(statement, values).fetchone()
            except sqlite3.Error as error:
                log.debug("%s could not be read: %s", self.name, error)
                return None
        return row[0] if row is not None and type(row[0]) is bytes else None

    def _all(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                log.warning("%s could not be read: %s", self.name, error)
                return []

    def _write(self, *orders: tuple[str, list[Any]]) -> None:
        """Carry out all statements, each for all its rows, or none of them.

        Where that fails nothing is written and nobody is hurt.
        """
        with self._lock:
            if self._closed:
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    for statement, rows in orders:
                        self._connection.executemany(statement, rows)
                    self._connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                level = logging.DEBUG if self._failed else logging.WARNING
                log.log(
                    level, "%s could not be written, which costs time only: %s", self.name, error
                )
                self._failed = True

    def _decoded(self, key: str, record: bytes | None, read: Callable[[bytes], T]) -> T | None:
        if record is None:
            return None
        try:
            return read(record)
        except DicomfsError as error:
            log.info("the index is damaged where it is about %s: %s", key, error)
            return None


def open_index(path: Path, *, ours: bool, variant: str = "") -> Index:
    """Open an index, made anew where there is none, or one of another version.

    So is one that cannot be read; whether all of it can be is for `Index.is_sound` to say.

    ours : whether the path is of our choosing, so that whatever lies there may be replaced
    variant : an index of another variant is made anew as well: its facts are not for us

    Raises UsageError for a file of another kind that is not ours to replace.  Where no file can be
    had the index is kept in memory.
    """
    name = f"the index {path}"
    try:
        private.make_folder(path.parent)
        if ours:
            private.keep_to_owner(path)
        if not ours and not _replaceable(path):
            raise UsageError(f"{path} is a file, but no index of dicomfs; choose another name")
        for _ in range(2):
            connection = _connect(path, name, variant)
            if connection is not None:
                return Index(connection, path, variant)
            _make(path, variant)
        raise sqlite3.DatabaseError("it is damaged as soon as it is made")
    except (OSError, sqlite3.Error) as error:
        log.warning("%s cannot be used, which costs time only: %s", name, error)
        return memory_index()


def existing_index(path: Path) -> Index | None:
    """An index of this version that is there; None where none is, or none that can be read."""
    try:
        if not path.exists():
            return None
        connection = _connect(path, f"the index {path}", "")
    except (OSError, sqlite3.Error):
        return None
    return None if connection is None else Index(connection, path)


def memory_index() -> Index:
    """An index that nothing is left of."""
    return Index(_in_memory(), None)


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _fill(connection)
    return connection


def _connect(path: Path, name: str, variant: str) -> sqlite3.Connection | None:
    """Open an index; None where it is damaged or of another version.

    Raises OSError and sqlite3.OperationalError where that cannot be told.
    """
    connection = sqlite3.connect(
        path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        # What a power failure takes away is found out again; a damaged file is recognised.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA trusted_schema = OFF")
        if _is_current(connection, variant):
            return connection
        log.debug("%s is made anew", name)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # such as a table that is not there
            connection.close()
            raise
    except sqlite3.DatabaseError as error:
        log.info("%s is damaged and made anew: %s", name, error)
    connection.close()
    return None


def _is_current(connection: sqlite3.Connection, variant: str) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != _APPLICATION:
        return False
    row = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    return bool(row == (_version(variant),))


def _make(path: Path, variant: str) -> None:
    """Put an empty index in the place of whatever is there.

    A process that has the old file open keeps it: it is removed, not written to.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    private.make_file(fresh)  # SQLite's log and its index of that get the same permissions
    connection = sqlite3.connect(fresh, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        _fill(connection, variant)
    finally:
        connection.close()
    for old in (f"{path}-wal", f"{path}-shm"):
        with suppress(FileNotFoundError):
            os.unlink(old)
    fresh.replace(path)


def _fill(connection: sqlite3.Connection, variant: str = "") -> None:
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    schema = Path(__file__).with_name("index.sql")
    connection.executescript(schema.read_text("utf-8"))
    connection.execute("INSERT INTO meta VALUES ('version', ?)", (_version(variant),))


def _replaceable(path: Path) -> bool:
    try:
        head = path.read_bytes()[:72] if path.stat().st_size < 72 else _head(path)
    except FileNotFoundError:
        return True
    return not head or int.from_bytes(head[68:72], "big") == _APPLICATION


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(72)


def _version(variant: str) -> str:
    return f"{_FORMAT} {__version__} {code_digest(*_READERS_OF_FACTS)} {variant}".rstrip()


def code_digest(*packages: str) -> str:
    """Changes with the code of packages of dicomfs, which what they have found is as good as."""
    digest = hashlib.blake2b(digest_size=8)
    root = Path(__file__).parents[1]
    for package in packages:
        for file in sorted(root.joinpath(package).rglob("*")):
            if file.name.endswith((".py", ".sql")):
                name = os.fsencode(file.relative_to(root))
                digest.update(name + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _signed(number: int) -> int:
    """Inode numbers may use all 64 bits, which SQLite's integers have but with a sign."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _storable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
