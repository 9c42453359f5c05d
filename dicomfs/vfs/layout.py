"""What a mount shows: patients, studies, slides, and the files of each slide.

    <patient>/<study>/<slide>.<suffix>, <slide>.json, <slide>.label.jpg …
    .dicomfs/status.json, .dicomfs/rejected.json

Follows the DICOM information model (PS3.3 section 7).  Every name ends with digits of a hash of
its UID, so that it stays what it is when a neighbour comes or goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from dicomfs.catalog.catalogue import Catalogue, CataloguedSlide
from dicomfs.extents import literal_table
from dicomfs.limits import Limits
from dicomfs.reading.jpeg_file import jpeg_file
from dicomfs.reading.tiff_file import tiff_file
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.slide.model import Slide
from dicomfs.slide.summary import iso_datetime, summarise
from dicomfs.tiff.flavours import default_flavour, plan_flavour
from dicomfs.tiff.plan import TiffPlan
from dicomfs.tiff.storage import Flavour
from dicomfs.vfs import names
from dicomfs.vfs.names import Wanted
from dicomfs.vfs.tree import Entry, Tree, build

_LONGEST_ENDING = ".thumbnail.jpg"
_LAYOUT_VERSION = "1"  # goes into inode numbers: other bytes of the same source are another file


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """What a user can choose.

    flavours : for every slide; empty for the one that fits it best
    decode : store all tiles decoded, for readers that lack a codec
    blank_damaged : show missing frames blank; without, reading them is an error
    """

    flavours: tuple[Flavour, ...] = ()
    decode: bool = False
    blank_damaged: bool = False


@dataclass(frozen=True, slots=True)
class SlideFiles:
    """The files of one slide.

    folder : names of its patient and study; files : by name
    plans : the TIFFs among them, by name
    """

    entry: CataloguedSlide
    folder: tuple[str, str]
    files: dict[str, VirtualFile]
    plans: dict[str, tuple[Flavour, TiffPlan]]
    summary: dict[str, Any]


def lay_out(catalogue: Catalogue, options: LayoutOptions, limits: Limits) -> list[SlideFiles]:
    """Give every slide its folder, its name and its files, in the order of the catalogue."""
    slides = catalogue.slides
    patients = _named({_patient_key(entry): _patient_text(entry) for entry in slides})
    studies = _named({_study_key(entry): _study_text(entry) for entry in slides})
    stems = _stems(slides)
    return [
        _slide_files(
            entry,
            (patients[_patient_key(entry)], studies[_study_key(entry)]),
            stem,
            options,
            limits,
        )
        for entry, stem in zip(slides, stems, strict=True)
    ]


def make_tree(catalogue: Catalogue, laid_out: Iterable[SlideFiles], about: dict[str, Any]) -> Tree:
    """The directory tree of a mount.

    about : what `.dicomfs/status.json` says besides the numbers of the catalogue
    """
    entries: list[Entry] = []
    newest = 0
    for slide in laid_out:
        mtime_ns = slide.entry.mtime_ns
        newest = max(newest, mtime_ns)
        for name, content in slide.files.items():
            attributes = _attributes(slide, name)
            token = _token(slide, name)
            entries.append(Entry((*slide.folder, name), content, mtime_ns, token, attributes))
    status = about | {
        "files": catalogue.files,
        "slides": len(catalogue.slides),
        "rejected": len(catalogue.rejected),
        "other_series": len(catalogue.other_series),
        "not_dicom": catalogue.not_dicom,
    }
    for name, data in (
        ("status.json", _json(status)),
        ("rejected.json", _json(_rejected(catalogue))),
    ):
        digest = blake2b(data, digest_size=16).hexdigest()
        file = VirtualFile(literal_table(data), (), None)
        entries.append(Entry((".dicomfs", name), file, newest, digest))
    return build(entries, newest)


def _slide_files(
    entry: CataloguedSlide,
    folder: tuple[str, str],
    stem: str,
    options: LayoutOptions,
    limits: Limits,
) -> SlideFiles:
    slide = entry.slide
    flavours = options.flavours or (default_flavour(slide),)
    files: dict[str, VirtualFile] = {}
    plans: dict[str, tuple[Flavour, TiffPlan]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for flavour in flavours:
        plan = plan_flavour(
            slide, flavour, decode=options.decode, blank_damaged=options.blank_damaged
        )
        name = stem + flavour.suffix
        plans[name] = (flavour, plan)
        files[name] = tiff_file(plan, entry.objects, limits)
        facts[name] = {"flavour": flavour.value, "size": plan.size}
    for kind in slide.associated:
        name = f"{stem}.{kind}.jpg"
        files[name] = jpeg_file(slide, kind, entry.objects, limits)
        facts[name] = {"flavour": "jpeg", "size": files[name].size}
    first_plan = next(iter(plans.values()))[1]
    summary = summarise(slide, _passes_through(slide, first_plan), facts)
    files[f"{stem}.json"] = VirtualFile(literal_table(_json(summary)), (), None)
    return SlideFiles(entry, folder, files, plans, summary)


def _passes_through(slide: Slide, plan: TiffPlan) -> dict[int, bool]:
    """For each level, whether its frames are tiles of the TIFF as they are."""
    by_level = {id(p.level): p.storage.pass_through for p in plan.pictures if not p.stripped}
    return {i: by_level.get(id(level), False) for i, level in enumerate(slide.levels)}


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"


def _rejected(catalogue: Catalogue) -> list[dict[str, Any]]:
    return [
        {
            "series_instance_uid": one.series_instance_uid,
            "code": one.code,
            "message": one.message,
            "files": [name.encode("utf-8", "backslashreplace").decode() for name in one.files],
        }
        for one in catalogue.rejected
    ]


def _token(slide: SlideFiles, name: str) -> str:
    """What identifies the bytes of a file: the files they come from, and how they are laid out."""
    sources = [f"{obj.key}\0{obj.identity}" for obj in slide.entry.objects]
    parts = [_LAYOUT_VERSION, slide.entry.slide.series_instance_uid, slide.entry.pyramid_uid]
    if name in slide.plans:
        parts.append(str(slide.plans[name][1].size))
    text = "\0".join([*parts, *sources])
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _attributes(slide: SlideFiles, name: str) -> dict[str, bytes]:
    about = slide.entry.slide.description
    values = {
        "user.dicom.PatientID": about.patient_id,
        "user.dicom.AccessionNumber": about.accession_number,
        "user.dicom.ContainerIdentifier": about.container_identifier,
        "user.dicom.StudyInstanceUID": slide.entry.slide.study_instance_uid,
        "user.dicom.SeriesInstanceUID": slide.entry.slide.series_instance_uid,
        "user.dicomfs.series_instance_uid": slide.entry.slide.series_instance_uid,
        "user.dicomfs.warnings": " ".join(note.code for note in slide.entry.slide.notes),
    }
    if name in slide.plans:
        values["user.dicomfs.flavour"] = slide.plans[name][0].value
    return {key: value.encode("utf-8", "replace") for key, value in values.items() if value}


def _patient_key(entry: CataloguedSlide) -> str:
    return entry.slide.description.patient_id


def _patient_text(entry: CataloguedSlide) -> str:
    return entry.slide.description.patient_id or "unknown patient"


def _study_key(entry: CataloguedSlide) -> str:
    return entry.slide.study_instance_uid


def _study_text(entry: CataloguedSlide) -> str:
    about = entry.slide.description
    date = iso_datetime(about.study_date) or ""
    return f"{date} {about.study_description or about.study_id}".strip() or "study"


def _named(texts: dict[str, str]) -> dict[str, str]:
    """Unique names for texts by key; the key is what the name's digits come from."""
    wanted = [Wanted(text, key) for key, text in texts.items()]
    return dict(zip(texts, names.unique(wanted), strict=True))


def _stems(slides: Sequence[CataloguedSlide]) -> list[str]:
    """The names of the slides' files without their endings."""
    wanted = []
    for entry in slides:
        about = entry.slide.description
        text = about.container_identifier or about.series_description or "slide"
        token = entry.slide.series_instance_uid
        if entry.pyramid_uid:
            token += f" {entry.pyramid_uid}"
        wanted.append(Wanted(text, token, _LONGEST_ENDING))
    return [name.removesuffix(_LONGEST_ENDING) for name in names.unique(wanted)]
