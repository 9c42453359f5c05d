"""Of series of other kinds only stand-ins are told too."""

from __future__ import annotations

from pathlib import Path

import dicomfs
from tests.deidentify.planting import WORD, plant
from tests.deidentify.test_sentinel import in_index, traces

PROFILE = dicomfs.Profile(b"a key of the tests")


def test_other_series(tmp_path: Path) -> None:
    import pydicom
    from pydicom.data import get_testdata_file

    source = tmp_path / WORD
    source.mkdir()
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    plant(ds)
    pydicom.dcmwrite(source / "ct.dcm", ds)
    index = tmp_path / "index"
    with dicomfs.open_archive(source, index=index, deidentify=PROFILE) as archive:
        (other,) = archive.catalogue.other_series
        assert other.modality == "CT"
        assert other.series_instance_uid.startswith("2.25.")
        assert other.study_instance_uid.startswith("2.25.")
        assert traces(archive) == {}
    assert in_index(index) == []
