"""The directories of a TIFF or BigTIFF, by a parser of its own.

The one job: walk from the header through the chain and the SubIFDs, read every field, and note what
breaks the walk. Knows no TIFF library and no pixels. TIFF 6.0 section 2, BigTIFF, and Technical
Note 1 (trees).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 273, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR = 282, 283, 284
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
SUB_IFDS, SUBSAMPLING = 330, 530

_SIZES: Final[Mapping[int, int]] = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}
_INTEGERS: Final = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_OFFSET_TYPES: Final = frozenset({3, 4, 13, 16, 18})
RATIONALS: Final = frozenset({5, 10})
_BIG_ONLY: Final = frozenset({16, 17, 18})
_MOST_DIRECTORIES: Final = 100_000
_MOST_ENTRIES: Final = 4096

JPEG_CODES: Final = frozenset({7})
JPEG2000_CODES: Final = frozenset({33003, 33004, 33005, 34712})
RAW_CODE: Final = 1
DEFLATE_CODES: Final = frozenset({8, 32946})


@dataclass(frozen=True, slots=True)
class Problem:
    """`rule` is stable, for tests to filter by; `where` names the directory."""

    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}: {self.text}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One field of a directory; `at` is where its value lies, inside the entry or elsewhere."""

    tag: int
    kind: int
    count: int
    at: int
    inline: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """One IFD. `end` is behind its link to the next."""

    where: str
    offset: int
    end: int
    order: str
    entries: Mapping[int, Entry]

    def integers(self, tag: int) -> NDArray[np.int64]:
        """The integers of a field, none where it is absent or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS:
            return np.zeros(0, np.int64)
        return np.frombuffer(entry.value, f"{self.order}{_INTEGERS[entry.kind]}").astype(np.int64)

    def integer(self, tag: int, default: int = 0) -> int:
        values = self.integers(tag)
        return int(values[0]) if values.size else default

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.integer(WIDTH), self.integer(LENGTH)

    @property
    def tiled(self) -> bool:
        return TILE_WIDTH in self.entries or TILE_OFFSETS in self.entries

    @property
    def segment_size(self) -> tuple[int, int]:
        """(width, height) of a tile, or of a full strip."""
        if self.tiled:
            return self.integer(TILE_WIDTH), self.integer(TILE_LENGTH)
        width, height = self.size
        return width, min(self.integer(ROWS_PER_STRIP, height), height)

    def segments(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Offsets and byte counts of the tiles or strips, row by row."""
        if self.tiled:
            return self.integers(TILE_OFFSETS), self.integers(TILE_COUNTS)
        return self.integers(STRIP_OFFSETS), self.integers(STRIP_COUNTS)


@dataclass(slots=True)
class Structure:
    """What the walk found: the directories of the chain and of its SubIFDs, and what was wrong."""

    big: bool = False
    order: str = "<"
    length: int = 0
    directories: list[Directory] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def report(self, rule: str, where: str, text: str) -> None:
        self.problems.append(Problem(rule, where, text))


# ------------------------------------------------------------------ the walk


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def walk(path: Path) -> Structure:
    """Every directory that can be reached, each once; problems of the walk itself included."""
    found = Structure()
    with open(path, "rb") as file:
        found.length = file.seek(0, 2)
        head = read_at(file, 0, 16)
        orders = {b"II": "<", b"MM": ">"}
        if head[:2] not in orders or len(head) < 8:
            found.report("header", "file", f"no byte order: {head[:2]!r}")
            return found
        found.order = orders[head[:2]]
        (version,) = struct.unpack_from(f"{found.order}H", head, 2)
        if version == 42:
            (first,) = struct.unpack_from(f"{found.order}I", head, 4)
        elif version == 43 and len(head) == 16:
            found.big = True
            size, zero, first = struct.unpack_from(f"{found.order}HHQ", head, 4)
            if (size, zero) != (8, 0):
                found.report("header", "file", f"offsets of {size} bytes, constant {zero}")
        else:
            found.report("header", "file", f"version {version}")
            return found
        if first == 0:
            found.report("header", "file", "no directory")
        _walk_chain(file, found, first, "IFD", {})
    return found


