"""Scan a source: read every object's header, group by series, build the slides.

One bad file never harms its neighbours: whatever goes wrong with it becomes a rejection.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dicomfs.catalog.catalogue import Catalogue, CataloguedSlide, OtherSeries, Rejection
from dicomfs.dicom.instance import Instance, Stranger
from dicomfs.dicom.read import read_instance
from dicomfs.errors import DeflatedDataSetError, DicomfsError, Fault, NotDicomError, RejectedError
from dicomfs.limits import Limits
from dicomfs.slide.build import build_slide, split_pyramids
from dicomfs.source.protocol import ScannableSource, SourceObject

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Is told how many files were looked at, and of how many where that is known."""

_READERS = 4  # threads: headers are read from media that answer several requests at once


@dataclass(frozen=True, slots=True)
class _Found:
    """What one object turned out to be."""

    obj: SourceObject
    facts: Instance | Stranger | Rejection | None


def scan(source: ScannableSource, limits: Limits, progress: Progress | None = None) -> Catalogue:
    """Scan a source.  Blocks.

    Raises SourceError where the source as a whole cannot be listed.
    """
    objects = list(source.objects())
    found: list[_Found] = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="scan") as pool:
        for one in pool.map(lambda obj: _look_at(source, obj, limits), objects):
            found.append(one)
            if progress is not None:
                progress(len(found), len(objects))
    unlisted = [
        Rejection("", "not-listed", problem.message, (problem.key,)) for problem in source.problems
    ]
    return catalogue(found, unlisted)


def _look_at(source: ScannableSource, obj: SourceObject, limits: Limits) -> _Found:
    try:
        try:
            return _Found(obj, source.run(obj, read_instance(obj.identity.size, limits)))
        except DeflatedDataSetError as error:
            plain = source.inflated(obj, error.offset, error.inflated_size)
            steps = read_instance(plain.identity.size, limits, inflated=True)
            return _Found(plain, source.run(plain, steps))
    except NotDicomError:
        return _Found(obj, None)
    except RejectedError as error:
        return _Found(obj, Rejection("", error.code, str(error), (obj.key,)))
    except DicomfsError as error:
        code = "unreadable" if error.fault is Fault.SOURCE else "internal"
        return _Found(obj, Rejection("", code, str(error), (obj.key,)))
    except Exception:
        log.exception("%s made the parser fail", obj.key)
        return _Found(obj, Rejection("", "internal", "could not be parsed", (obj.key,)))


def catalogue(found: Sequence[_Found], unlisted: Sequence[Rejection]) -> Catalogue:
    """Group what was found by series, over the whole source, and build the slides.

    unlisted : what could not even be looked at
    """
    series: dict[str, list[tuple[SourceObject, Instance]]] = {}
    rejected = list(unlisted)
    strangers: Counter[tuple[str, str, str, str]] = Counter()
    not_dicom = 0
    for one in found:
        if isinstance(one.facts, Instance):
            # Files without a Series Instance UID belong together where they lie together.
            folder = one.obj.key.rpartition("/")[0]
            uid = one.facts.header.series_instance_uid or f"folder {folder}"
            series.setdefault(uid, []).append((one.obj, one.facts))
        elif isinstance(one.facts, Stranger):
            header = one.facts.header
            key = (header.series_instance_uid, header.study_instance_uid)
            strangers[(*key, header.modality, header.sop_class_uid)] += 1
        elif one.facts is None:
            not_dicom += 1
        else:
            rejected.append(one.facts)
    slides: list[CataloguedSlide] = []
    for uid, members in series.items():
        for pyramid_uid, part in _pyramids(members):
            try:
                slide = build_slide([instance for _, instance in part])
                objects = tuple(obj for obj, _ in part)
                slides.append(CataloguedSlide(slide, pyramid_uid, objects))
            except RejectedError as error:
                files = tuple(obj.key for obj, _ in part)
                rejected.append(Rejection(uid, error.code, str(error), files))
            except Exception:
                log.exception("series %s made the builder fail", uid)
                files = tuple(obj.key for obj, _ in part)
                rejected.append(Rejection(uid, "internal", "could not be put together", files))
    others = tuple(OtherSeries(*key, count) for key, count in strangers.items())
    return Catalogue(tuple(slides), tuple(rejected), others, len(found), not_dicom)


def _pyramids(
    members: Sequence[tuple[SourceObject, Instance]],
) -> Iterable[tuple[str, list[tuple[SourceObject, Instance]]]]:
    by_identity = {id(instance): obj for obj, instance in members}
    for uid, pyramid in split_pyramids([instance for _, instance in members]):
        yield uid, [(by_identity[id(instance)], instance) for instance in pyramid]
