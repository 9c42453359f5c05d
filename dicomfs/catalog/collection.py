"""What a source holds, as far as it has been looked at: its objects and the series they make.

Series are grouped over the whole source, whatever folders their objects lie in.  Only what has to
be at hand is in memory, a row for each object; the facts are in the index and are fetched when a
series is built.  A change of the source touches the series of the objects that changed, and no
other.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicomfs.catalog.catalogue import CataloguedSlide, OtherSeries, Rejection
from dicomfs.catalog.comparing import Comparison, compare_apart
from dicomfs.catalog.findings import AGAIN, Finding, Inflated, What, stranger_parts
from dicomfs.catalog.objects import Difference, KnownObjects, digest_of
from dicomfs.catalog.parsing import Batch, Place, look_at_all
from dicomfs.catalog.store import Index, Row
from dicomfs.errors import RejectedError, SourceChangedError
from dicomfs.limits import Limits
from dicomfs.source.protocol import Problem, ScannableSource, SourceObject

if TYPE_CHECKING:
    from dicomfs.dicom.confidentiality.pseudonyms import Profile
    from dicomfs.dicom.instance import Instance

log = logging.getLogger(__name__)

_MANY = 2000  # objects that take longer to compare than a process to start

Progress = Callable[[int, int | None], None]
"""Is told how many files were looked at, and of how many where that is known."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a series has become: its slides, and what of it is not shown."""

    slides: tuple[CataloguedSlide, ...]
    rejected: tuple[Rejection, ...]


