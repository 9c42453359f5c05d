"""All slides of a collection as a tree of files, put together one by one when they are opened.

What is shown follows from listings (`dicomfs.vfs.listing`), which the index keeps; a slide is built
and planned (`dicomfs.vfs.layout`) when it has no valid listing, and when somebody opens one of its
files.  Must not know FUSE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dicomfs.catalog.catalogue import Rejection
from dicomfs.catalog.codec import RecordError
from dicomfs.catalog.collection import Collection
from dicomfs.catalog.store import code_digest
from dicomfs.extents import literal_table
from dicomfs.limits import Limits
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.source.protocol import printable
from dicomfs.vfs import names
from dicomfs.vfs.listing import (
    LONGEST_ENDING,
    Attributes,
    ListedFile,
    ListedSeries,
    ListedSlide,
    json_bytes,
    listing_of,
    record_of,
)
from dicomfs.vfs.names import Wanted
from dicomfs.vfs.opening import HeldFile, Opener
from dicomfs.vfs.options import LayoutOptions
from dicomfs.vfs.tree import Changes, Entry, Path, build

if TYPE_CHECKING:
    from dicomfs.vfs.layout import SlideFiles

_PACKAGES = ("slide", "tiff", "reading", "vfs")  # whose code decides what is in a listing
_KEPT_AT_ONCE = 200  # listings that go into the index together

_ABOUT = ".dicomfs"
_Study = tuple[str, str]  # Patient ID, Study Instance UID

Listings = dict[str, ListedSeries | None]
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
        self._listings: dict[str, ListedSeries] = {}
        self._studies: dict[_Study, set[str]] = {}  # their series
        self._names: dict[_Study, str] = {}  # as they are shown
        self._newest = 0
        self._owners: dict[tuple[str, str], tuple[str, ...]] = {}  # of names, by folder and key
        self._code = code_digest(*_PACKAGES)
        self._key = f"{self._code} {options} {version('imagecodecs')}"
        self._opener = Opener(collection, options, limits)

    # ------------------------------------------------------------ what is shown

    @property
    def rejected(self) -> tuple[Rejection, ...]:
        """Everything that is not shown."""
        troubled = [series for series, one in self._listings.items() if one.rejected]
        listings = (self._listings[series] for series in self._order(troubled))
        return (*self.collection.rejections(), *(r for one in listings for r in one.rejected))

    def status(self) -> dict[str, Any]:
        """Numbers of what is shown and what is not."""
        files, not_dicom = self.collection.counts()
        return self._about | {
            "files": files,
            "slides": sum(len(listing.slides) for listing in self._listings.values()),
            "rejected": len(self.rejected),
            "other_series": len(self.collection.other_series()),
            "not_dicom": not_dicom,
        }

    def slides(self) -> Iterator[SlideFiles]:
        """All slides with their files, put together, in the order of their source.  Blocks."""
        for series in self._order(self._listings):
            for slide in self._listings[series].slides:
                path = (*self._folder(slide), self._stem(series, slide))
                yield self._opener.slide(series, slide, path)

    def _order(self, series: Iterable[str]) -> list[str]:
        def first(one: str) -> list[str]:
            keys = self.collection.keys(one)
            return keys[0].split("/") if keys else []

        return sorted(series, key=first)

    # ------------------------------------------------------------ changes

    def restore(self) -> set[str]:
        """Show what the index has valid listings of; returns the other series."""
        collection = self.collection
        collection.index.forget_other_listings(self._code)
        found: Listings = {}
        known = set(collection.series)
        for series, digest, record in collection.index.listings(self._key):
            if series in known and digest == collection.digest(series):
                try:
                    found[series] = listing_of(record)
                except RecordError:
                    continue
        self.apply(found)
        return known - found.keys()

    def prepare(self, series: Iterable[str]) -> Iterator[Listings]:
        """Find out what has become of series, some at a time.  Blocks."""
        listings: Listings = {}
        rows: list[tuple[str, bytes, bytes]] = []
        known = self.collection.series
        for one in series:
            if one in known:
                digest = self.collection.digest(one)
                listing = self._list(one)
                listings[one] = listing
                rows.append((one, digest, record_of(listing)))
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
        gone = [path for one in listings for path, _, _ in self._paths(one)]
        studies: set[_Study] = set()
        for one, listing in listings.items():
            studies |= self._set_listing(one, listing)
        moved = set(listings)
        for study in studies:
            before, name = self._names.get(study), self._study_name(study)
            if before is not None and before != name:
                others = self._studies.get(study, set()) - moved
                gone += [path for one in others for path, _, _ in self._paths(one)]
                moved |= others
            if name:
                self._names[study] = name
            else:
                del self._names[study]
        entries = [self._entry(one, *found) for one in sorted(moved) for found in self._paths(one)]
        return self.tree.replace(gone, entries + self._about_entries(entries))

    def _set_listing(self, series: str, listing: ListedSeries | None) -> set[_Study]:
        """Returns the studies that this is about."""
        before = self._listings.pop(series, None)
        about: set[_Study] = set()
        for study in _studies(before):
            about.add(study)
            self._studies[study].discard(series)
            if not self._studies[study]:
                del self._studies[study]
        if listing is not None:
            self._listings[series] = listing
            for study in _studies(listing):
                about.add(study)
                self._studies.setdefault(study, set()).add(series)
        return about

    # ------------------------------------------------------------ names

    def _paths(self, series: str) -> Iterator[tuple[Path, ListedSlide, ListedFile]]:
        listing = self._listings.get(series)
        for slide in listing.slides if listing is not None else ():
            folder, stem = self._folder(slide), self._stem(series, slide)
            for file in slide.files:
                yield (*folder, stem + file.ending), slide, file

    def _folder(self, slide: ListedSlide) -> tuple[str, str]:
        study = _study(slide)
        return self._patient_name(slide), self._names.get(study, slide.study)

    def _patient_name(self, slide: ListedSlide) -> str:
        patient = slide.patient_id
        long = Wanted(slide.patient, patient)
        return self._claimed("", slide.patient, long, (patient,))

    def _study_name(self, study: _Study) -> str:
        """The name of the folder of a study, "" where it has no slides.

        Its series may describe it differently; the text that sorts first counts.
        """
        found = (
            slide
            for one in self._studies.get(study, ())
            for slide in self._listings[one].slides
            if _study(slide) == study
        )
        first = min(found, key=lambda slide: slide.study, default=None)
        if first is None:
            return ""
        folder = self._patient_name(first)
        return self._claimed(folder, first.study, Wanted(first.study, study[1]), study)

    def _stem(self, series: str, slide: ListedSlide) -> str:
        long = Wanted(slide.stem, f"{series} {slide.pyramid_uid}", LONGEST_ENDING)
        return self._claimed("/", slide.stem, long, (series, slide.pyramid_uid))

    def _claimed(self, folder: str, name: str, long: Wanted, owner: tuple[str, ...]) -> str:
        """The name, or one with all digits where somebody else has it already."""
        holder = self._owners.setdefault((folder, names.key(name)), owner)
        return name if holder == owner else names.longest(long).removesuffix(long.ending)

    # ------------------------------------------------------------ entries

    def _entry(self, series: str, path: Path, slide: ListedSlide, file: ListedFile) -> Entry:
        stem = path[2].removesuffix(file.ending)
        held = HeldFile(self._opener, series, slide, (path[0], path[1], stem), file)
        attributes = Attributes(slide, file.flavour)
        return Entry(path, held, slide.mtime_ns, slide.token(file), attributes)

    def _about_entries(self, entries: Sequence[Entry]) -> list[Entry]:
        """What tells of the mount itself."""
        self._newest = max((entry.mtime_ns for entry in entries), default=self._newest)
        rejected = json_bytes([_as_json(one) for one in self.rejected])
        return [
            self._literal("status.json", json_bytes(self.status())),
            self._literal("rejected.json", rejected),
        ]

    def _literal(self, name: str, data: bytes) -> Entry:
        digest = blake2b(data, digest_size=16).hexdigest()
        file = VirtualFile(literal_table(data), (), None)
        return Entry((_ABOUT, name), file, self._newest, digest)


def _study(slide: ListedSlide) -> _Study:
    return slide.patient_id, slide.study_instance_uid


def _studies(listing: ListedSeries | None) -> set[_Study]:
    return {_study(slide) for slide in listing.slides} if listing is not None else set()


def _as_json(rejection: Rejection) -> dict[str, Any]:
    return {
        "series_instance_uid": rejection.series_instance_uid,
        "code": rejection.code,
        "message": rejection.message,
        "files": [printable(key) for key in rejection.files],
    }
