"""What has to be known of a series to list its files: names, sizes, times; no facts, no plans.

A listing is a few hundred bytes, so that a hundred thousand slides can be listed without one of
them being put together.  Made from `dicomfs.vfs.layout`; kept in the index.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from json.encoder import encode_basestring
from math import isfinite
from sys import intern
from typing import Any, NamedTuple

from dicomfs.catalog.catalogue import CataloguedSlide, Rejection
from dicomfs.catalog.codec import RecordError

LONGEST_ENDING = ".thumbnail.jpg"

_LAYOUT_VERSION = "2"  # goes into inode numbers: other bytes of the same source are another file


class ListedFile(NamedTuple):
    """A file of a slide.

    ending : its name without that of the slide; flavour : of a TIFF, "" for others; size : bytes
    """

    ending: str
    flavour: str
    size: int


class ShownSlide(NamedTuple):
    """Of a slide, what has to be known to show its files.

    warnings : codes, with spaces between
    stem : the name of its files without endings, where it is not confused with another one
    version : changes with its source files
    """

    series_instance_uid: str
    study_instance_uid: str
    pyramid_uid: str
    patient_id: str
    warnings: str
    stem: str
    mtime_ns: int
    version: str
    files: tuple[ListedFile, ...]

    def token(self, file: ListedFile) -> str:
        """What identifies the bytes of a file."""
        return f"{self.version} {file.size}" if file.flavour else self.version


class ListedSlide(NamedTuple):
    """A slide: first all that `ShownSlide` has, then what documents say of it.

    patient, study : names of its folders where nothing is confused
    study_moment : ISO 8601; patient_birth_date too
    sop_classes : UIDs, with spaces between
    instances : how many its series has, each counted once
    """

    series_instance_uid: str
    study_instance_uid: str
    pyramid_uid: str
    patient_id: str
    warnings: str
    stem: str
    mtime_ns: int
    version: str
    files: tuple[ListedFile, ...]
    patient_id_issuer: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str
    patient_age: str
    study_id: str
    study_moment: str
    study_description: str
    accession_number: str
    referring_physician: str
    modality: str
    sop_classes: str
    instances: int
    patient: str
    study: str


class Weight(NamedTuple):
    """What has to be known of a document before it is made: bytes, and what changes with them."""

    size: int
    token: str


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """What a series shows, and what of it is not shown.

    study : the weight of `study.json` where there is nothing else of its study; None where its
        slides are of none or of several
    """

    slides: tuple[ListedSlide, ...]
    rejected: tuple[Rejection, ...]
    study: Weight | None = None


class ShownSeries(NamedTuple):
    """Of a listing, what has to be known to show the files of its slides; see `ListedSeries`."""

    slides: tuple[ShownSlide, ...]
    study: Weight | None


class Whereabouts(NamedTuple):
    """Of a slide, what has to be known to show the folders that it lies in.

    files : how many it has; size : of all together, bytes
    instances : how many its series has
    """

    patient_id: str
    study_instance_uid: str
    patient: str
    study: str
    mtime_ns: int
    files: int
    size: int
    instances: int


@dataclass(frozen=True, slots=True)
class Head:
    """Of a listing, what has to be known before anybody looks into a folder.

    troubled : whether something of the series is not shown
    """

    slides: tuple[Whereabouts, ...]
    troubled: bool


_SHOWN = len(ShownSlide._fields)
_SHOWN_TYPES = [int if name == "mtime_ns" else str for name in ShownSlide._fields[:-1]]
_TOLD_TYPES = [int if name == "instances" else str for name in ListedSlide._fields[_SHOWN:]]
_WHERE_TYPES = [str, str, str, str, int, int, int, int]
# What `json.loads` comes to in the end, at half of its price for texts as short as these.
_decoded = json.JSONDecoder().raw_decode
_SIZES = struct.Struct("<III")  # CRC-32 of what follows it, bytes of the first and the second part


def record_of(listing: ListedSeries) -> bytes:
    """A listing as bytes, in three parts, so that nobody reads more of it than is asked for: its
    head, what its files are shown by, and what documents say."""
    head = [
        [one.patient_id, one.study_instance_uid, one.patient, one.study, one.mtime_ns,
         len(one.files), sum(file.size for file in one.files), one.instances]
        for one in listing.slides
    ]  # fmt: skip
    rejected = [
        [one.series_instance_uid, one.code, one.message, list(one.files)]
        for one in listing.rejected
    ]
    first = _json([head, bool(rejected)])
    second = _json([[slide[:_SHOWN] for slide in listing.slides], listing.study])
    third = _json([[slide[_SHOWN:] for slide in listing.slides], rejected])
    checked = struct.pack("<II", len(first), len(second)) + first + second + third
    return zlib.crc32(checked).to_bytes(4, "little") + checked


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def _part(record: bytes, number: int) -> Any:
    """The content of a part of a record, counted from 0."""
    _, first, second = _SIZES.unpack_from(record)
    start = _SIZES.size
    ends = (start, start + first, start + first + second, len(record))
    return _decoded(str(memoryview(record)[ends[number] : ends[number + 1]], "ascii"))[0]


def head_of(record: bytes) -> Head:
    """The head of a listing.  Raises RecordError for bytes that hold none, or a damaged listing.

    Written out by hand: a mount reads all of them before it answers for the first time.
    """
    try:
        checksum, size, _ = _SIZES.unpack_from(record)
        if zlib.crc32(memoryview(record)[4:]) != checksum:
            raise RecordError("a listing is damaged")
        (rows, troubled), _ = _decoded(str(memoryview(record)[12 : 12 + size], "ascii"))
        slides = []
        for row in rows:
            if list(map(type, row)) != _WHERE_TYPES:
                raise RecordError("a listing is damaged")
            slides.append(Whereabouts(*row))
    except (ValueError, TypeError, struct.error) as error:
        raise RecordError(f"a listing is damaged: {error}") from error
    return Head(tuple(slides), troubled is True)


@lru_cache(maxsize=32)  # asked several times while a folder is made
def shown_of(record: bytes) -> ShownSeries:
    """What shows the files of a listing of which `head_of` was read.  Raises RecordError."""
    try:
        rows, study = _part(record, 1)
        return ShownSeries(
            tuple([_shown_slide(row) for row in rows]), None if study is None else Weight(*study)
        )
    except (ValueError, TypeError, struct.error) as error:
        raise RecordError(f"a listing is damaged: {error}") from error


def listing_of(record: bytes) -> ListedSeries:
    """The listing that bytes hold, of which `head_of` was read.  Raises RecordError."""
    shown = shown_of(record)
    try:
        told, rejected = _part(record, 2)
        slides = []
        for one, more in zip(shown.slides, told, strict=True):
            if list(map(type, more)) != _TOLD_TYPES:
                raise RecordError("a listing is damaged")
            slides.append(ListedSlide._make([*one, *more]))
        return ListedSeries(
            tuple(slides),
            tuple([Rejection(uid, code, said, tuple(keys)) for uid, code, said, keys in rejected]),
            shown.study,
        )
    except (ValueError, TypeError, struct.error) as error:
        raise RecordError(f"a listing is damaged: {error}") from error


def _shown_slide(row: list[Any]) -> ShownSlide:
    *values, files_of = row
    if list(map(type, values)) != _SHOWN_TYPES:
        raise TypeError("a value is of another type")
    # What many have in common is kept once: it stays as long as the folder was looked into.
    files = [
        ListedFile(intern(ending), intern(flavour), size) for ending, flavour, size in files_of
    ]
    uid, study, pyramid, patient, warnings, stem, mtime_ns, version = values
    return ShownSlide(
        uid, intern(study), pyramid, intern(patient), intern(warnings), stem, mtime_ns, version,
        tuple(files),
    )  # fmt: skip


def version_of(entry: CataloguedSlide, series: str) -> str:
    """Changes with the source files of a slide, and with what makes virtual files of them."""
    sources = [f"{obj.key}\0{obj.identity.fingerprint}" for obj in entry.objects]
    text = "\0".join([_LAYOUT_VERSION, series, entry.pyramid_uid, *sources])
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def json_bytes(content: Any) -> bytes:
    """A JSON document as the bytes of a file, what `json.dumps` makes of it with an indent of 2."""
    parts: list[str] = []
    _indented(content, "\n", parts)
    parts.append("\n")
    return "".join(parts).encode("utf-8", "replace")


def _indented(value: Any, line: str, parts: list[str]) -> None:
    """Written out by hand: json has no C code for indented documents, and this is called for every
    slide that is listed."""
    kind = type(value)
    if kind is str:
        parts.append(encode_basestring(value))
    elif kind is int:
        parts.append(str(value))
    elif kind is dict and value:
        inner = line + "  "
        before = "{" + inner
        for name, one in value.items():
            parts += (before, encode_basestring(name), ": ")
            _indented(one, inner, parts)
            before = "," + inner
        parts.append(line + "}")
    elif (kind is list or kind is tuple) and value:
        inner = line + "  "
        before = "[" + inner
        for one in value:
            parts.append(before)
            _indented(one, inner, parts)
            before = "," + inner
        parts.append(line + "]")
    elif kind is float and isfinite(value):
        parts.append(repr(value))
    elif value is None:
        parts.append("null")
    else:
        parts.append(json.dumps(value, ensure_ascii=False))
