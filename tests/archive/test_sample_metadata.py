"""The metadata of slides of other people's writers, where a folder of them is at hand.

Every document is as its schema says, every DICOM JSON as long as it was said to be, every OME-XML
as the OME schema says. The oracles: jsonschema, pydicom, ome-types, OpenSlide on the DICOM files.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import openslide
import pytest
import tifffile
from ome_types import from_xml, validate_xml
from pydicom.dataset import Dataset

import dicomfs
from dicomfs.archive import Archive
from dicomfs.vfs.nodes import File
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import CASES
from tests.schemas import validate

DATA = Path(os.environ.get("DICOMFS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")

needs_samples = pytest.mark.skipif(not DATA.is_dir(), reason="no folder of sample slides")


@pytest.fixture(scope="module")
def samples() -> Iterator[Archive]:
    with dicomfs.open_archive(DATA, flavours=["ome"]) as archive:
        yield archive


def schema_of(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.removesuffix(".json") if name in ("patient.json", "study.json") else "slide"


@needs_samples
def test_every_document_is_as_its_schema_says(samples: Archive) -> None:
    found = 0
    for path in samples.files():
        if path.endswith(".json") and not path.startswith(".dicomfs") and ".dicom." not in path:
            with samples.open(path) as file:
                validate(json.loads(file.read()), schema_of(path))
            found += 1
    assert found >= 50


@needs_samples
def test_every_dicom_json_is_as_long_as_it_was_said_to_be(samples: Archive) -> None:
    found = 0
    for path in samples.files():
        node = samples.find(path)
        if path.endswith(".dicom.json") and isinstance(node, File):
            with samples.open(path) as file:
                data = file.read()
            assert len(data) == node.size
            with warnings.catch_warnings(action="ignore"):
                for instance in json.loads(data):
                    dataset = Dataset.from_json(instance, lambda tag, vr, uri: None)
                    assert dataset.SOPClassUID
            found += 1
    assert found >= 30


@needs_samples
def test_every_ome_xml_is_as_its_schema_says(samples: Archive) -> None:
    found = 0
    for path in samples.files():
        if path.endswith(".ome.tif"):
            with samples.open(path) as file, tifffile.TiffFile(file) as tiff:
                xml = tiff.ome_metadata
            assert xml is not None
            validate_xml(xml)
            assert from_xml(xml).images[0].pixels.size_x > 0
            found += 1
    assert found >= 30


BY_OPENSLIDE = [case.id for case in CASES if "openslide" in case.readers]


@pytest.mark.parametrize("case_id", BY_OPENSLIDE)
def test_openslide_finds_the_scale_that_it_finds_in_the_dicom_files(
    case_id: str, written: WrittenSeries, tmp_path: Path
) -> None:
    series = written(case_id)
    with dicomfs.open_archive(series.directory) as archive:
        (path,) = [path for path in archive.files() if path.endswith((".svs", ".ome.tif"))]
        copy = tmp_path / path.rpartition("/")[2]
        with archive.open(path) as file:
            copy.write_bytes(file.read())
    volume = next(file.path for file in series.files if file.flavour == "VOLUME")
    with openslide.OpenSlide(copy) as ours, openslide.OpenSlide(volume) as there:
        for key in ("openslide.mpp-x", "openslide.mpp-y", "openslide.objective-power"):
            known = there.properties.get(key)
            # OpenSlide knows the objective of Aperio's files only.
            if known is not None and (copy.suffix == ".svs" or "mpp" in key):
                assert float(ours.properties[key]) == pytest.approx(float(known))
