"""What a slide shows: its folder and name, and its files.

    <patient>/<study>/<slide>.<suffix>, <slide>.json, <slide>.dicom.json, <slide>.label.jpg …

Follows the DICOM information model (PS3.3 section 7).  Every name ends with digits of a hash of
its UID, so that it stays what it is when a neighbour comes or goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dicomfs.catalog.catalogue import CataloguedSlide
from dicomfs.limits import Limits
from dicomfs.reading.jpeg_file import jpeg_file
from dicomfs.reading.json_file import json_file
from dicomfs.reading.tiff_file import tiff_file
from dicomfs.reading.virtual_file import VirtualFile, literal_file
from dicomfs.slide.model import Slide
from dicomfs.slide.summary import iso_datetime, summarise
from dicomfs.source.protocol import SourceObject
from dicomfs.tiff.flavours import default_flavour, plan_flavour
from dicomfs.tiff.plan import TiffPlan
from dicomfs.tiff.storage import Flavour
from dicomfs.vfs.listing import LONGEST_ENDING, json_bytes
from dicomfs.vfs.names import Wanted
from dicomfs.vfs.options import LayoutOptions


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


def lay_out(
    entry: CataloguedSlide,
    folder: tuple[str, str],
    stem: str,
    options: LayoutOptions,
    limits: Limits,
    uri: Callable[[SourceObject], str],
) -> SlideFiles:
    """Give a slide its files.

    folder : names of its patient and study; stem : the names of its files without their endings
    uri : of a source object, "" for one that is not to be named
    """
    slide = entry.slide
    profile = options.profile
    flavours = [Flavour(one) for one in options.flavours] or [default_flavour(slide)]
    files: dict[str, VirtualFile] = {}
    plans: dict[str, tuple[Flavour, TiffPlan]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for flavour in flavours:
        plan = plan_flavour(
            slide, flavour, decode=options.decode, blank_damaged=options.blank_damaged
        )
        name = stem + flavour.suffix
        plans[name] = (flavour, plan)
        files[name] = tiff_file(plan, entry.objects, limits, clean=profile is not None)
        facts[name] = {"flavour": flavour.value, "size": plan.size}
    for kind in slide.associated:
        name = f"{stem}.{kind}.jpg"
        files[name] = jpeg_file(slide, kind, entry.objects, limits, clean=profile is not None)
        facts[name] = {"flavour": "jpeg", "size": files[name].size}
    name = f"{stem}.dicom.json"
    files[name] = json_file(slide, entry.objects, [uri(obj) for obj in entry.objects], profile)
    facts[name] = {"flavour": "dicom-json", "size": files[name].size}
    first_plan = next(iter(plans.values()))[1]
    summary = summarise(slide, _passes_through(slide, first_plan), facts)
    files[f"{stem}.json"] = literal_file(json_bytes(summary))
    return SlideFiles(entry, folder, files, plans, summary)


def patient_name(entry: CataloguedSlide) -> Wanted:
    """The name of the folder of a slide's patient."""
    patient = entry.slide.description.patient_id
    return Wanted(patient or "unknown patient", patient)


def study_name(entry: CataloguedSlide) -> Wanted:
    """The name of the folder of a slide's study."""
    about = entry.slide.description
    date = iso_datetime(about.study_date) or ""
    text = f"{date} {about.study_description or about.study_id}".strip() or "study"
    return Wanted(text, entry.slide.study_instance_uid)


def file_name(entry: CataloguedSlide, series: str) -> Wanted:
    """The name of a slide's files, with the longest ending that one of them has.

    series : what tells the series from all others
    """
    about = entry.slide.description
    text = about.container_identifier or about.series_description or "slide"
    token = f"{series} {entry.pyramid_uid}" if entry.pyramid_uid else series
    return Wanted(text, token, LONGEST_ENDING)


def _passes_through(slide: Slide, plan: TiffPlan) -> dict[int, bool]:
    """For each level, whether its frames are tiles of the TIFF as they are."""
    by_level = {id(p.level): p.storage.pass_through for p in plan.pictures if not p.stripped}
    return {i: by_level.get(id(level), False) for i, level in enumerate(slide.levels)}
