"""Slides put together of instances: levels, planes, channels, and what becomes of odd members."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicomfs.dicom.instance import Instance
from dicomfs.errors import RejectedError
from dicomfs.slide.build import split_pyramids
from dicomfs.slide.model import as_array
from tests.conftest import WrittenSeries
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series
from tests.slide.instances import changed, codes, instances_of, sizes, slide_of, small

ASSOCIATED = ("LABEL", "OVERVIEW", "THUMBNAIL")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    """Two levels, 300 x 200 and 150 x 100."""
    return small(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    """Two levels, label, overview and thumbnail."""
    return small(tmp_path_factory.mktemp("complete"), associated=ASSOCIATED)


def test_a_plain_slide(plain: list[Instance]) -> None:
    slide = slide_of(plain)
    assert slide.notes == ()
    assert sizes(slide) == [(300, 200), (150, 100)]
    assert [level.members for level in slide.levels] == [(0,), (1,)]
    assert [level.frames for level in slide.levels] == [6, 2]
    assert slide.focal_planes_um == (0.0,)
    assert slide.plane_spacing_um is None
    assert [channel.identifier for channel in slide.channels] == ["1"]
    assert (slide.objective_power, slide.numerical_aperture) == (20.0, 0.75)
    assert slide.icc_profile == plain[0].header.optical_paths[0].icc_profile
    assert all(level.frames_are_tiles and level.regular for level in slide.levels)


def test_the_order_of_the_files_does_not_matter(complete: list[Instance]) -> None:
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        slide = slide_of([complete[n] for n in order])
        assert sizes(slide) == [(300, 200), (150, 100)]
        assert list(slide.associated) == ["label", "overview", "thumbnail"]
        assert slide.notes == ()


# --- what is no volume ----------------------------------------------------------------------------


def test_associated_images(complete: list[Instance]) -> None:
    slide = slide_of(complete)
    found = {kind: (level.width, level.height) for kind, level in slide.associated.items()}
    assert found == {"label": (160, 120), "overview": (200, 90), "thumbnail": (120, 90)}
    assert [complete[level.members[0]].header.flavour for level in slide.associated.values()] == [
        *ASSOCIATED
    ]


@pytest.mark.parametrize(
    ("kept", "promoted", "rest"),
    [
        (("LABEL",), (160, 120), []),
        (("LABEL", "OVERVIEW"), (200, 90), ["label"]),
        (("LABEL", "OVERVIEW", "THUMBNAIL"), (120, 90), ["label", "overview"]),
    ],
)
def test_a_series_without_a_volume_shows_the_best_that_it_has(
    complete: list[Instance], kept: tuple[str, ...], promoted: tuple[int, int], rest: list[str]
) -> None:
    slide = slide_of([i for i in complete if i.header.flavour in kept])
    assert sizes(slide) == [promoted]
    assert list(slide.associated) == rest
    assert codes(slide.notes)[0] == "no-volume"


def test_a_thumbnail_as_large_as_a_level_is_no_level(complete: list[Instance]) -> None:
    large = [
        changed(i, image_type=("ORIGINAL", "PRIMARY", "THUMBNAIL")) if n == 1 else i
        for n, i in enumerate(complete)
    ]
    slide = slide_of(large)
    assert sizes(slide) == [(300, 200)]
    assert slide.associated["thumbnail"].width in (150, 120)
    assert "several" in codes(slide.notes)


def test_nothing_but_unknown_kinds_is_rejected(plain: list[Instance]) -> None:
    odd = [changed(i, image_type=("", "", "LOCALIZER")) for i in plain]
    with pytest.raises(RejectedError) as raised:
        slide_of(odd)
    assert raised.value.code == "no-volume"


def test_a_damaged_label_harms_nothing_else(complete: list[Instance]) -> None:
    broken = [changed(i, bits_allocated=1) if i.header.flavour == "LABEL" else i for i in complete]
    slide = slide_of(broken)
    assert list(slide.associated) == ["overview", "thumbnail"]
    assert codes(slide.notes) == ["sample-format"]


# --- pyramids -------------------------------------------------------------------------------------


def test_pyramids_are_told_apart_by_their_uid(complete: list[Instance]) -> None:
    label = [changed(i, pyramid_uid="") for i in complete if i.header.flavour == "LABEL"]
    one = [changed(i, pyramid_uid="1.1") for i in complete[:2]]
    two = [changed(i, pyramid_uid="1.2", sop_instance_uid=f"2.25.{n}")
           for n, i in enumerate(complete[:2])]  # fmt: skip
    split = split_pyramids([*one, *two, *label])
    assert [uid for uid, _ in split] == ["1.1", "1.2"]
    assert [list(members) for _, members in split] == [[*one, *label], [*two, *label]]
    for _, members in split:
        slide = slide_of(members)
        assert sizes(slide) == [(300, 200), (150, 100)]
        assert list(slide.associated) == ["label"]
        assert slide.notes == ()


def test_one_pyramid_needs_no_name(complete: list[Instance]) -> None:
    assert [uid for uid, _ in split_pyramids(complete)] == [""]
    nameless = [changed(i, pyramid_uid="") for i in complete]
    assert split_pyramids(nameless) == [("", tuple(nameless))]
    assert split_pyramids([]) == []


def test_every_photograph_is_an_image_of_its_own(plain: list[Instance]) -> None:
    photographs = [
        changed(plain[0], sop_class_uid="1.2.840.10008.5.1.4.1.1.77.1.2", sop_instance_uid=uid)
        for uid in ("1.1", "1.2", "1.1")
    ]
    split = split_pyramids(photographs)
    assert [uid for uid, _ in split] == ["1.1", "1.2"]
    assert [len(members) for _, members in split] == [1, 1]
    beside = split_pyramids([*plain, photographs[0]])
    assert [len(members) for _, members in beside] == [2, 1]
    assert split_pyramids(photographs[:1]) == [("", (photographs[0],))]


# --- channels and focal planes --------------------------------------------------------------------


def test_channels_keep_the_order_of_the_sequence(tmp_path: Path) -> None:
    slide = slide_of(small(tmp_path, channels=("b", "a", "#10"), codec="native-grey8"))
    assert [channel.identifier for channel in slide.channels] == ["b", "a", "#10"]
    assert [channel.wavelength_nm for channel in slide.channels] == [405.0, 485.0, 565.0]
    assert all(channel.fluorescent for channel in slide.channels)
    assert [channel.description for channel in slide.channels] == ["Path b", "Path a", "Path #10"]


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
def test_identifiers_need_not_be_ascii(tmp_path: Path, organization: str) -> None:
    names = ("µ-Ä", "ß")
    instances = small(tmp_path, channels=names, codec="native-grey8", organization=organization)
    slide = slide_of(instances)
    assert [channel.identifier for channel in slide.channels] == list(names)
    assert [channel.description for channel in slide.channels] == [f"Path {n}" for n in names]


def test_an_instance_for_each_path(tmp_path: Path) -> None:
    instances = small(tmp_path, channels=("x", "y"), by_path=True, codec="native-grey8")
    slide = slide_of(instances[::-1])
    assert sizes(slide) == [(300, 200), (150, 100)]
    assert sorted(channel.identifier for channel in slide.channels) == ["x", "y"]
    for level in slide.levels:
        assert len(level.planes) == 2
        owners = [slide.instances[plane[0].member] for plane in level.planes]
        assert [i.header.optical_paths[0].identifier for i in owners] == [
            channel.identifier for channel in slide.channels
        ]


def test_one_identifier_in_several_acquisitions(tmp_path: Path) -> None:
    """Cyclic imaging: "1" is another channel in each cycle."""
    instances = small(
        tmp_path, channels=("1", "1"), by_path=True, own_acquisitions=True, codec="native-grey8"
    )
    slide = slide_of(instances)
    assert [channel.identifier for channel in slide.channels] == ["1", "1"]
    for level in slide.levels:
        members = [plane[0].member for plane in level.planes]
        assert len(set(members)) == 2
        acquisitions = [slide.instances[m].header.acquisition_uid for m in members]
        base = [slide.instances[p[0].member].header.acquisition_uid for p in slide.levels[0].planes]
        assert acquisitions == base


def test_acquisitions_do_not_matter_where_identifiers_tell(tmp_path: Path) -> None:
    instances = small(
        tmp_path, channels=("1", "2"), by_path=True, own_acquisitions=True, codec="native-grey8"
    )
    assert [channel.identifier for channel in slide_of(instances).channels] == ["1", "2"]


def test_a_slide_of_one_path_has_it_under_any_name(plain: list[Instance]) -> None:
    path = dataclasses.replace(plain[1].header.optical_paths[0], identifier="other")
    shared = dataclasses.replace(plain[1].header.shared, path_identifier="other")
    slide = slide_of([plain[0], changed(plain[1], optical_paths=(path,), shared=shared)])
    assert sizes(slide) == [(300, 200), (150, 100)]
    assert len(slide.channels) == 1


def test_a_level_with_other_paths_is_left_out(tmp_path: Path) -> None:
    instances = small(tmp_path, channels=("1", "2"), codec="native-grey8")
    path = dataclasses.replace(instances[1].header.optical_paths[1], identifier="3")
    odd = changed(instances[1], optical_paths=(instances[1].header.optical_paths[0], path))
    slide = slide_of([instances[0], odd])
    assert sizes(slide) == [(300, 200)]
    assert codes(slide.notes) == ["other-paths"]


def test_focal_planes(tmp_path: Path) -> None:
    for name, spec in (
        ("full", {}),
        ("sparse", {"organization": "TILED_SPARSE"}),
        ("each", {"by_plane": True}),
        ("each-sparse", {"by_plane": True, "organization": "TILED_SPARSE"}),
    ):
        instances = small(tmp_path / name, planes=3, plane_step=2.5, **spec)
        slide = slide_of(instances)
        assert slide.focal_planes_um == (0.0, 2.5, 5.0), name
        assert slide.plane_spacing_um == 2.5
        assert [len(level.planes) for level in slide.levels] == [3, 3]
        assert slide.notes == ()


def test_a_level_with_fewer_planes_shows_the_nearest(tmp_path: Path) -> None:
    slide = slide_of(small(tmp_path, planes=5, level_planes=(5, 2), plane_step=1.0))
    assert slide.focal_planes_um == (0.0, 1.0, 2.0, 3.0, 4.0)
    shown = [int(as_array(plane[0].frames)[0]) // 2 for plane in slide.levels[1].planes]
    assert shown == [0, 1, 1, 1, 1]
    assert codes(slide.notes) == ["other-planes"]


def test_the_heights_of_autofocus_are_one_plane_on_every_level(tmp_path: Path) -> None:
    """Each level has a median height of its own; that is no lack of planes."""
    rng = np.random.default_rng(3)

    def noise(ds: Dataset, flavour: str, level: int) -> None:
        for item in ds.PerFrameFunctionalGroupsSequence:
            item.PlanePositionSlideSequence[
                0
            ].ZOffsetInSlideCoordinateSystem = f"{rng.normal(10, 2):.3f}"

    slide = slide_of(small(tmp_path, organization="TILED_SPARSE", edit=noise))
    assert len(slide.focal_planes_um) == 1
    assert [len(level.planes) for level in slide.levels] == [1, 1]
    assert slide.notes == ()


def test_an_unknown_distance_of_planes_is_said(tmp_path: Path) -> None:
    instances = small(tmp_path, planes=2)
    silent = [
        changed(i, measures=dataclasses.replace(i.header.measures, between_planes=None))
        for i in instances
    ]
    slide = slide_of(silent)
    assert slide.plane_spacing_um is None
    assert codes(slide.notes) == ["no-plane-spacing"]


# --- levels ---------------------------------------------------------------------------------------


def test_spacing_is_between_rows_then_between_columns(tmp_path: Path) -> None:
    slide = slide_of(small(tmp_path, spacing=(0.0005, 0.00025)))
    assert slide.levels[0].spacing_mm == (0.0005, 0.00025)
    assert slide.mpp == (0.25, 0.5)


def test_no_spacing_is_said(plain: list[Instance]) -> None:
    silent = [
        changed(i, measures=dataclasses.replace(i.header.measures, spacing=None)) for i in plain
    ]
    slide = slide_of(silent)
    assert slide.mpp is None
    assert codes(slide.notes) == ["no-spacing"]


def padded(ds: Dataset, flavour: str, level: int) -> None:
    """Count the padding of the tiles in the Total Pixel Matrix of reduced levels."""
    if level:
        ds.TotalPixelMatrixColumns = -(-ds.TotalPixelMatrixColumns // ds.Columns) * ds.Columns
        ds.TotalPixelMatrixRows = -(-ds.TotalPixelMatrixRows // ds.Rows) * ds.Rows


def test_padding_that_a_level_counts_in_is_cut_off(tmp_path: Path) -> None:
    spec = SeriesSpec(width=600, height=450, downsamples=(1, 2), codec="native-rgb8", edit=padded)
    series = write_series(tmp_path, spec)
    instances = instances_of(series)
    assert instances[1].header.total_columns == 384
    slide = slide_of(instances)
    assert sizes(slide) == [(600, 450), (300, 225)]
    assert slide.levels[1].missing(0) == 0
    assert slide.notes == ()


def test_a_wrong_spacing_cuts_nothing_off(tmp_path: Path) -> None:
    instances = small(tmp_path, width=512, height=512, downsamples=(1, 2), spacing=(0.001, 0.001))
    wrong = changed(
        instances[1],
        measures=dataclasses.replace(instances[1].header.measures, spacing=(0.02, 0.02)),
    )
    assert sizes(slide_of([instances[0], wrong])) == [(512, 512), (256, 256)]


def test_real_slides_with_padding_as_large_as_a_tile(written: WrittenSeries) -> None:
    """No level of a conforming slide loses a pixel."""
    for case_id in ("jpeg-main", "uneven-downsamples", "tile-is-matrix", "mixed-levels"):
        series = written(case_id)
        slide = slide_of(instances_of(series))
        assert sizes(slide) == [(level.columns, level.rows) for level in series.levels]


def test_what_is_wrong_with_the_largest_level_rejects_the_slide(plain: list[Instance]) -> None:
    with pytest.raises(RejectedError) as raised:
        slide_of([changed(plain[0], number_of_frames=5), plain[1]])
    assert raised.value.code == "frame-count"


def test_what_is_wrong_with_another_level_leaves_it_out(plain: list[Instance]) -> None:
    slide = slide_of([plain[0], changed(plain[1], number_of_frames=5)])
    assert sizes(slide) == [(300, 200)]
    assert codes(slide.notes) == ["frame-count"]
    assert "a smaller level is left out" in slide.notes[0].message


def test_a_missing_part(tmp_path: Path) -> None:
    smaller = small(tmp_path / "smaller", parts=2, missing_parts=frozenset({(1, 2)}))
    slide = slide_of(smaller)
    assert sizes(slide) == [(300, 200)]
    assert codes(slide.notes) == ["missing-part"]
    with pytest.raises(RejectedError, match="part 2 of 3") as raised:
        slide_of(small(tmp_path / "base", parts=3, missing_parts=frozenset({(0, 2)})))
    assert raised.value.code == "missing-part"


def test_parts_that_do_not_match(tmp_path: Path) -> None:
    parts = small(tmp_path, parts=2, downsamples=(1,))
    with pytest.raises(RejectedError) as raised:
        slide_of([parts[0], changed(parts[1], total_columns=301)])
    assert raised.value.code == "mixed-parts"


def test_a_level_twice_is_shown_once(plain: list[Instance]) -> None:
    slide = slide_of([*plain, changed(plain[1], sop_instance_uid="2.25.9")])
    assert sizes(slide) == [(300, 200), (150, 100)]
    assert slide.levels[1].members == (1,)
    assert codes(slide.notes) == ["same-place"]


def test_levels_of_other_samples_are_left_out(plain: list[Instance], tmp_path: Path) -> None:
    grey = small(tmp_path, codec="native-grey8")
    slide = slide_of([plain[0], grey[1]])
    assert sizes(slide) == [(300, 200)]
    assert codes(slide.notes) == ["other-samples"]
    both = slide_of([plain[0], changed(grey[0], sop_instance_uid="2.25.9")])
    assert both.levels[0].encoding.samples == 3
    assert codes(both.notes) == ["other-samples"]


def test_levels_may_differ_in_tiles_and_encoding(written: WrittenSeries) -> None:
    slide = slide_of(instances_of(written("mixed-levels")))
    assert [(level.tile_width, level.tile_height) for level in slide.levels] == [
        (128, 128),
        (160, 96),
        (256, 256),
    ]
    assert [level.encoding.codec for level in slide.levels] == ["JPEG", "JPEG 2000", "native"]
    assert slide.notes == ()


def test_frames_cut_at_the_edge_are_no_tiles(written: WrittenSeries) -> None:
    for case_id in ("cropped-edges-jpeg", "cropped-edges-j2k"):
        slide = slide_of(instances_of(written(case_id)))
        assert [level.frames_are_tiles for level in slide.levels] == [False, False]


def test_missing_tiles_are_counted(written: WrittenSeries) -> None:
    series = written("jpeg-422-jfif-sparse-gaps")
    slide = slide_of(instances_of(series))
    assert [level.missing(0) for level in slide.levels] == [2, 1]
    assert slide.notes == ()


def test_damage_is_said(written: WrittenSeries) -> None:
    slide = slide_of(instances_of(written("jpeg-offsets-shifted")))
    assert set(codes(slide.notes)) == {"pixel-data"}
    assert "the Basic Offset Table is wrong and was ignored" in slide.notes[0].message
    lost = slide_of(instances_of(written("too-few-frames")))
    assert set(codes(lost.notes)) == {"pixel-data", "damaged-frames"}


def test_damage_is_said_in_few_words(plain: list[Instance]) -> None:
    frames = tuple(range(200))
    slide = slide_of([changed(plain[0], missing_frames=frames), plain[1]])
    (note,) = slide.notes
    assert note.code == "damaged-frames"
    assert note.message.startswith("these frames cannot be read: 1, 2, 3,")
    assert "50, …" in note.message


def test_no_instances_at_all() -> None:
    with pytest.raises(RejectedError):
        slide_of([])


@pytest.mark.parametrize(
    "keyword",
    [
        "FrameOfReferenceUID",
        "DimensionOrganizationType",
        "TotalPixelMatrixOriginSequence",
        "ImageOrientationSlide",
        "OpticalPathSequence",
        "SharedFunctionalGroupsSequence",
        "PlanarConfiguration",
    ],
)
def test_an_absent_attribute_is_told_once(keyword: str, tmp_path: Path) -> None:
    slide = slide_of(small(tmp_path, drop=(keyword,)))
    told = [note.message for note in slide.notes if note.code == "missing-attribute"]
    assert len(told) == 1
    assert told[0].startswith(f"no {keyword} in 2 of 2 instances: ")
    assert "missing-attribute" not in codes(slide_of(small(tmp_path / "whole")).notes)