def _walk_chain(
    file: BinaryIO, found: Structure, first: int, name: str, above: dict[int, str]
) -> None:
    """A chain of directories and the trees below it. `above` are the chains this one hangs from.

    A SubIFD that also stands in the main chain is read once, under the name met first.
    """
    known = {directory.offset for directory in found.directories}
    chain: dict[int, str] = {}
    offset = first
    while offset:
        where = f"{name} {len(chain)}"
        if offset in chain or offset in above:
            found.report("ifd-cycle", where, f"leads back to {(above | chain)[offset]}")
            break
        if len(found.directories) >= _MOST_DIRECTORIES:
            found.report("ifd-cycle", where, f"more than {_MOST_DIRECTORIES} directories")
            break
        chain[offset] = where
        if offset in known and name != "IFD":
            break
        read = _read_directory(file, found, offset, where)
        if read is None:
            break
        directory, offset = read
        found.directories.append(directory)
    # The trees only after the whole chain: an IFD of the chain keeps its name.
    by_offset = {directory.offset: directory for directory in found.directories}
    for offset, where in chain.items():
        if offset in known or offset not in by_offset:
            continue
        entry = by_offset[offset].entries.get(SUB_IFDS)
        if entry is None:
            continue
        if entry.kind not in _OFFSET_TYPES or entry.kind == 3:
            found.report("sub-ifd", where, f"SubIFDs of type {entry.kind}")
            continue
        for index, child in enumerate(by_offset[offset].integers(SUB_IFDS)):
            if child == 0:
                found.report("sub-ifd", where, f"SubIFD {index} at offset 0")
                continue
            if int(child) == offset or int(child) in above:
                found.report("ifd-cycle", where, f"SubIFD {index} leads back up the tree")
                continue
            _walk_chain(
                file, found, int(child), f"{where} SubIFD {index}", {**above, offset: where}
            )


def _read_directory(
    file: BinaryIO, found: Structure, offset: int, where: str
) -> tuple[Directory, int] | None:
    order, big = found.order, found.big
    count_format, entry_size, link_format = (
        (f"{order}Q", 20, f"{order}Q") if big else (f"{order}H", 12, f"{order}I")
    )
    count_size, link_size = struct.calcsize(count_format), struct.calcsize(link_format)
    if offset % 2:
        found.report("word-boundary", where, f"directory at odd offset {offset}")
    head = read_at(file, offset, count_size)
    if len(head) < count_size:
        found.report("ifd-outside", where, f"directory at {offset} of {found.length}")
        return None
    (count,) = struct.unpack(count_format, head)
    if not 0 < count <= _MOST_ENTRIES:
        found.report("ifd-entries", where, f"{count} entries")
        return None
    table = read_at(file, offset + count_size, count * entry_size + link_size)
    if len(table) < count * entry_size + link_size:
        found.report("ifd-outside", where, f"directory at {offset} runs over the end")
        return None
    entries: dict[int, Entry] = {}
    last = -1
    for index in range(count):
        start = index * entry_size
        entry = _read_entry(file, found, table[start : start + entry_size], offset, start, where)
        if entry is None:
            continue
        if entry.tag <= last:
            found.report("tag-order", where, f"tag {entry.tag} after {last}")
        last = max(last, entry.tag)
        entries.setdefault(entry.tag, entry)
    (following,) = struct.unpack_from(link_format, table, count * entry_size)
    end = offset + count_size + len(table)
    return Directory(where, offset, end, order, entries), following


def _read_entry(
    file: BinaryIO, found: Structure, raw: bytes, directory: int, start: int, where: str
) -> Entry | None:
    order, big = found.order, found.big
    tag, kind = struct.unpack_from(f"{order}HH", raw)
    if kind not in _SIZES or (kind in _BIG_ONLY and not big):
        found.report("entry-type", where, f"tag {tag} of type {kind}")
        return None
    count_format, inline_size = (f"{order}Q", 8) if big else (f"{order}I", 4)
    (count,) = struct.unpack_from(count_format, raw, 4)
    size = count * _SIZES[kind]
    if count == 0:
        found.report("entry-count", where, f"tag {tag} has no value")
        return None
    place = 4 + struct.calcsize(count_format)
    if size <= inline_size:
        at = directory + (8 if big else 2) + start + place
        return Entry(tag, kind, count, at, True, raw[place : place + size])
    (at,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", raw, place)
    if at + size > found.length:
        found.report("value-outside", where, f"tag {tag}: {at}+{size} of {found.length}")
        return None
    if at % 2:
        found.report("word-boundary", where, f"value of tag {tag} at odd offset {at}")
    return Entry(tag, kind, count, at, False, read_at(file, at, size))