class Collection:
    """The objects and the series of a source.  One thread changes it; any may ask.

    source, index : as they are; the collection closes neither
    place : where worker processes find the source; None for none
    profile : how objects are de-identified; None for not at all
    """

    def __init__(
        self,
        source: ScannableSource,
        index: Index,
        limits: Limits,
        place: Place | None,
        profile: Profile | None = None,
    ) -> None:
        self.profile = profile
        self.source = source
        self.index = index
        self.problems: tuple[Problem, ...] = ()
        """What could not be listed the last time."""
        self.unlisted: tuple[Rejection, ...] = ()
        """The same, as what is not shown."""
        self._limits = limits
        self._place = place
        self._loading = threading.Lock()
        self._loaded: KnownObjects | None = None
        self._compared: Comparison | None = None
        self._state: bytes | None = None  # of the objects, when they were compared last
        self._in_doubt = False
        self._rejections: dict[str, Rejection] = {}
        self._by_study: dict[str, list[OtherSeries]] | None = None
        self._changed_studies: set[str] = set()
        self._all_studies_changed = False
        self._others_changed = False

    @property
    def _objects(self) -> KnownObjects:
        """The objects that the index knew when somebody first asked for all.  May block."""
        if self._loaded is None:
            with self._loading:
                if self._loaded is None:
                    loaded = KnownObjects(self.index.rows())
                    if self._state is not None and loaded.state() != self._state:
                        self._be_in_doubt()
                    self._loaded = loaded
        return self._loaded

    @property
    def _rows(self) -> dict[str, Row]:
        return self._objects.rows

    # ------------------------------------------------------------ what there is

    @property
    def series(self) -> Iterable[str]:
        """The keys of all series."""
        return self._objects.series.keys()

    def _members(self, series: str) -> list[tuple[str, Row]]:
        """The objects of a series by key, in any order; none of a series that is not known."""
        if self._loaded is None:
            return list(self.index.members(series))
        return self._loaded.members(series)

    def members(self, series: str) -> list[tuple[SourceObject, Row]]:
        """The objects of a series, in the order in which a source lists them."""
        members = sorted(self._members(series), key=lambda member: member[0].split("/"))
        return [(SourceObject(key, row.identity), row) for key, row in members]

    def keys(self, series: str) -> Sequence[str]:
        """The keys of these objects."""
        return [obj.key for obj, _ in self.members(series)]

    def digest(self, series: str) -> bytes | None:
        """Changes with the objects of a series; None where there are none."""
        members = self._members(series)
        return digest_of(members) if members else None

    def counts(self) -> tuple[int, int]:
        """How many objects there are, and how many of them are not DICOM."""
        kinds = self.index.counts() if self._loaded is None else self._loaded.kinds
        return sum(kinds.values()), kinds.get(What.NOT_DICOM, 0)

    def other_series(self) -> tuple[OtherSeries, ...]:
        """The series of other kinds than slides."""
        if self._loaded is None:
            groups = Counter(group for _, group in self.index.kind(What.STRANGER))
        else:
            groups = self._loaded.strangers
        return tuple(
            OtherSeries(*stranger_parts(group), count) for group, count in sorted(groups.items())
        )

    def other_series_of(self, study: str) -> Sequence[OtherSeries]:
        """The series of other kinds than slides of a study, by its UID."""
        by_study = self._by_study
        if by_study is None:
            by_study = {}
            for one in self.other_series():
                by_study.setdefault(one.study_instance_uid, []).append(one)
            self._by_study = by_study
        return by_study.get(study, ())

    @property
    def others_changed(self) -> bool:
        """Whether anything but slides has changed since `take_changed_studies` was called."""
        return self._others_changed

    def take_changed_studies(self) -> Container[str]:
        """UIDs of studies whose other series may have changed since this was last asked."""
        changed, self._changed_studies = self._changed_studies, set()
        everything, self._all_studies_changed = self._all_studies_changed, False
        self._others_changed = False
        return _Everything() if everything else changed

    def _note_other(self, row: Row) -> None:
        """Note that an object has come or gone that is no part of a slide."""
        self._others_changed = True
        if row.what is What.STRANGER:
            self._changed_studies.add(stranger_parts(row.group)[1])
            self._by_study = None

    def rejections(self) -> tuple[Rejection, ...]:
        """The objects that are not shown, and what could not even be listed."""
        if self._loaded is None:
            keys = [key for key, _ in self.index.kind(What.REJECTED)]
        else:
            keys = list(self._loaded.rejected)
        for key in keys:
            if key not in self._rejections:
                self._rejections[key] = self.index.rejection(key) or Rejection(
                    "", "unreadable", "cannot be read", (key,)
                )
        keys.sort(key=lambda key: key.split("/"))
        return (*self.unlisted, *(self._rejections[key] for key in keys))

    # ------------------------------------------------------------ changes

    def check(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Find out what the index is worth, and forget everything where it is damaged.  Blocks."""
        self._compared = self._compare_apart(stopped, check=True)
        if self._compared is None and not stopped() and not self.index.is_sound():
            self.index.renew()
            self._rejections.clear()
            self._loaded = KnownObjects()

    def _compare_apart(self, stopped: Callable[[], bool], *, check: bool) -> Comparison | None:
        """Have another process compare source and index, where there is much to compare.

        None where nothing came of it, or there is nothing to be won: with all objects at hand the
        listing alone is enough.  A process that knows no secret cannot list a source whose names
        are sealed.
        """
        place, path = self._place, self.index.path
        if place is None or path is None or self.profile is not None or self._loaded is not None:
            return None
        if sum(self.index.counts().values()) < _MANY:
            return None
        return compare_apart(place.root, place.exclude, path, check=check, stopped=stopped)

    def digest_of_all(self) -> bytes:
        """Changes with all series and their objects; see `KnownObjects.digest`."""
        return self._objects.digest() if self._compared is None else self._compared.digest

    def difference(self, stopped: Callable[[], bool] = lambda: False) -> Difference:
        """Compare what is known with all that the source lists.  Blocks.

        stopped : whether nobody wants to know any more; then nothing is found to differ

        Raises SourceError where it cannot be listed.
        """
        compared, self._compared = self._compared or self._compare_apart(stopped, check=False), None
        if compared is None and stopped():
            return Difference((), ())
        if compared is not None and self._loaded is None:
            if self._state not in (None, compared.state):
                self._be_in_doubt()
            self._state = compared.state
            self._note_problems(compared.problems)
            return compared.difference
        difference = self._objects.difference(self.source.objects())
        self._note_problems(self.source.problems)
        return difference

    def _be_in_doubt(self) -> None:
        """Note that somebody else has written to the index since it was compared, so that what has
        changed is no news any more."""
        self._in_doubt = self._others_changed = self._all_studies_changed = True
        self._by_study = None
        self._rejections.clear()

    def take_doubt(self) -> bool:
        """Whether series may have changed, since this was last asked, that nothing has told of."""
        doubt, self._in_doubt = self._in_doubt, False
        return doubt

    def difference_below(self, key: str) -> Difference:
        """Compare what is known with what the source lists of an object or folder.  Blocks."""
        return self._objects.difference(self.source.objects(key), key)

    def _note_problems(self, problems: tuple[Problem, ...]) -> None:
        """Take over what the source could not list."""
        unlisted = tuple(
            Rejection("", "not-listed", problem.message, (problem.key,)) for problem in problems
        )
        self._others_changed |= unlisted != self.unlisted
        self.problems, self.unlisted = problems, unlisted

    def remove(self, keys: Iterable[str]) -> set[str]:
        """Forget objects; returns the series that they were part of."""
        keys = [key for key in keys if key in self._rows]
        touched = {series for key in keys if (series := self._take_out(key)) is not None}
        if keys:
            self.index.forget(keys)
            self.index.forget_listings(touched - self._objects.series.keys())
        return touched

    def look_at(
        self, objects: Sequence[SourceObject], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Sequence[SourceObject], set[str]]]:
        """Look at objects; yields those that are done, and the series that they touch."""
        if objects:
            _ = self._objects  # as they were: what they become is written to the index first
        for batch in look_at_all(
            self.source, objects, self._limits, self._place, stopped, self.profile
        ):
            self.index.keep([(_as_kept(obj, finding), finding) for obj, finding in batch])
            yield [obj for obj, _ in batch], self._put_in(batch)

    def _put_in(self, batch: Batch) -> set[str]:
        touched: set[str] = set()
        for obj, finding in batch:
            before = self._take_out(obj.key)
            if before is not None:
                touched.add(before)
            row = Row(obj.identity, finding.what, finding.group, finding.inflated)
            self._objects.put(obj.key, row)
            if finding.what is What.INSTANCE:
                touched.add(finding.group)
            else:
                self._note_other(row)
        return touched

    def _take_out(self, key: str) -> str | None:
        """Take an object out of its series, which is returned."""
        row = self._objects.take(key)
        self._rejections.pop(key, None)
        if row is None:
            return None
        if row.what is What.INSTANCE:
            return row.group
        self._note_other(row)
        return None

    # ------------------------------------------------------------ building

    def build(self, series: str) -> Built:
        """The slides of a series, from the facts of its objects.  Blocks."""
        from dicomfs.slide.build import build_slide, split_pyramids

        members: list[tuple[SourceObject, Instance]] = []
        rejected: list[Rejection] = []
        for obj, row in self.members(series):
            try:
                members.append(self._facts(obj, row))
            except SourceChangedError as error:
                rejected.append(Rejection(series, "unreadable", str(error), (obj.key,)))
        if self.profile is not None:
            members, hidden = _without_identifying(series, members)
            rejected += hidden
        by_instance = {id(instance): obj for obj, instance in members}
        slides: list[CataloguedSlide] = []
        for uid, part in split_pyramids([instance for _, instance in members]):
            objects = tuple(by_instance[id(instance)] for instance in part)
            files = tuple(obj.key for obj in objects)
            try:
                slides.append(CataloguedSlide(build_slide(part), uid, objects))
            except RejectedError as error:
                rejected.append(Rejection(series, error.code, str(error), files))
            except Exception:
                log.exception("series %s made the builder fail", series)
                rejected.append(Rejection(series, "internal", "could not be put together", files))
        return Built(tuple(slides), tuple(rejected))

    def _facts(self, obj: SourceObject, row: Row) -> tuple[SourceObject, Instance]:
        """The facts of an instance, looked for again where the index has lost them."""
        plain = self._readable(obj, row.inflated)
        instance = self.index.instance(obj.key, plain.identity.size)
        if instance is not None:
            return plain, instance
        from dicomfs.catalog.looking import look_at
        from dicomfs.catalog.records import instance_of

        finding = look_at(self.source, obj, self._limits, self.profile)
        if finding.what is not What.INSTANCE or finding.group != row.group:
            raise SourceChangedError("is another object than when it was looked at first")
        self.index.keep([(obj, finding)])
        shared = dict(finding.shared)
        plain = self._readable(obj, finding.inflated)
        return plain, instance_of(finding.record, shared.get, plain.identity.size)

    def _readable(self, obj: SourceObject, inflated: Inflated | None) -> SourceObject:
        """The object whose bytes the facts are about.  Blocks where it has to be inflated again."""
        if inflated is None:
            return obj
        return self.source.inflated(obj, inflated.start, inflated.size)


class _Everything(Container[str]):
    """Holds any text."""

    def __contains__(self, item: object) -> bool:
        return True


def _as_kept(obj: SourceObject, finding: Finding) -> SourceObject:
    """The object as the index is to know it: as another version where it is to be looked at again
    by whoever opens the index next."""
    if finding.what is not What.REJECTED or finding.group != AGAIN:
        return obj
    return SourceObject(obj.key, replace(obj.identity, mtime_ns=-1))


def _without_identifying(
    series: str, members: list[tuple[SourceObject, Instance]]
) -> tuple[list[tuple[SourceObject, Instance]], list[Rejection]]:
    """The members of a series that a de-identified mount may show, and why not the others.

    They come in the order of their UIDs, which is the same wherever their files lie.
    """
    from dicomfs.slide.identifying import leave_out

    by_instance = {id(instance): obj for obj, instance in members}
    kept, gone = leave_out([instance for _, instance in members])
    kept.sort(key=lambda instance: instance.header.sop_instance_uid)
    rejected = [
        Rejection(series, error.code, str(error), (by_instance[id(instance)].key,))
        for instance, error in gone
    ]
    return [(by_instance[id(instance)], instance) for instance in kept], rejected
