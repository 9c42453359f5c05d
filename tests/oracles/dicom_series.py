"""The files of a source grouped into series, levels and associated images, by pydicom alone.

The one job: read the header of every file, keep the Whole Slide Microscopy instances (PS3.3
A.32.8), and group them. Decodes nothing and never imports dicomfs.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataset import Dataset

from tests.oracles.frame_decoders import BIG_ENDIAN, IMPLICIT

WSM_SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
ASSOCIATED_NAMES: Final = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}


@dataclass(frozen=True, slots=True)
class Instance:
    """Header facts of one file. `matrix`: (columns, rows) of the total pixel matrix, in pixels.

    `spacing_mm` is (row spacing, column spacing) as Pixel Spacing (0028,0030) gives them.
    """

    path: Path
    sop_instance_uid: str
    series_uid: str
    flavour: str
    pyramid_uid: str
    matrix: tuple[int, int]
    number: int
    spacing_mm: tuple[float, float] | None
    objective: float | None
    transfer_syntax: str
    tile: tuple[int, int]
    samples: int
    bits: int


@dataclass(frozen=True, slots=True)
class Level:
    """All files of one level; `candidates` has one entry per SOP instance, of all its copies."""

    size: tuple[int, int]
    pyramid_uid: str
    candidates: tuple[tuple[Instance, ...], ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(copies[0].path for copies in self.candidates)


@dataclass(frozen=True, slots=True)
class Series:
    """One WSM series: levels from the greatest down, and its associated images by name."""

    uid: str
    levels: tuple[Level, ...]
    associated: Mapping[str, tuple[Instance, ...]]


def read_dataset(path: Path, *, pixels: bool) -> Dataset:
    """A data set as pydicom has it, without complaints about its values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)


def transfer_syntax_of(dataset: Dataset) -> str:
    """Of the file meta information, else the encoding pydicom found."""
    declared = getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID")
    if declared:
        return str(declared)
    implicit, little = dataset.original_encoding
    if not little:
        return BIG_ENDIAN
    return IMPLICIT if implicit else f"{IMPLICIT}.1"


def first_item(dataset: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence, an empty data set where there is none."""
    items = dataset.get(keyword)
    return items[0] if items else Dataset()


def shared_groups(dataset: Dataset) -> Dataset:
    return first_item(dataset, "SharedFunctionalGroupsSequence")


def matrix_of(dataset: Dataset) -> tuple[int, int]:
    columns, rows = dataset.get("TotalPixelMatrixColumns"), dataset.get("TotalPixelMatrixRows")
    if not columns or not rows:
        return int(dataset.Columns), int(dataset.Rows)
    return int(columns), int(rows)


def read_instance(path: Path) -> Instance | None:
    """The facts of a WSM instance, None for any other file."""
    try:
        dataset = read_dataset(path, pixels=False)
        if str(dataset.get("SOPClassUID")) != WSM_SOP_CLASS:
            return None
        image_type = dataset.get("ImageType") or ["", "", "VOLUME"]
        spacing = first_item(shared_groups(dataset), "PixelMeasuresSequence").get("PixelSpacing")
        power = first_item(dataset, "OpticalPathSequence").get("ObjectiveLensPower")
        return Instance(
            path=path,
            sop_instance_uid=str(dataset.get("SOPInstanceUID")),
            series_uid=str(dataset.get("SeriesInstanceUID")),
            flavour=str(image_type[2]) if len(image_type) > 2 else "VOLUME",
            pyramid_uid=str(dataset.get("PyramidUID") or ""),
            matrix=matrix_of(dataset),
            number=int(dataset.get("InstanceNumber") or 0),
            spacing_mm=(float(spacing[0]), float(spacing[1])) if spacing else None,
            objective=None if power is None else float(power),
            transfer_syntax=transfer_syntax_of(dataset),
            tile=(int(dataset.Columns), int(dataset.Rows)),
            samples=int(dataset.get("SamplesPerPixel") or 1),
            bits=int(dataset.get("BitsAllocated") or 8),
        )
    except Exception:  # a stranger may raise anything, and is none of ours
        return None


def find_series(source: Path) -> dict[str, Series]:
    """All WSM series of the tree below `source`, or of the one file, by Series Instance UID."""
    files = [source]
    if source.is_dir():
        files = [Path(at, name) for at, _, names in sorted(os.walk(source)) for name in names]
    grouped: dict[str, list[Instance]] = {}
    for path in sorted(files):
        instance = read_instance(path)
        if instance is not None:
            grouped.setdefault(instance.series_uid, []).append(instance)
    return {uid: group_series(uid, instances) for uid, instances in grouped.items()}


def group_series(uid: str, instances: Sequence[Instance]) -> Series:
    """By Image Type value 3, and the volumes by pyramid and size of the total pixel matrix."""
    copies: dict[str, list[Instance]] = {}
    for instance in sorted(instances, key=lambda one: (one.number, str(one.path))):
        copies.setdefault(instance.sop_instance_uid, []).append(instance)
    levels: dict[tuple[str, tuple[int, int]], list[tuple[Instance, ...]]] = {}
    associated: dict[str, list[Instance]] = {}
    for same in copies.values():
        first = same[0]
        if first.flavour == "VOLUME":
            levels.setdefault((first.pyramid_uid, first.matrix), []).append(tuple(same))
        elif first.flavour in ASSOCIATED_NAMES:
            associated.setdefault(ASSOCIATED_NAMES[first.flavour], []).extend(same)
    ordered = sorted(levels.items(), key=lambda entry: (entry[0][0], -entry[0][1][0]))
    return Series(
        uid=uid,
        levels=tuple(Level(size, pyramid, tuple(found)) for (pyramid, size), found in ordered),
        associated={name: tuple(found) for name, found in associated.items()},
    )
