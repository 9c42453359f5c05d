"""All slides of a collection as a tree of files, put together one by one when they are opened.

What is shown follows from listings (`dicomfs.vfs.listing`), which the index keeps; a slide is built
and planned (`dicomfs.vfs.layout`) when it has no valid listing, and when somebody opens one of its
files.  Must not know FUSE.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dicomfs.catalog.catalogue import Rejection
from dicomfs.catalog.codec import RecordError
from dicomfs.catalog.collection import Collection
from dicomfs.catalog.objects import digest_of_all
from dicomfs.catalog.store import code_digest
from dicomfs.limits import Limits
from dicomfs.reading.virtual_file import literal_file
from dicomfs.source.protocol import Identity, SourceObject
from dicomfs.vfs.attributes import Attributes
from dicomfs.vfs.folders import Folders, Held, SlidePath
from dicomfs.vfs.listing import (
    ListedSeries,
    ShownSlide,
    head_of,
    json_bytes,
    record_of,
)
from dicomfs.vfs.live import LiveFile
from dicomfs.vfs.opening import HeldFile, Opener
from dicomfs.vfs.options import LayoutOptions
from dicomfs.vfs.tree import Changes, Entry, build

if TYPE_CHECKING:
    from dicomfs.vfs.layout import SlideFiles

_PACKAGES = ("slide", "tiff", "reading", "vfs")  # whose code decides what is in a listing
_KEPT_AT_ONCE = 200  # listings that go into the index together

_ABOUT = ".dicomfs"

Listings = dict[str, Held | None]
"""Of series, by key: what they show; None for those that are gone."""


class Shelf:
    """The tree of a collection.

    about : what `.dicomfs/status.json` says besides the numbers of the collection

    `prepare` takes its time; `apply` is quick, and to be called where the tree is used.  Neither
    may run twice at the same time.
    """

    def __init__(
        self, collection: Collection, options: LayoutOptions, limits: Limits, about: dict[str, Any]
    ) -> None:
        self.collection = collection
        self.tree = build([])
        self._options = options
        self._limits = limits
        self._about = about
        self._folders = Folders(self._slide_entries, collection.other_series_of)
        self._troubled: dict[str, tuple[Rejection, ...]] = {}  # what of a series is not shown
        self._slides = 0
        self._newest = 0
        self._numbers: dict[str, Any] = dict(about)
        self.present: Callable[[], dict[str, Any]] = dict
        """What `.dicomfs/status.json` says of the moment in which it is opened."""
        self._status: LiveFile | None = None
        self._code = code_digest(*_PACKAGES)
        root = collection.source.uri(SourceObject("", Identity(0, 0, 0, 0)))  # is in the JSON
        self._key = f"{self._code} {options} {_decoders()} {root}"
        self._opener = Opener(collection, options, limits)

    # ------------------------------------------------------------ what is shown

    @property
    def rejected(self) -> tuple[Rejection, ...]:
        """Everything that is not shown."""
        troubled = sorted(self._troubled.values(), key=lambda some: some[0].files[0].split("/"))
        return (*self.collection.rejections(), *(one for some in troubled for one in some))

    def status(self) -> dict[str, Any]:
        """Numbers of what is shown and what is not."""
        files, not_dicom = self.collection.counts()
        return self._about | {
            "files": files,
            "slides": self._slides,
            "rejected": len(self.rejected),
            "other_series": len(self.collection.other_series()),
            "not_dicom": not_dicom,
        }

    def slides(self) -> Iterator[SlideFiles]:
        """All slides with their files, put together, in the order of their source.  Blocks."""
        places: dict[str, list[tuple[ShownSlide, SlidePath]]] = {}
        for series, slide, path in self._folders.places():
            places.setdefault(series, []).append((slide, path))
        for series in self._order(places):
            for slide, path in places[series]:
                yield self._opener.slide(series, slide, path)

    def _order(self, series: Iterable[str]) -> list[str]:
        def first(one: str) -> list[str]:
            keys = self.collection.keys(one)
            return keys[0].split("/") if keys else []

        return sorted(series, key=first)

    # ------------------------------------------------------------ changes

    def restore(self) -> None:
        """Show what the index has listings of, whether they still hold or not; see `verify`.

        Quick: a mount does not answer before.
        """
        found: Listings = {}
        for series, digest, record in self.collection.index.listings(self._key):
            with suppress(RecordError):
                found[series] = Held(digest, record, head_of(record))
        self.apply(found)

    def verify(self) -> set[str]:
        """The series of which something else is shown than the index has objects of."""
        collection, held = self.collection, self._folders.held
        collection.index.forget_other_listings(self._code)
        if collection.digest_of_all() == digest_of_all({s: held[s].digest for s in held}):
            return set()
        known = set(collection.series)
        wrong = {
            series
            for series in known
            if series not in held or held[series].digest != collection.digest(series)
        }
        return wrong | (held.keys() - known)

    def prepare(self, series: Iterable[str]) -> Iterator[Listings]:
        """Find out what has become of series, some at a time.  Blocks."""
        listings: Listings = {}
        rows: list[tuple[str, bytes, bytes]] = []
        for one in series:
            digest = self.collection.digest(one)
            if digest is not None:
                record = record_of(self._list(one))
                listings[one] = Held(digest, record, head_of(record))
                rows.append((one, digest, record))
            else:
                listings[one] = None
            if len(rows) >= _KEPT_AT_ONCE:
                self.collection.index.keep_listings(self._key, rows)
                yield listings
                listings, rows = {}, []
        if rows:
            self.collection.index.keep_listings(self._key, rows)
        yield listings

    def _list(self, series: str) -> ListedSeries:
        from dicomfs.vfs.opening import list_series

        return list_series(self.collection, series, self._options, self._limits)

    def apply(self, listings: Listings) -> Changes:
        """Show what was prepared."""
        with self.tree.lock:
            for series, held in listings.items():
                before = self._folders.held.get(series)
                self._slides -= len(before.head.slides) if before is not None else 0
                self._slides += len(held.head.slides) if held is not None else 0
                self._troubled.pop(series, None)
                if held is not None and held.head.troubled:
                    self._troubled[series] = held.listing().rejected
            others = self.collection.take_changed_studies()
            gone, folders = self._folders.change(listings, others)
            self._newest = max((folder.mtime_ns for folder in folders), default=self._newest)
            return self.tree.replace(gone, [*folders, *self._about_entries()])

    # ------------------------------------------------------------ entries

    def _slide_entries(self, series: str, slide: ShownSlide, path: SlidePath) -> Iterator[Entry]:
        """The files of a slide."""
        for file in slide.files:
            held = HeldFile(self._opener, series, slide, path, file)
            where = (path[0], path[1], path[2] + file.ending)
            attributes = Attributes(slide, file.flavour, held.printable)
            yield Entry(where, held, slide.mtime_ns, slide.token(file), attributes)

    def _about_entries(self) -> list[Entry]:
        """What tells of the mount itself."""
        rejected = json_bytes([one.document() for one in self.rejected])
        self._numbers = self.status()
        if self._status is None:
            self._status = LiveFile(lambda: json_bytes(self._numbers | self.present()))
        return [
            Entry((_ABOUT, "status.json"), self._status, self._newest, "live"),
            self._literal("rejected.json", rejected),
        ]

    def _literal(self, name: str, data: bytes) -> Entry:
        digest = blake2b(data, digest_size=16).hexdigest()
        return Entry((_ABOUT, name), literal_file(data), self._newest, digest)


def _decoders() -> str:
    """Changes when imagecodecs, which makes some of the bytes, is another one.

    Neither imported nor asked of its metadata: both take longer than all the rest of the start.
    """
    found = find_spec("imagecodecs")
    assert found is not None
    assert found.origin is not None
    state = os.stat(found.origin)
    return f"{state.st_size} {state.st_mtime_ns}"
