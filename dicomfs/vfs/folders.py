"""The folders of a mount: one for each patient, in it one for each study, in that its slides.

Knows of each series the head of its listing, and makes what is in a folder when somebody looks into
it.  Follows the DICOM information model (PS3.3 section 7).  Must not know what files a slide has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dicomfs.catalog.catalogue import OtherSeries, Rejection
from dicomfs.catalog.codec import RecordError
from dicomfs.vfs import names
from dicomfs.vfs.about import (
    PATIENT_FILE,
    STUDY_FILE,
    StudyContent,
    StudyCounts,
    entry_of,
    patient_content,
    study_content,
    weigh,
)
from dicomfs.vfs.listing import (
    LONGEST_ENDING,
    Head,
    ListedSeries,
    ListedSlide,
    ShownSeries,
    ShownSlide,
    Weight,
    Whereabouts,
    listing_of,
    shown_of,
)
from dicomfs.vfs.names import Wanted
from dicomfs.vfs.tree import Entry, Folder, Leaf, Path

log = logging.getLogger(__name__)

Study = tuple[str, str]
"""What tells a study from others: Patient ID, Study Instance UID."""

SlidePath = tuple[str, str, str]
"""Names of patient, study, and of the files of a slide without their endings."""

SlideEntries = Callable[[str, ShownSlide, SlidePath], Iterable[Entry]]
"""Makes the files of a slide, of a series."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of a series: the record of its listing, of which the head was read.

    digest : of the objects that the listing was made of
    """

    digest: bytes
    record: bytes
    head: Head

    @property
    def studies(self) -> set[Study]:
        """The studies that its slides are of; one, where the data sets make sense."""
        return {(slide.patient_id, slide.study_instance_uid) for slide in self.head.slides}

    def shown(self) -> ShownSeries:
        """Of the listing, what its files are shown by."""
        try:
            return shown_of(self.record)
        except RecordError as error:  # its checksum was right
            log.error("%s", error)
            return ShownSeries((), None)

    def listing(self) -> ListedSeries:
        """All of the listing."""
        try:
            return listing_of(self.record)
        except RecordError as error:
            log.error("%s", error)
            return ListedSeries((), ())


class Folders:
    """The folders of the series that it is given.  Not for two threads at once.

    entries : makes the files of a slide
    others : gives the series of other kinds of a study, by its UID; None for folders without
        `patient.json` and `study.json`
    """

    def __init__(
        self,
        entries: SlideEntries,
        others: Callable[[str], Sequence[OtherSeries]] | None = None,
    ) -> None:
        self._entries = entries
        self._others = others
        self._held: dict[str, Held] = {}
        self._studies: dict[Study, list[str]] = {}  # their series
        self._patients: dict[str, dict[Study, None]] = {}  # their studies
        self._names: dict[str, str] = {}  # of patients, as long as they are not confused
        self._sharing: dict[str, list[str]] = {}  # patients of the same name, by its key
        self._folders: dict[Study, Folder] = {}  # that were made so far

    @property
    def held(self) -> Mapping[str, Held]:
        """What is held of each series."""
        return self._held

    def places(self) -> Iterator[tuple[str, ShownSlide, SlidePath]]:
        """All slides with their series."""
        for patient in self._patients:
            for study, name in self._study_names(patient).items():
                for series, slide, stem in self._slides(study):
                    yield series, slide, (self._patient_name(patient), name, stem)

    # ------------------------------------------------------------ changes

    def change(
        self, series: Mapping[str, Held | None], others: Container[str] = ()
    ) -> tuple[list[Path], list[Folder]]:
        """Hold something else of some series; None for nothing.

        others : UIDs of studies whose series of other kinds have changed

        Returns paths of folders that are gone, and the folders of patients that are to be shown in
        the place of what was there.
        """
        touched: set[str] = set()
        for study in [study for study in self._studies if study[1] in others]:
            self._folders.pop(study, None)
            touched.add(study[0])
        for one, held in series.items():
            before = self._held.pop(one, None)
            if before is not None:
                touched |= self._take_out(one, before)
            if held is not None:
                self._held[one] = held
                touched |= self._put_in(one, held)
        gone = self._name_patients(touched)
        return gone, [self._patient(one) for one in sorted(touched & self._patients.keys())]

    def _put_in(self, series: str, held: Held) -> set[str]:
        """Returns the patients."""
        studies = held.studies
        for study in studies:
            self._folders.pop(study, None)
            self._studies.setdefault(study, []).append(series)
            self._patients.setdefault(study[0], {})[study] = None
        return {patient for patient, _ in studies}

    def _take_out(self, series: str, held: Held) -> set[str]:
        """Returns the patients."""
        studies = held.studies
        for study in studies:
            self._folders.pop(study, None)
            self._studies[study].remove(series)
            if not self._studies[study]:
                patient, _ = study
                del self._studies[study], self._patients[patient][study]
                if not self._patients[patient]:
                    del self._patients[patient]
        return {patient for patient, _ in studies}

    def _name_patients(self, touched: set[str]) -> list[Path]:
        """Name patients that come, and forget those that go; returns the paths that are gone.

        Adds to `touched` the patients whose names change by that.
        """
        before: dict[str, str] = {}
        for patient in [
            one for one in touched if (one in self._names) is not (one in self._patients)
        ]:
            known = patient in self._names
            name = self._names[patient] if known else self._wanted_name(patient)
            sharing = self._sharing.setdefault(names.key(name), [])
            for one in sharing:
                before.setdefault(one, self._patient_name(one))
            if known:
                sharing.remove(patient)
                del self._names[patient]
                if not sharing:
                    del self._sharing[names.key(name)]
            else:
                sharing.append(patient)
                self._names[patient] = name
        touched |= before.keys()
        return [
            (name,)
            for patient, name in before.items()
            if patient not in self._names or self._patient_name(patient) != name
        ]

    # ------------------------------------------------------------ patients

    def _wanted_name(self, patient: str) -> str:
        study = next(iter(self._patients[patient]))
        return next(self._whereabouts(study)).patient

    def _patient_name(self, patient: str) -> str:
        name = self._names[patient]
        if len(self._sharing[names.key(name)]) == 1:
            return name
        return names.longest(Wanted(name, patient))

    def _patient(self, patient: str) -> Folder:
        studies = self._patients[patient]
        slides = [slide for study in studies for slide in self._whereabouts(study)]
        return Folder(
            (self._patient_name(patient),),
            max(slide.mtime_ns for slide in slides),
            len(studies),
            1
            + len(studies)
            + sum(slide.files for slide in slides)
            + self._documents * (1 + len(studies)),
            sum(slide.size for slide in slides),
            lambda: self._patient_leaves(patient),
        )

    @property
    def _documents(self) -> int:
        """How many JSON files tell of the folder that they are in."""
        return 0 if self._others is None else 1

    def _patient_leaves(self, patient: str) -> Iterator[Leaf]:
        """What is in the folder of a patient."""
        folders = self._study_folders(patient)
        yield from folders
        if self._others is None or not folders:
            return
        counts = [
            self._counts(study, folder.path[1])
            for study, folder in zip(self._patients[patient], folders, strict=True)
        ]
        first = min(zip(folders, self._patients[patient], strict=True), key=_by_name)[1]
        held = self._held[min(self._studies[first])]
        path = (folders[0].path[0], PATIENT_FILE)
        newest = max(folder.mtime_ns for folder in folders)

        def content() -> dict[str, Any]:
            slides = held.listing().slides
            return patient_content(next(filter(_of(first), slides)), counts)

        yield entry_of(path, newest, content)

    def _counts(self, study: Study, folder: str) -> StudyCounts:
        """How much there is of a study: what the heads of its listings tell."""
        series = self._studies[study]
        slides = [next(filter(_of(study), self._held[one].head.slides)) for one in series]
        others = () if self._others is None else self._others(study[1])
        return StudyCounts(
            folder,
            study[1],
            len(series) + len({one.series_instance_uid for one in others}),
            sum(slide.instances for slide in slides) + sum(one.instances for one in others),
        )

    # ------------------------------------------------------------ studies

    def _whereabouts(self, study: Study) -> Iterator[Whereabouts]:
        for series in self._studies[study]:
            for slide in self._held[series].head.slides:
                if (slide.patient_id, slide.study_instance_uid) == study:
                    yield slide

    def _study_names(self, patient: str) -> dict[Study, str]:
        """The names of the folders of a patient's studies.

        The series of a study may describe it differently; the text that sorts first counts.
        """
        studies = list(self._patients.get(patient, ()))
        wanted = [min(slide.study for slide in self._whereabouts(study)) for study in studies]
        tokens = [Wanted(name, study[1]) for name, study in zip(wanted, studies, strict=True)]
        return dict(zip(studies, names.told_apart(wanted, tokens), strict=True))

    def _study_folders(self, patient: str) -> list[Folder]:
        """The folders of a patient's studies; a study has the same folder until it changes."""
        for study, name in self._study_names(patient).items():
            path = (self._patient_name(patient), name)
            known = self._folders.get(study)
            if known is None or known.path != path:
                self._folders[study] = self._study(study, path)
        return [self._folders[study] for study in self._patients.get(patient, ())]

    def _study(self, study: Study, path: tuple[str, str]) -> Folder:
        slides = list(self._whereabouts(study))
        return Folder(
            path,
            max(slide.mtime_ns for slide in slides),
            0,
            1 + sum(slide.files for slide in slides) + self._documents,
            sum(slide.size for slide in slides),
            lambda: self._study_entries(study, path),
        )

    def _study_entries(self, study: Study, path: tuple[str, str]) -> Iterator[Entry]:
        """What is in the folder of a study."""
        known = self._known(study)
        slides = known.slides()
        for series, slide, stem in slides:
            yield from self._entries(series, slide, (*path, stem))
        if self._others is not None and slides:
            newest = max(slide.mtime_ns for _, slide, _ in slides)
            document = (*path, STUDY_FILE)
            yield entry_of(document, newest, lambda: study_content(known.content()), known.weight())

    def _slides(self, study: Study) -> list[tuple[str, ShownSlide, str]]:
        """The slides of a study: their series, and the names of their files without endings."""
        return self._known(study).slides()

    def _known(self, study: Study) -> _KnownStudy:
        """What is known of a study now."""
        members = tuple((series, self._held[series]) for series in self._studies.get(study, ()))
        others = () if self._others is None else tuple(self._others(study[1]))
        return _KnownStudy(study, members, others)


