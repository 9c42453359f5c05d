"""The JSON of a slide: every key that the schema promises, with the right value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dicomfs.slide.build import build_slide, split_pyramids
from dicomfs.slide.model import Slide
from dicomfs.slide.summary import SCHEMA, iso_datetime, summarise
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import cases
from tests.fixtures.headers import uid
from tests.schemas import validate
from tests.slide.instances import changed, instances_of, slide_of, small


def summary_of(slide: Slide, passes: Mapping[int, bool] | None = None) -> dict[str, Any]:
    """The summary, as it is once it was JSON."""
    files = {"slide.svs": {"flavour": "svs", "size": 123}}
    found: dict[str, Any] = json.loads(json.dumps(summarise(slide, passes or {}, files)))
    validate(found, "slide")
    return found


@pytest.fixture
def main(written: WrittenSeries) -> Slide:
    return slide_of(instances_of(written("jpeg-main")))


def test_every_case_is_as_the_schema_says(written: WrittenSeries) -> None:
    for case in cases("geometry", "header"):
        instances = instances_of(written(case.id))
        for _, part in split_pyramids(instances):
            assert summary_of(build_slide(part))["schema"] == SCHEMA == "dicomfs.slide/1"


def test_the_example_of_the_documentation_is_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "slide-json.md").read_text("utf-8")
    validate(json.loads(text.partition("```json\n")[2].partition("```\n")[0]), "slide")


def test_what_a_person_wants_to_know(main: Slide) -> None:
    summary = summary_of(main, {0: True, 1: True})
    assert summary["series_instance_uid"] == uid("jpeg-main", "series")
    assert summary["study_instance_uid"] == uid("jpeg-main", "study")
    assert summary["patient_id"] == "P-jpeg-main"
    assert summary["accession_number"] == "A-1"
    assert summary["container_identifier"] == "C-0815"
    (specimen,) = summary["specimens"]
    assert specimen["identifier"] == "C-0815-A"
    assert specimen["uid"] == uid("specimen", "C-0815-A")
    assert specimen["description"] == "Synthetic tissue"
    assert specimen["anatomy"] == "Lung"
    assert specimen["stains"] == ["hematoxylin stain"]
    assert [step["text"] for step in specimen["preparation"]] == [
        "Staining procedure: hematoxylin stain"
    ]
    assert summary["acquisition_datetime"] == "2026-01-02T10:11:12.250000"
    assert summary["scanner"] == {
        "manufacturer": "Fixture Works",
        "model": "Picture 1",
        "serial_number": "4711",
        "software": "1.0",
    }
    assert (summary["objective_power"], summary["numerical_aperture"]) == (20.0, 0.75)
    assert summary["mpp"] == [0.5, 0.5]
    assert summary["size"] == [600, 450]
    assert summary["icc_profile"] is True
    (channel,) = summary["channels"]
    assert (channel["identifier"], channel["description"]) == ("1", "Path 1")
    assert channel["wavelength_nm"] is None
    assert channel["illumination"] == ["Brightfield illumination"]
    assert (channel["objective_power"], channel["numerical_aperture"]) == (20.0, 0.75)
    assert summary["dates"] == {
        "study": "2026-01-02T10:11:12",
        "series": "2026-01-02T10:11:12",
        "content": "2026-01-02T10:11:12.5",
    }
    assert summary["focal_planes_um"] == [0.0]
    assert summary["files"] == {"slide.svs": {"flavour": "svs", "size": 123}}
    assert summary["warnings"] == []


def test_levels(main: Slide, written: WrittenSeries) -> None:
    series = written("jpeg-main")
    levels = summary_of(main, {0: True, 2: True})["levels"]
    assert [level["index"] for level in levels] == [0, 1, 2]
    assert [(level["width"], level["height"]) for level in levels] == [
        (600, 450),
        (300, 225),
        (150, 112),
    ]
    assert [level["downsample"] for level in levels] == pytest.approx([1, 2, 4.00893], abs=1e-4)
    assert {(level["tile_width"], level["tile_height"]) for level in levels} == {(128, 128)}
    assert [level["frames"] for level in levels] == [20, 6, 2]
    assert [level["missing_tiles"] for level in levels] == [0, 0, 0]
    assert {level["transfer_syntax"] for level in levels} == {"1.2.840.10008.1.2.4.50"}
    assert [level["tiles"] for level in levels] == ["pass-through", "decoded", "pass-through"]
    for level in levels:
        files = series.level_files(level["index"])
        assert level["instances"] == [file.sop_uid for file in files]


def test_associated_images(main: Slide) -> None:
    syntax = "1.2.840.10008.1.2.4.50"
    associated = summary_of(main)["associated"]
    assert {kind: (one["width"], one["height"]) for kind, one in associated.items()} == {
        "label": (160, 120),
        "overview": (200, 90),
        "thumbnail": (120, 90),
    }
    assert {one["transfer_syntax"] for one in associated.values()} == {syntax}


def test_rectangular_tiles_and_pixels(written: WrittenSeries, tmp_path: Path) -> None:
    level = summary_of(slide_of(instances_of(written("jpeg-422-jfif-rectangular"))))["levels"][0]
    assert (level["tile_width"], level["tile_height"]) == (160, 96)
    slide = slide_of(instances_of(written("non-square-spacing")))
    assert summary_of(slide)["mpp"] == [0.4, 0.5]


def test_channels_and_focal_planes(written: WrittenSeries) -> None:
    summary = summary_of(slide_of(instances_of(written("native-planes-and-paths"))))
    assert [channel["identifier"] for channel in summary["channels"]] == ["405", "488"]
    assert [channel["wavelength_nm"] for channel in summary["channels"]] == [405.0, 485.0]
    assert summary["focal_planes_um"] == [0.0, 2.0, 4.0]
    assert summary["icc_profile"] is False
    assert [level["frames"] for level in summary["levels"]] == [36, 12]


def test_gaps_and_parts(written: WrittenSeries) -> None:
    series = written("j2k-rct-sparse-gaps")
    summary = summary_of(slide_of(instances_of(series)))
    assert [level["missing_tiles"] for level in summary["levels"]] == [2, 1]
    assert [level["frames"] for level in summary["levels"]] == [4, 1]
    parts = written("j2k-rct-concatenation-sparse")
    levels = summary_of(slide_of(instances_of(parts)))["levels"]
    assert [len(level["instances"]) for level in levels] == [3, 2]


def test_warnings_have_codes(tmp_path: Path) -> None:
    instances = small(tmp_path)
    slide = slide_of([*instances, instances[0]])
    warnings = summary_of(slide)["warnings"]
    assert warnings[0]["code"] == "duplicate"


def test_nothing_known_is_null_or_empty(tmp_path: Path) -> None:
    instances = small(
        tmp_path,
        drop=(
            "PatientID",
            "AccessionNumber",
            "ContainerIdentifier",
            "SpecimenDescriptionSequence",
            "AcquisitionDateTime",
            "Manufacturer",
            "ManufacturerModelName",
            "DeviceSerialNumber",
            "SoftwareVersions",
            "OpticalPathSequence",
            "SharedFunctionalGroupsSequence",
        ),
    )
    summary = summary_of(slide_of([changed(i) for i in instances]))
    for key in ("acquisition_datetime", "objective_power", "numerical_aperture", "mpp"):
        assert summary[key] is None, key
    assert summary["patient_id"] == summary["container_identifier"] == ""
    assert summary["specimens"] == []
    assert summary["icc_profile"] is False


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20260102101112.250000", "2026-01-02T10:11:12.250000"),
        ("20260102101112", "2026-01-02T10:11:12"),
        ("20260102101112+0130", "2026-01-02T10:11:12+01:30"),
        ("202601021011", "2026-01-02T10:11:00"),
        ("2026010210", "2026-01-02T10:00:00"),
        ("20260102", "2026-01-02"),
        ("202601", "2026-01"),
        ("2026", "2026"),
        ("2026010210:11:12", "2026-01-02T10:11:12"),
        ("", None),
        ("n/a", None),
        ("02.01.2026", None),
        ("202601021011123", None),
        ("20261301", None),
        ("202613", None),
        ("20260230101112", None),
        ("20260102256161", None),
        ("20160229", "2016-02-29"),
        ("20161231235960", "2016-12-31T23:59:60"),  # a leap second
    ],
)
def test_dates_as_precise_as_they_are(value: str, expected: str | None) -> None:
    assert iso_datetime(value) == expected
