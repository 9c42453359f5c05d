"""Writes a source of very many slides together with its index, as if it had been looked through.

The one job: what a mount remembers of a source, at any size and in seconds. One slide is written
and indexed; the index of all others is made of its. Their files are empty, which nobody notices as
long as they are listed and not opened.
"""

import contextlib
import dataclasses
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.slides import write_archive
from dicomfs.archive import open_archive
from dicomfs.catalog.collection import Collection
from dicomfs.catalog.findings import Finding, What
from dicomfs.catalog.store import Index, open_index
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.source.directory import local_source
from dicomfs.source.local import LocalDirectory
from dicomfs.source.protocol import SourceObject
from dicomfs.vfs.folders import listed
from dicomfs.vfs.listing import ListedSlide, head_of, listing_of, record_of

STUDIES: Final = 20
"""Of each patient, with one series each."""

_AT_ONCE: Final = 2000  # series in one transaction


@dataclasses.dataclass(frozen=True, slots=True)
class _Pattern:
    """What the index has of the one slide that there is. record: the facts of an instance."""

    record: bytes
    slide: ListedSlide
    options: str


def write_catalogue(source: Path, index: Path, series: int, instances: int) -> int:
    """Write a source of that many series, of that many instances each, and its index.

    Returns how many files and folders a mount shows, besides the one slide that there is and what
    tells of the mount itself.
    """
    write_archive(source, 1)
    with contextlib.closing(open_archive(source, index=index)):
        pass
    pattern = _pattern(index)
    _write_files(source, series, instances)
    with contextlib.closing(open_index(index, ours=False)) as opened:
        objects = _by_folder(source)
        while batch := list(itertools.islice(objects, _AT_ONCE)):
            opened.keep(
                [
                    (obj, Finding(What.INSTANCE, f"2.25.{number}", pattern.record))
                    for number, those in batch
                    for obj in those
                ]
            )
        _keep_listings(source, opened, pattern, series)
    documents = 1  # study.json, patient.json
    of_study = len(pattern.slide.files) + documents + 1
    return series * of_study + (series // STUDIES + 1) * (documents + 1)


def _pattern(index: Path) -> _Pattern:
    with contextlib.closing(sqlite3.connect(index)) as connection:
        (record,) = connection.execute("SELECT record FROM facts LIMIT 1").fetchone()
        options, listing = connection.execute("SELECT options, record FROM listings").fetchone()
    assert head_of(listing).slides
    (slide,) = listing_of(listing).slides
    return _Pattern(record, slide, options)


def _write_files(source: Path, series: int, instances: int) -> None:
    for number in range(1, series + 1):
        folder = source / f"{number // 1000:03d}" / f"{number:06d}"
        folder.mkdir(parents=True)
        for instance in range(instances):
            (folder / f"{instance}.dcm").touch()


def _by_folder(source: Path) -> Iterator[tuple[int, list[SourceObject]]]:
    objects = (
        obj for obj in LocalDirectory(source, DEFAULT_LIMITS).objects() if obj.identity.size == 0
    )
    for folder, those in itertools.groupby(objects, lambda obj: obj.key.rpartition("/")[0]):
        yield int(folder.rpartition("/")[2]), list(those)


def _keep_listings(source: Path, index: Index, pattern: _Pattern, series: int) -> None:
    local = local_source(source, source / "no cache", DEFAULT_LIMITS)
    collection = Collection(local, index, DEFAULT_LIMITS, None)
    for first in range(1, series + 1, _AT_ONCE):
        rows = []
        for number in range(first, min(first + _AT_ONCE, series + 1)):
            name = f"2.25.{number}"
            patient = f"P{number // STUDIES:06d}"
            slide = pattern.slide._replace(
                series_instance_uid=name,
                study_instance_uid=f"{name}.1",
                patient_id=patient,
                patient=f"{patient}-{number // STUDIES:08x}",
                study=f"2026-11-{1 + number % 28:02d} A study-{number:08x}",
                stem=f"S{number:06d}-{number:08x}",
                version=f"{number:032x}",
            )
            digest = collection.digest(name)
            assert digest is not None
            rows.append((name, digest, record_of(listed(name, [slide], []))))
        index.keep_listings(pattern.options, rows)
