"""Puts a slide together from the facts of its instances: to list it, and when it is opened.

A few slides are kept put together; one whose files are in use is the same object for everybody.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from dicomfs.catalog.catalogue import CataloguedSlide, Rejection
from dicomfs.catalog.collection import Collection
from dicomfs.errors import SourceChangedError
from dicomfs.limits import Limits
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.source.protocol import SourceObject
from dicomfs.vfs.listing import ListedFile, ListedSeries, ListedSlide, version_of
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
    for entry in built.slides:
        try:
            slides.append(_listed(entry, series, options, limits, collection.source.uri))
        except Exception:
            log.exception("series %s cannot be laid out", series)
            keys = tuple(obj.key for obj in entry.objects)
            rejected.append(Rejection(series, "internal", "could not be laid out", keys))
    return ListedSeries(tuple(slides), tuple(rejected))


def _listed(
    entry: CataloguedSlide,
    series: str,
    options: LayoutOptions,
    limits: Limits,
    uri: Callable[[SourceObject], str],
) -> ListedSlide:
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
        accession_number=about.accession_number,
        container_identifier=about.container_identifier,
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
        self._in_use: WeakValueDictionary[tuple[_Key, str], VirtualFile] = WeakValueDictionary()

    def slide(self, series: str, slide: ListedSlide, path: tuple[str, str, str]) -> SlideFiles:
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
        self, series: str, slide: ListedSlide, path: tuple[str, str, str], file: ListedFile
    ) -> VirtualFile:
        """A file of a slide.  Blocks.  Raises SourceChangedError."""
        key = (slide.version, slide.pyramid_uid, path[2])
        with self._lock:
            content = self._in_use.get((key, file.ending))
            if content is not None:
                return content
            files = self._kept.get(key)
            if files is None:
                files = self._kept[key] = self.slide(series, slide, path)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            content = files.files.get(path[2] + file.ending)
            if content is None or content.size != file.size:
                raise _changed(path)
            self._in_use[(key, file.ending)] = content
            return content


@dataclass(frozen=True, slots=True, eq=False)
class HeldFile:
    """What stands for a file of a slide in a tree; see `dicomfs.vfs.nodes.Listed`."""

    opener: Opener
    series: str
    slide: ListedSlide
    path: tuple[str, str, str]
    file: ListedFile

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.file.size

    def fetch(self) -> VirtualFile:
        """The file.  Blocks.  Raises SourceChangedError."""
        return self.opener.file(self.series, self.slide, self.path, self.file)


def _changed(path: tuple[str, str, str]) -> SourceChangedError:
    return SourceChangedError(f"the source of {path[2]} has changed")
