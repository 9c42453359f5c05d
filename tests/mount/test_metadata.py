"""Extended attributes and JSON of a real mount. The oracle is pydicom."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from tests.conftest import WrittenSeries
from tests.mount.conftest import Mount, mounted
from tests.schemas import validate

pytestmark = pytest.mark.fuse

PRINTED = ("PatientID", "PatientName", "StudyDate", "Manufacturer", "ImageType", "Rows")


@pytest.fixture(scope="module")
def one(written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """A mount of one slide with its label, overview and thumbnail."""
    home = tmp_path_factory.mktemp("metadata")
    shutil.copytree(written("jpeg-main").directory, home / "source" / "a")
    yield from mounted(home / "source", home)


def test_keywords_are_extended_attributes(one: Mount, written: WrittenSeries) -> None:
    slide = next(one.point.rglob("*.svs"))
    there = pydicom.dcmread(written("jpeg-main").files[0].path)
    for keyword in PRINTED:
        element = there[keyword]
        values = element.value if element.VM > 1 else [element.value]
        expected = "\\".join(map(str, values))
        assert os.getxattr(slide, f"user.dicom.{keyword}").decode() == expected
    names = os.listxattr(slide)
    printable = {
        element.keyword
        for element in there
        if element.keyword and element.VR not in ("SQ", "OB", "OW", "UN", "AT")
    }
    assert {name for name in names if name.startswith("user.dicom.")} == {
        f"user.dicom.{element.keyword}"
        for element in there
        if element.keyword in printable and not element.is_empty
    }
    for name in names:
        assert os.getxattr(slide, name)


def test_own_extended_attributes(one: Mount, written: WrittenSeries) -> None:
    slide = next(one.point.rglob("*.svs"))
    assert os.getxattr(slide, "user.dicomfs.flavour") == b"svs"
    uid = os.getxattr(slide, "user.dicomfs.series_instance_uid").decode()
    assert uid == written("jpeg-main").series_uid
    for name in ("user.dicomfs.warnings", "user.dicom.Nothing", "user.DOSATTRIB"):
        with pytest.raises(OSError) as caught:
            os.getxattr(slide, name)
        assert caught.value.errno == errno.ENODATA
    label = next(one.point.rglob("*.label.jpg"))
    assert "user.dicomfs.flavour" not in os.listxattr(label)


def test_other_programs_can_list_them(one: Mount) -> None:
    if shutil.which("getfattr") is None:
        pytest.skip("getfattr is not installed")
    slide = next(one.point.rglob("*.svs"))
    done = subprocess.run(["getfattr", "-d", slide], capture_output=True, text=True, check=True)
    assert 'user.dicomfs.flavour="svs"' in done.stdout
    assert "user.dicom.PatientID=" in done.stdout


@pytest.mark.parametrize(
    ("pattern", "schema"),
    [("patient.json", "patient"), ("study.json", "study"), ("C-*[0-9a-f].json", "slide")],
)
def test_documents_are_as_their_schemas_say(one: Mount, pattern: str, schema: str) -> None:
    (path,) = [path for path in one.point.rglob(pattern) if not path.name.endswith(".dicom.json")]
    data = path.read_bytes()
    assert len(data) == path.stat().st_size
    validate(json.loads(data), schema)


def test_the_dicom_json_is_all_of_the_instances(one: Mount, written: WrittenSeries) -> None:
    path: Path = next(one.point.rglob("*.dicom.json"))
    data = path.read_bytes()
    assert len(data) == path.stat().st_size
    uids = [instance["00080018"]["Value"][0] for instance in json.loads(data)]
    assert sorted(uids) == sorted(file.sop_uid for file in written("jpeg-main").files)
