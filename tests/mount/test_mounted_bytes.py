"""The mount itself: exact bytes under random reads, stable numbers, neighbours that do no harm."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tifffile

from tests.archive.test_random_reads import FILES
from tests.archive.whole_file import expected_file
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import BY_ID
from tests.mount.conftest import Mount, MountedCase, command, mounted

READS = 100_000


@pytest.mark.promise("S-1")
@pytest.mark.fuse
def test_reads_anywhere_are_exact(cases: dict[str, MountedCase]) -> None:
    """100,000 seeded reads of any offset and size, against bytes put together independently."""
    known = []
    for case_id, flavour in FILES.items():
        path = cases[case_id].files[flavour]
        expected = expected_file(path, BY_ID[case_id], cases[case_id].series, flavour)
        known.append((os.open(path, os.O_RDONLY), memoryview(expected)))
    rng = random.Random(20)
    try:
        for number in range(READS):
            handle, content = known[number % len(known)]
            size = rng.choice((0, 1, 7, 512, 4096, 48_000, rng.randrange(200_000)))
            offset = rng.randrange(len(content) + 10)
            if number % 4 == 0:  # around the end
                offset = max(0, len(content) - rng.randrange(2 * size + 1))
            assert os.pread(handle, size, offset) == content[offset : offset + size]
    finally:
        for handle, _ in known:
            os.close(handle)


def facts(point: Path) -> dict[str, tuple[int, int, int]]:
    """Size, modification time and inode number of every file and directory, by path."""
    return {
        str(path.relative_to(point)): (state.st_size, state.st_mtime_ns, state.st_ino)
        for path in sorted(point.rglob("*"))
        if path.name != "status.json"  # is always of the present
        for state in (path.stat(),)
    }


@pytest.mark.promise("S-17")
@pytest.mark.fuse
def test_a_remount_and_a_first_read_change_nothing(written: WrittenSeries, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for case_id in ("jpeg-422-jfif", "jpeg-422-jfif-sparse-gaps", "native-deflated", "jpegls-rgb8"):
        if case_id in BY_ID:
            shutil.copytree(written(case_id).directory, source / case_id)
    seen = []
    for turn in range(2):
        for mount in mounted(source, tmp_path / f"home{turn}"):
            before = facts(mount.point)
            for path in mount.point.rglob("*"):
                if path.is_file():
                    assert len(path.read_bytes()) == path.stat().st_size
            assert facts(mount.point) == before
            seen.append(before)
    assert seen[0] == seen[1]
    assert len({inode for _, _, inode in seen[0].values()}) == len(seen[0])


@pytest.fixture(scope="module")
def harmed(written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """A healthy series between one that is cut off and one that is nonsense."""
    home = tmp_path_factory.mktemp("harmed")
    source = home / "source"
    healthy = written("jpeg-444-jfif")
    shutil.copytree(healthy.directory, source / "b")
    cut = written("jpeg-422-jfif")
    shutil.copytree(cut.directory, source / "a")
    largest = max((source / "a").iterdir(), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size * 2 // 3)
    shutil.copytree(written("jpeg-420-jfif").directory, source / "c")
    for path in (source / "c").iterdir():
        path.write_bytes(path.read_bytes()[:200] + b"\xff" * 5000)
    yield from mounted(source, home)


@pytest.mark.promise("S-6", "S-12")
@pytest.mark.fuse
def test_a_damaged_file_gives_an_error_and_harms_no_neighbour(
    harmed: Mount, written: WrittenSeries
) -> None:
    by_uid = harmed.cases()
    damaged = by_uid[written("jpeg-422-jfif").series_uid]
    warnings = {one["code"] for one in json.loads(damaged.read_bytes())["warnings"]}
    assert "damaged-frames" in warnings
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        damaged.with_suffix(".svs").read_bytes()
    healthy = by_uid[written("jpeg-444-jfif").series_uid].with_suffix(".svs")
    series = written("jpeg-444-jfif")
    expected = expected_file(healthy, BY_ID["jpeg-444-jfif"], series, "svs")
    assert healthy.read_bytes() == expected
    assert written("jpeg-420-jfif").series_uid not in by_uid
    rejected = json.loads((harmed.point / ".dicomfs" / "rejected.json").read_bytes())
    assert {key.split("/")[0] for one in rejected for key in one["files"]} == {"c"}


@pytest.mark.promise("S-6")
@pytest.mark.fuse
def test_a_damaged_slide_opens_and_only_its_missing_tiles_fail(
    harmed: Mount, written: WrittenSeries
) -> None:
    """The kernel reads by the page: what fails must not take the header or another tile along."""
    series = written("jpeg-422-jfif")
    path = harmed.cases()[series.series_uid].with_suffix(".svs")
    level = series.levels[0]
    across = -(-level.columns // level.tile[1])
    right = 0
    failures = set()
    with path.open("rb", buffering=0) as file, tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        assert isinstance(page, tifffile.TiffPage)
        for tile, (offset, count) in enumerate(
            zip(page.dataoffsets, page.databytecounts, strict=True)
        ):
            file.seek(offset)
            try:
                data = file.read(count)
            except OSError as error:
                failures.add(error.errno)
            else:
                expected = level.frame(*divmod(tile, across)).data
                assert data[: len(expected)] == expected
                right += 1
    assert right
    assert failures == {errno.EIO}


@pytest.mark.promise("S-6")
@pytest.mark.fuse
def test_blank_tiles_stand_for_damage_when_asked_for(harmed: Mount, tmp_path: Path) -> None:
    done = command(
        "export", harmed.source / "a", tmp_path / "out", "--damaged", "blank", home=tmp_path
    )
    assert done.returncode == 0, done.stderr
    done = command("export", harmed.source / "a", tmp_path / "other", home=tmp_path)
    assert done.returncode == 1
    assert "missing or damaged" in done.stderr
    assert "--damaged blank" in done.stderr
    assert not list((tmp_path / "other").rglob("*.svs"))
    assert not list((tmp_path / "other").rglob("*.partial"))
