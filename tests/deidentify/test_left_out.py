"""Images that may show whose slide it is are left out, each with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset, Sequence

import dicomfs
from dicomfs.archive import Archive
from tests.fixtures.series import Edit, SeriesSpec
from tests.fixtures.wsm import write_series

PROFILE = dicomfs.Profile(b"a key of the tests")
ALL = ("LABEL", "OVERVIEW", "THUMBNAIL")


def archive_of(tmp_path: Path, edit: Edit | None = None, **changes: object) -> Archive:
    spec = SeriesSpec(codec="jpeg-422-jfif", associated=ALL, width=300, height=200, edit=edit)
    import dataclasses

    series = write_series(tmp_path / "source", dataclasses.replace(spec, **changes))  # type: ignore[arg-type]
    assert series.paths
    return dicomfs.open_archive(tmp_path / "source", index=tmp_path / "index", deidentify=PROFILE)


def endings(archive: Archive) -> set[str]:
    return {path.split(".", 1)[1] for path in archive.files() if not path.startswith(".dicomfs")}


def codes(archive: Archive) -> list[str]:
    return sorted(one.code for one in archive.catalogue.rejected)


def test_label_and_overview_are_left_out(tmp_path: Path) -> None:
    with archive_of(tmp_path) as archive:
        assert endings(archive) >= {"svs", "json", "thumbnail.jpg"}
        assert not endings(archive) & {"label.jpg", "overview.jpg"}
        assert codes(archive) == ["label", "overview"]
        (slide,) = archive.slides
        assert set(slide.entry.slide.associated) == {"thumbnail"}
        assert len(slide.entry.objects) == len(slide.entry.slide.instances)


def same_as_overview(ds: Dataset, flavour: str, level: int) -> None:
    if flavour in ("OVERVIEW", "THUMBNAIL"):
        ds.SOPInstanceUID = "1.2.3.4"


def made_of_overview(ds: Dataset, flavour: str, level: int) -> None:
    if flavour == "OVERVIEW":
        ds.SOPInstanceUID = "1.2.3.4"
    if flavour == "THUMBNAIL":
        source = Dataset()
        source.ReferencedSOPClassUID = ds.SOPClassUID
        source.ReferencedSOPInstanceUID = "1.2.3.4"
        ds.SourceImageSequence = Sequence([source])


def label_in_thumbnail(ds: Dataset, flavour: str, level: int) -> None:
    if flavour == "THUMBNAIL":
        ds.ImageType = ["DERIVED", "PRIMARY", "THUMBNAIL", "LABEL"]


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (same_as_overview, "same-as-label"),
        (made_of_overview, "derived-from-label"),
        (label_in_thumbnail, "label"),
    ],
)
def test_a_thumbnail_of_the_label_goes_with_it(tmp_path: Path, edit: Edit, code: str) -> None:
    with archive_of(tmp_path, edit) as archive:
        assert "svs" in endings(archive)
        assert "thumbnail.jpg" not in endings(archive)
        assert code in codes(archive)


def burned_in(ds: Dataset, flavour: str, level: int) -> None:
    ds.BurnedInAnnotation = "YES" if (flavour, level) == ("VOLUME", 0) else "NO"


def label_in_volume(ds: Dataset, flavour: str, level: int) -> None:
    ds.SpecimenLabelInImage = "YES" if flavour == "VOLUME" else "NO"


@pytest.mark.parametrize(
    ("edit", "code"), [(burned_in, "burned-in-annotation"), (label_in_volume, "label-in-image")]
)
def test_a_pyramid_with_words_in_it_is_not_shown(tmp_path: Path, edit: Edit, code: str) -> None:
    with archive_of(tmp_path, edit) as archive:
        assert endings(archive) == set()
        assert code in codes(archive)
        assert archive.status["slides"] == 0


def test_a_slide_that_is_nothing_but_a_label_is_rejected(tmp_path: Path) -> None:
    with archive_of(tmp_path) as archive:
        volumes = [instance.header.flavour for instance in archive.slides[0].entry.slide.instances]
    assert "LABEL" not in volumes
    for path in (tmp_path / "source").rglob("*.dcm"):
        if "LABEL" not in path.name.upper():
            path.unlink()
    with dicomfs.open_archive(tmp_path / "source", index=tmp_path / "2", deidentify=PROFILE) as it:
        assert it.status["slides"] == 0
        assert codes(it) == ["label"]
    with dicomfs.open_archive(tmp_path / "source", index=tmp_path / "3") as it:
        assert it.status["slides"] == 1
