"""Instances of written series, and how to make others of them.

The one job: from the files of the fixture factory to what `dicomfs.slide` is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dicomfs.dicom.header import Header
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.read import read_instance
from dicomfs.slide.build import build_slide
from dicomfs.slide.model import Note, Slide
from tests.dicom.objects import drive
from tests.fixtures.series import Series, SeriesSpec
from tests.fixtures.wsm import write_series

SMALL: dict[str, Any] = {"width": 300, "height": 200, "downsamples": (1, 2), "codec": "native-rgb8"}


def instances_of(series: Series) -> list[Instance]:
    """The instances of all files of a series, in their order."""
    found = []
    for path in series.paths:
        data = path.read_bytes()
        instance = drive(read_instance(len(data)), data)
        assert isinstance(instance, Instance)
        found.append(instance)
    return found


def small(directory: Path, **spec: Any) -> list[Instance]:
    """The instances of a small series, 300 x 200 pixels in tiles of 128 unless `spec` says so."""
    return instances_of(write_series(directory, SeriesSpec(**(SMALL | spec))))


def changed(instance: Instance, **fields: Any) -> Instance:
    """The instance with other values in its header, or in itself where it has such a field."""
    own = {field.name for field in dataclasses.fields(Instance)}
    header = {name: value for name, value in fields.items() if name not in own}
    assert header.keys() <= {field.name for field in dataclasses.fields(Header)}
    rest = {name: value for name, value in fields.items() if name in own}
    return dataclasses.replace(
        instance, header=dataclasses.replace(instance.header, **header), **rest
    )


def slide_of(instances: Sequence[Instance]) -> Slide:
    return build_slide(instances)


def codes(notes: Sequence[Note]) -> list[str]:
    return [note.code for note in notes]


def sizes(slide: Slide) -> list[tuple[int, int]]:
    return [(level.width, level.height) for level in slide.levels]
