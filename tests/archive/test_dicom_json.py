"""The DICOM JSON of a slide: all instances, by level, as long as it was said to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pydicom
import pytest
from pydicom.dataset import Dataset

import dicomfs
from dicomfs.archive import Archive
from dicomfs.vfs.nodes import File
from tests.conftest import WrittenSeries
from tests.fixtures.large import write_large
from tests.fixtures.series import InstanceFile, SeriesSpec
from tests.fixtures.wsm import write_series


def dicom_json(archive: Archive) -> list[dict[str, Any]]:
    """The content of the only such file."""
    (path,) = [path for path in archive.files() if path.endswith(".dicom.json")]
    with archive.open(path) as file:
        data = file.read()
    node = archive.find(path)
    assert isinstance(node, File)
    assert len(data) == node.size
    content: list[dict[str, Any]] = json.loads(data.decode("utf-8"))
    return content


def order(file: InstanceFile) -> tuple[int, int, int]:
    kinds = ("VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL")
    return kinds.index(file.flavour), file.level, file.part


@pytest.mark.parametrize(
    "case_id", ["jpeg-main", "j2k-rct-concatenation", "jpeg-422-jfif-sparse", "native-deflated"]
)
def test_every_instance_is_there_in_the_order_of_its_level(
    case_id: str, written: WrittenSeries
) -> None:
    series = written(case_id)
    with dicomfs.open_archive(series.files[0].path.parent) as archive:
        content = dicom_json(archive)
    expected = [file.sop_uid for file in sorted(series.files, key=order)]
    assert [one["00080018"]["Value"] for one in content] == [[uid] for uid in expected]


def test_the_bulk_data_is_in_the_file_that_the_uri_names(tmp_path: Path) -> None:
    folder = tmp_path / "Köln 100%?#"
    series = write_series(folder, SeriesSpec(codec="native-rgb8", downsamples=(1,), associated=()))
    with dicomfs.open_archive(folder) as archive:
        (content,) = dicom_json(archive)

    def read(tag: str, vr: str, uri: str) -> bytes:
        parts = urlsplit(uri)
        assert (parts.scheme, parts.netloc, parts.fragment) == ("file", "", "")
        place = dict(part.split("=") for part in parts.query.split("&"))
        with Path(unquote(parts.path)).open("rb") as file:
            file.seek(int(place["offset"]))
            return file.read(int(place["length"]))

    back = Dataset.from_json(content, read)
    there = pydicom.dcmread(series.files[0].path)
    assert back.PixelData == there.PixelData
    assert back.SOPInstanceUID == there.SOPInstanceUID
    assert back.PatientName == there.PatientName


def test_long_per_frame_groups_stand_in_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_large(folder / "a.dcm", 2000)
    with dicomfs.open_archive(folder) as archive:
        (content,) = dicom_json(archive)
    assert set(content["52009230"]) == {"vr", "BulkDataURI"}
    assert content["52009230"]["BulkDataURI"].startswith(f"{(folder / 'a.dcm').as_uri()}?offset=")
    assert len(json.dumps(content)) < 20_000
