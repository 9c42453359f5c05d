"""Where the bytes of a virtual TIFF come from: sizes known beforehand, nothing shown but pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicomfs.dicom.instance import Instance
from dicomfs.extents import Kind
from dicomfs.slide.build import build_slide
from dicomfs.tiff.flavours import plan_flavour
from dicomfs.tiff.plan import FAULT_SLOT, TiffPlan
from dicomfs.tiff.storage import Flavour
from tests.archive.test_cases import REJECTED
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import CASES
from tests.fixtures.codecs import DEFLATED
from tests.fixtures.series import Series, SeriesSpec
from tests.fixtures.wsm import TRAILING_SENTINEL, write_series
from tests.oracles.tiff_directories import walk
from tests.slide.instances import instances_of
from tests.tiff.plans import bytes_of, frame_tables

SENTINELS = [case.id for case in CASES if case.spec.trailing]
READABLE = [
    case.id for case in CASES if case.id not in REJECTED and case.spec.transfer_syntax != DEFLATED
]


def planned(
    series: Series, flavour: Flavour, **options: bool
) -> tuple[TiffPlan, list[Instance], list[bytes]]:
    instances = instances_of(series)
    contents = [path.read_bytes() for path in series.paths]
    return plan_flavour(build_slide(instances), flavour, **options), instances, contents


@pytest.mark.parametrize("flavour", list(Flavour))
@pytest.mark.parametrize("case_id", READABLE[::4])
def test_a_file_is_as_large_as_its_header_facts_say(
    case_id: str, flavour: Flavour, written: WrittenSeries
) -> None:
    """`ls -l` is right before a frame was looked at, and stays right."""
    plan, instances, contents = planned(written(case_id), flavour)
    assert plan.table.deferred
    table = plan.resolve(frame_tables(plan, contents, instances))
    assert not table.deferred
    assert table.size == plan.table.size == plan.size
    # What was known already has not changed.
    before = bytes_of(plan.table, plan, contents)
    after = bytes_of(table, plan, contents)
    old, new = np.frombuffer(before, np.uint8), np.frombuffer(after, np.uint8)
    known = old != ord("?")
    assert known.any()
    assert np.array_equal(old[known], new[known])


@pytest.mark.parametrize("case_id", SENTINELS)
@pytest.mark.parametrize("flavour", list(Flavour))
def test_nothing_behind_the_pixel_data_shows(
    case_id: str, flavour: Flavour, written: WrittenSeries
) -> None:
    plan, instances, contents = planned(written(case_id), flavour)
    assert all(TRAILING_SENTINEL in content for content in contents)
    table = plan.resolve(frame_tables(plan, contents, instances))
    assert TRAILING_SENTINEL not in bytes_of(table, plan, contents)


@pytest.mark.parametrize("offsets", ["bot", "empty", "eot"])
@pytest.mark.parametrize("delimiter", [True, False])
def test_nothing_outside_pixel_data_shows(offsets: str, delimiter: bool, tmp_path: Path) -> None:
    """Every byte that is taken from a source lies between the first frame table and the last frame.

    Of a slide with names in its header, which would give a patient away.
    """
    spec = SeriesSpec(
        width=300, height=200, downsamples=(1,), trailing=True, delimiter=delimiter,
        offsets=offsets,  # type: ignore[arg-type]
    )  # fmt: skip
    series = write_series(tmp_path, spec)
    for flavour in Flavour:
        plan, instances, contents = planned(series, flavour)
        table = plan.resolve(frame_tables(plan, contents, instances))
        for number in range(len(table)):
            if table.kinds[number] != Kind.SOURCE:
                continue
            start = table.starts[number]
            end = table.starts[number + 1] if number + 1 < len(table) else table.size
            at = table.ats[number]
            frames = [
                f for f in series.levels[0].frames if f.file == plan.members[table.refs[number]]
            ]
            element = instances[frames[0].file].layout.pixel_data
            assert element is not None
            assert element.offset <= at
            last = frames[-1].spans[-1]
            assert at + (end - start) <= last.start + last.length + 1  # the byte of padding
        shown = bytes_of(table, plan, contents)
        assert b"Fixture^" not in shown
        assert TRAILING_SENTINEL not in shown


@pytest.mark.parametrize("size", [16, 100, 1000])
def test_fragments_are_put_together_in_place(size: int, tmp_path: Path) -> None:
    """A frame is contiguous from its first byte on, zeros follow, and nothing else moves."""
    spec = SeriesSpec(width=300, height=200, downsamples=(1,), fragment_size=size)
    series = write_series(tmp_path / "parts", spec)
    plan, instances, contents = planned(series, Flavour.SVS)
    table = plan.resolve(frame_tables(plan, contents, instances))
    shown = bytes_of(table, plan, contents)
    (span,) = plan.spans.values()
    for frame in series.levels[0].frames:
        start = span.base + frame.spans[0].start - span.at
        end = span.base + frame.spans[-1].start + frame.spans[-1].length - span.at
        assert shown[start:end] == frame.data.ljust(end - start, b"\0")
    # Between frames stands what stands there in the file: an item header.
    for one, other in zip(series.levels[0].frames, series.levels[0].frames[1:], strict=False):
        start = one.spans[-1].start + one.spans[-1].length
        end = other.spans[0].start
        here = shown[span.base + start - span.at : span.base + end - span.at]
        assert here == contents[0][start:end]
        assert len(here) in (8, 9)


def test_one_extent_for_each_file_where_frames_are_whole(written: WrittenSeries) -> None:
    """However many frames there are."""
    plan, instances, contents = planned(written("jpeg-main"), Flavour.SVS)
    table = plan.resolve(frame_tables(plan, contents, instances))
    assert table.kinds.count(Kind.SOURCE) == len(plan.members)


def test_missing_frames_point_where_reading_is_an_error(tmp_path: Path) -> None:
    series = write_series(tmp_path, SeriesSpec(width=300, height=200, downsamples=(1,)))
    contents = [series.paths[0].read_bytes()]
    cut = series.levels[0].frames[4].spans[0].start + 20
    series.paths[0].write_bytes(contents[0][:cut])
    for blank in (False, True):
        plan, instances, contents = planned(series, Flavour.SVS, blank_damaged=blank)
        assert instances[0].missing_frames == (4, 5)
        table = plan.resolve(frame_tables(plan, contents, instances))
        assert table.size == plan.size
        kinds = set(table.kinds)
        assert (Kind.FAULT in kinds) == (not blank)
        copy = tmp_path / "copy.tif"
        copy.write_bytes(bytes_of(table, plan, contents))
        offsets, counts = walk(copy).directories[0].segments()
        (picture,) = [p for p in plan.pictures if not p.stripped]
        place = plan.blanks[picture.key] if blank else (plan.fault_at, FAULT_SLOT)
        assert [(int(offsets[n]), int(counts[n])) for n in (4, 5)] == [place, place]
        assert place not in [(int(offsets[n]), int(counts[n])) for n in range(4)]


def test_sound_slides_have_no_place_that_cannot_be_read(written: WrittenSeries) -> None:
    plan, instances, contents = planned(written("jpeg-422-jfif-sparse-gaps"), Flavour.SVS)
    table = plan.resolve(frame_tables(plan, contents, instances))
    assert Kind.FAULT not in set(table.kinds)
    fault = bytes_of(table, plan, contents)[plan.fault_at : plan.fault_at + FAULT_SLOT]
    assert fault == bytes(FAULT_SLOT)


@pytest.mark.parametrize("flavour", list(Flavour))
def test_everything_can_be_decoded(flavour: Flavour, written: WrittenSeries) -> None:
    """For readers that lack a codec: no frame is shown as it is."""
    plan, instances, contents = planned(written("jpeg-main"), flavour, decode=True)
    assert plan.spans == {}
    assert all(not picture.storage.pass_through for picture in plan.pictures)
    table = plan.resolve(frame_tables(plan, contents, instances))
    assert Kind.SOURCE not in set(table.kinds)
    assert table.size == plan.size


def test_the_same_slide_has_the_same_plan(written: WrittenSeries) -> None:
    """Inode numbers and sizes are stable over remounts, and so are the bytes."""
    for flavour in Flavour:
        one, instances, contents = planned(written("jpeg-main"), flavour)
        other, _, _ = planned(written("jpeg-main"), flavour)
        tables = frame_tables(one, contents, instances)
        assert bytes_of(one.resolve(tables), one, contents) == bytes_of(
            other.resolve(tables), other, contents
        )
