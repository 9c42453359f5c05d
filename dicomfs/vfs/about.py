"""`patient.json` and `study.json`: whose slides there are in a folder, and what else there is.

They are named after the query keys of PS3.4 C.6.1.1 and count what this source holds: the series of
slides that are shown, and the series of other kinds that belong to a study with slides.
docs/slide-json.md describes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from dicomfs.catalog.catalogue import OtherSeries
from dicomfs.dicom.uids import sop_class_name
from dicomfs.reading.virtual_file import VirtualFile, literal_file
from dicomfs.vfs.listing import ListedSlide, Weight, json_bytes
from dicomfs.vfs.tree import Entry, Path

PATIENT_SCHEMA = "dicomfs.patient/1"
STUDY_SCHEMA = "dicomfs.study/1"
PATIENT_FILE = "patient.json"
STUDY_FILE = "study.json"

_LISTED_STUDIES = 1000


@dataclass(frozen=True, slots=True)
class StudyContent:
    """What is known of a study.

    slides : each with the name of its files without their endings, at least one
    others : series of other kinds
    """

    slides: tuple[tuple[ListedSlide, str], ...]
    others: tuple[OtherSeries, ...]

    @property
    def first(self) -> ListedSlide:
        """The slide that the study is described after, whatever order they were found in."""
        return min(
            (slide for slide, _ in self.slides),
            key=lambda slide: (slide.study, slide.series_instance_uid, slide.pyramid_uid),
        )

    @property
    def series(self) -> dict[str, ListedSlide]:
        """A slide of each series of slides, by UID."""
        return {slide.series_instance_uid: slide for slide, _ in self.slides}

    @property
    def modalities(self) -> list[str]:
        """(0008,0061)."""
        found = {slide.modality for slide, _ in self.slides} | {one.modality for one in self.others}
        return sorted(found - {""})

    @property
    def sop_classes(self) -> list[str]:
        """(0008,0062)."""
        found = {uid for slide, _ in self.slides for uid in slide.sop_classes.split()}
        return sorted(found | {one.sop_class_uid for one in self.others if one.sop_class_uid})

    @property
    def series_count(self) -> int:
        """(0020,1206)."""
        return len(self.series.keys() | {one.series_instance_uid for one in self.others})

    @property
    def instance_count(self) -> int:
        """(0020,1208)."""
        shown = sum(slide.instances for slide in self.series.values())
        return shown + sum(one.instances for one in self.others)


def study_content(study: StudyContent) -> dict[str, Any]:
    """The content of `study.json`."""
    about = study.first
    stems: dict[str, list[str]] = {}
    for slide, stem in study.slides:
        stems.setdefault(slide.series_instance_uid, []).append(stem)
    shown = [
        _series(uid, slide.modality, slide.sop_classes, slide.instances, stems[uid])
        for uid, slide in study.series.items()
    ]
    others = [
        _series(one.series_instance_uid, one.modality, one.sop_class_uid, one.instances, [])
        for one in study.others
    ]
    return {
        "schema": STUDY_SCHEMA,
        "study_instance_uid": about.study_instance_uid,
        "study_id": about.study_id,
        "study_datetime": about.study_moment or None,
        "study_description": about.study_description,
        "accession_number": about.accession_number,
        "referring_physician_name": about.referring_physician,
        "patient_id": about.patient_id,
        "patient_name": about.patient_name,
        "patient_age": about.patient_age,
        "modalities_in_study": study.modalities,
        "sop_classes_in_study": study.sop_classes,
        "number_of_study_related_series": study.series_count,
        "number_of_study_related_instances": study.instance_count,
        "series": sorted(shown, key=_by_uid) + sorted(others, key=_by_uid),
    }


def _series(
    uid: str, modality: str, sop_classes: str, instances: int, stems: Iterable[str]
) -> dict[str, Any]:
    return {
        "series_instance_uid": uid,
        "modality": modality,
        "sop_class_uids": sop_classes.split(),
        "sop_classes": [sop_class_name(one) for one in sop_classes.split()],
        "number_of_series_related_instances": instances,
        "slides": sorted(stems),
    }


def _by_uid(series: dict[str, Any]) -> tuple[str, list[str]]:
    return series["series_instance_uid"], series["sop_class_uids"]


@dataclass(frozen=True, slots=True)
class StudyCounts:
    """How much there is of a study; folder : the name of its folder."""

    folder: str
    study_instance_uid: str
    series: int
    instances: int


def patient_content(about: ListedSlide, studies: Sequence[StudyCounts]) -> dict[str, Any]:
    """The content of `patient.json`.

    about : the slide that the patient is described after
    """
    listed = sorted(studies, key=lambda study: study.folder)[:_LISTED_STUDIES]
    return {
        "schema": PATIENT_SCHEMA,
        "patient_id": about.patient_id,
        "issuer_of_patient_id": about.patient_id_issuer,
        "patient_name": about.patient_name,
        "patient_birth_date": about.patient_birth_date or None,
        "patient_sex": about.patient_sex,
        "number_of_patient_related_studies": len(studies),
        "number_of_patient_related_series": sum(study.series for study in studies),
        "number_of_patient_related_instances": sum(study.instances for study in studies),
        "studies": [
            {
                "study_instance_uid": study.study_instance_uid,
                "folder": study.folder,
                "number_of_study_related_series": study.series,
                "number_of_study_related_instances": study.instances,
            }
            for study in listed
        ],
    }


class Document:
    """A JSON document that is made again when somebody opens it; see `dicomfs.vfs.nodes.Listed`.

    make : gives its content, the same every time
    size : bytes of the file
    """

    __slots__ = ("_make", "size")

    def __init__(self, make: Callable[[], dict[str, Any]], size: int) -> None:
        self._make = make
        self.size = size

    def fetch(self) -> VirtualFile:
        """The file."""
        return literal_file(json_bytes(self._make()))


def weigh(content: dict[str, Any]) -> Weight:
    """The weight of a document."""
    data = json_bytes(content)
    return Weight(len(data), blake2b(data, digest_size=16).hexdigest())


def entry_of(
    path: Path, mtime_ns: int, make: Callable[[], dict[str, Any]], weight: Weight | None = None
) -> Entry:
    """A document in a tree.

    weight : of what `make` gives, where that is known: to find it out takes longer than all else
    """
    if weight is None:
        weight = weigh(make())
    return Entry(path, Document(make, weight.size), mtime_ns, weight.token)