def _by_name(found: tuple[Folder, Study]) -> Path:
    return found[0].path


def _of(study: Study) -> Callable[[ListedSlide | ShownSlide | Whereabouts], bool]:
    """Tells whether a slide is of a study."""
    return lambda slide: (slide.patient_id, slide.study_instance_uid) == study


class _KnownStudy(NamedTuple):
    """A study as it was at some moment.

    members : its series by key, with what was held of them
    """

    study: Study
    members: tuple[tuple[str, Held], ...]
    others: tuple[OtherSeries, ...]

    def content(self) -> StudyContent:
        """All that is known of it."""
        told = [
            slide
            for _, held in self.members
            for slide in filter(_of(self.study), held.listing().slides)
        ]
        stems = [stem for _, _, stem in self.slides()]
        return StudyContent(tuple(zip(told, stems, strict=True)), self.others)

    def slides(self) -> list[tuple[str, ShownSlide, str]]:
        """The slides: their series, and the names of their files without endings."""
        found = [
            (series, slide)
            for series, held in self.members
            for slide in filter(_of(self.study), held.shown().slides)
        ]
        if len(found) == 1:  # as in most studies: there is nothing to confuse it with
            return [(*found[0], found[0][1].stem)]
        return [(*one, stem) for one, stem in zip(found, _stems(found), strict=True)]

    def weight(self) -> Weight | None:
        """The weight of its document, where the listing of its only series tells."""
        if len(self.members) > 1 or self.others:
            return None
        ((_, held),) = self.members
        return held.shown().study


def _stems(slides: Sequence[tuple[str, ListedSlide | ShownSlide]]) -> list[str]:
    """The names of the files of all slides of a study, without endings; each with its series."""
    tokens = [
        Wanted(slide.stem, f"{series} {slide.pyramid_uid}", LONGEST_ENDING)
        for series, slide in slides
    ]
    return names.told_apart([slide.stem for _, slide in slides], tokens)


def listed(
    series: str, slides: Sequence[ListedSlide], rejected: Sequence[Rejection]
) -> ListedSeries:
    """The listing of a series, with what its study shows as long as there is nothing else of it."""
    studies = {(slide.patient_id, slide.study_instance_uid) for slide in slides}
    weight = None
    if len(studies) == 1:
        stems = _stems([(series, slide) for slide in slides])
        content = StudyContent(tuple(zip(slides, stems, strict=True)), ())
        weight = weigh(study_content(content))
    return ListedSeries(tuple(slides), tuple(rejected), weight)
