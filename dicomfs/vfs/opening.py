"""Puts a slide together from the facts of its instances: to list it, and when it is opened.

A few slides are kept put together; one whose files are in use is the same object for everybody.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from dicomfs.catalog.catalogue import CataloguedSlide, Rejection
from dicomfs.catalog.collection import Collection
from dicomfs.errors import SourceChangedError
from dicomfs.limits import Limits
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.source.protocol import SourceObject
from dicomfs.vfs.attributes import bounded
from dicomfs.vfs.folders import listed
from dicomfs.vfs.listing import ListedFile, ListedSeries, ListedSlide, ShownSlide, version_of
from dicomfs.vfs.names import alone
from dicomfs.vfs.options import LayoutOptions

if TYPE_CHECKING:
    from dicomfs.vfs.layout import SlideFiles

log = logging.getLogger(__name__)

_KEPT = 16  # slides

_Key = tuple[str, str, str]


def list_series(
    collection: Collection, series: str, options: LayoutOptions, limits: Limits
) -> ListedSeries:
    """What a series shows.  Blocks."""
    built = collection.build(series)
    slides: list[ListedSlide] = []
    rejected = list(built.rejected)
    uri = collection.source.uri
    instances = len(
        {one.header.sop_instance_uid for entry in built.slides for one in entry.slide.instances}
    )
    for entry in built.slides:
        try:
            slides.append(_listed(entry, series, options, limits, uri, instances))
        except Exception:
            log.exception("series %s cannot be laid out", series)
            keys = tuple(obj.key for obj in entry.objects)
            rejected.append(Rejection(series, "internal", "could not be laid out", keys))
    return listed(series, slides, rejected)


def _listed(
    entry: CataloguedSlide,
    series: str,
    options: LayoutOptions,
    limits: Limits,
    uri: Callable[[SourceObject], str],
    instances: int,
) -> ListedSlide:
    from dicomfs.slide.summary import date_and_time, iso_datetime
    from dicomfs.vfs import layout

    wanted = layout.file_name(entry, series)
    stem = alone(wanted).removesuffix(wanted.ending)
    files = layout.lay_out(entry, ("", ""), stem, options, limits, uri)
    about = entry.slide.description
    return ListedSlide(
        series_instance_uid=entry.slide.series_instance_uid,
        study_instance_uid=entry.slide.study_instance_uid,
        pyramid_uid=entry.pyramid_uid,
        patient_id=about.patient_id,
        patient_id_issuer=about.patient_id_issuer,
        patient_name=about.patient_name,
        patient_birth_date=iso_datetime(about.patient_birth_date) or "",
        patient_sex=about.patient_sex,
        patient_age=about.patient_age,
        study_id=about.study_id,
        study_moment=date_and_time(about.study_date, about.study_time) or "",
        study_description=about.study_description,
        accession_number=about.accession_number,
        referring_physician=about.referring_physician,
        modality=entry.slide.instances[0].header.modality,
        sop_classes=" ".join(sorted({one.header.sop_class_uid for one in entry.slide.instances})),
        instances=instances,
        warnings=" ".join(note.code for note in entry.slide.notes),
        patient=alone(layout.patient_name(entry)),
        study=alone(layout.study_name(entry)),
        stem=stem,
        mtime_ns=options.shown_time(entry.mtime_ns),
        version=version_of(entry, series),
        files=tuple(
            ListedFile(
                name.removeprefix(stem),
                files.plans[name][0].value if name in files.plans else "",
                content.size,
            )
            for name, content in files.files.items()
        ),
    )


class Opener:
    """Puts slides of a collection together.  May be used from any thread."""

    def __init__(self, collection: Collection, options: LayoutOptions, limits: Limits) -> None:
        self._collection = collection
        self._options = options
        self._limits = limits
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, SlideFiles] = OrderedDict()
        self._printable: OrderedDict[_Key, Mapping[str, bytes]] = OrderedDict()
        self._in_use: WeakValueDictionary[tuple[_Key, str], VirtualFile] = WeakValueDictionary()

    def slide(self, series: str, slide: ShownSlide, path: tuple[str, str, str]) -> SlideFiles:
        """A slide with its files.  Blocks.

        path : names of patient, study, and of its files without their endings

        Raises SourceChangedError where it is no longer what was listed.
        """
        from dicomfs.vfs import layout

        try:
            built = self._collection.build(series)
        except KeyError:  # gone while it was looked for
            raise _changed(path) from None
        for entry in built.slides:
            if version_of(entry, series) == slide.version:
                folder, stem, uri = (path[0], path[1]), path[2], self._collection.source.uri
                return layout.lay_out(entry, folder, stem, self._options, self._limits, uri)
        raise _changed(path)

    def file(
        self, series: str, slide: ShownSlide, path: tuple[str, str, str], file: ListedFile
    ) -> VirtualFile:
        """A file of a slide.  Blocks.  Raises SourceChangedError."""
        key = (slide.version, slide.pyramid_uid, path[2])
        with self._lock:
            content = self._in_use.get((key, file.ending))
            if content is not None:
                return content
            files = self._files(key, series, slide, path)
            content = files.files.get(path[2] + file.ending)
            if content is None or content.size != file.size:
                raise _changed(path)
            self._in_use[(key, file.ending)] = content
            return content

    def _files(
        self, key: _Key, series: str, slide: ShownSlide, path: tuple[str, str, str]
    ) -> SlideFiles:
        """A slide, which is kept for a while.  To be called with the lock."""
        files = self._kept.get(key)
        if files is None:
            files = self._kept[key] = self.slide(series, slide, path)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return files

    def printable(
        self, series: str, slide: ShownSlide, path: tuple[str, str, str]
    ) -> Mapping[str, bytes]:
        """What the data set of the largest level says in a line each, as extended attributes.

        Blocks.  Raises SourceChangedError, and what reading the source raises.
        """
        key = (slide.version, slide.pyramid_uid, path[2])
        with self._lock:
            known = self._printable.get(key)
            if known is not None:
                return known
            entry = self._files(key, series, slide, path).entry
        values = self._read_printable(entry)
        with self._lock:
            self._printable[key] = values
            while len(self._printable) > _KEPT:
                self._printable.popitem(last=False)
        return values

    def _read_printable(self, entry: CataloguedSlide) -> Mapping[str, bytes]:
        from dicomfs.dicom.confidentiality.deidentify import deidentify
        from dicomfs.dicom.dataset import read_elements
        from dicomfs.dicom.printable import printable_values

        member = entry.slide.levels[0].members[0]
        layout = entry.slide.instances[member].layout
        parts = []
        for offset, size in layout.header:
            part = bytearray(size)
            self._collection.source.read_into(entry.objects[member], offset, memoryview(part))
            parts.append(bytes(part))
        dataset = read_elements(b"".join(parts), layout.encoding)
        if self._options.profile is not None:
            dataset = deidentify(dataset, self._options.profile)
        return bounded(printable_values(dataset))


class HeldFile(NamedTuple):
    """What stands for a file of a slide in a tree; see `dicomfs.vfs.nodes.Listed`."""

    opener: Opener
    series: str
    slide: ShownSlide
    path: tuple[str, str, str]
    file: ListedFile

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.file.size

    def fetch(self) -> VirtualFile:
        """The file.  Blocks.  Raises SourceChangedError."""
        return self.opener.file(self.series, self.slide, self.path, self.file)

    def printable(self) -> Mapping[str, bytes]:
        """The extended attributes that have to be read.  Blocks.  Raises SourceError."""
        return self.opener.printable(self.series, self.slide, self.path)


def _changed(path: tuple[str, str, str]) -> SourceChangedError:
    return SourceChangedError(f"the source of {path[2]} has changed")
