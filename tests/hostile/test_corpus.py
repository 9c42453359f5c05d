"""Every file of the corpus becomes what it has to, at a bounded cost, and harms no neighbour.

The bounds are of processor time and memory, not of the time of day: a loaded machine passes too.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.archive.whole_file import expected_file
from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import BY_ID
from tests.fuse.mounted import process_of
from tests.hostile.corpus_files import CORPUS, HostileCase, write_case
from tests.mount.conftest import Mount, mounted

ROOT: Final = Path(__file__).parents[2]
MOST_SECONDS: Final = 2.0
MOST_BYTES: Final = 64 * 1024 * 1024
MOST_BYTES_READING: Final = 256 * 1024 * 1024
SHARDS: Final = 2
HEALTHY: Final = "j2k-ycbcr"
NEIGHBOURS: Final = ("jpeg-444-jfif", "native-grey16", "jpegls-grey8")
EXPECTED_ERRORS: Final = {errno.EIO}


@pytest.fixture(scope="module")
def written_corpus(
    written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A directory with a directory for each case; gone afterwards, as it is large."""
    folder = tmp_path_factory.mktemp("hostile")
    for case in CORPUS:
        write_case(case, written, folder / case.id)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def outcomes(
    written_corpus: Path, written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What `tests.hostile.trial` says of each case."""
    shards = tmp_path_factory.mktemp("shards")
    for number, case in enumerate(CORPUS):
        shard = shards / str(number % SHARDS)
        shard.mkdir(exist_ok=True)
        (shard / case.id).symlink_to(written_corpus / case.id)
    healthy = written(HEALTHY).directory
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.trial", shard, healthy],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for shard in sorted(shards.iterdir())
    ]
    answers = [process.communicate()[0] for process in processes]
    lines = [json.loads(line) for answer in answers for line in answer.splitlines()]
    return {line["id"]: line for line in lines}


def test_the_corpus_is_large_and_of_every_kind() -> None:
    assert len(CORPUS) >= 150
    assert len({case.id for case in CORPUS}) == len(CORPUS)
    assert len({case.category for case in CORPUS}) >= 12


@pytest.mark.promise("S-11", "S-13", "S-14")
@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.id)
def test_it_becomes_what_it_has_to(case: HostileCase, outcomes: dict[str, dict[str, Any]]) -> None:
    found = outcomes[case.id]
    assert found["signal"] == 0
    assert found["unexpected"] == []
    assert found["outcome"] == case.expect
    assert found["cpu"] <= MOST_SECONDS
    assert found["memory"] <= MOST_BYTES
    assert found["reading"] <= MOST_BYTES_READING


@pytest.fixture(scope="module")
def besieged(
    written_corpus: Path, written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    """A mount of healthy series among all hostile files."""
    for name in NEIGHBOURS:
        shutil.copytree(written(name).directory, written_corpus / f"healthy-{name}")
    home = tmp_path_factory.mktemp("besieged")
    yield from mounted(written_corpus, home, "--no-watch")


@pytest.mark.fuse
@pytest.mark.promise("S-12", "S-24")
def test_a_mount_outlives_them_all_and_its_neighbours_stay_exact(
    besieged: Mount, written: WrittenSeries
) -> None:
    process = process_of(besieged.point)
    assert process is not None
    failures = set()
    count = 0
    for folder, _, names in os.walk(besieged.point):
        for name in names:
            try:
                Path(folder, name).read_bytes()
            except OSError as error:
                failures.add(error.errno)
            count += 1
    assert count > len(CORPUS)
    assert failures == EXPECTED_ERRORS
    assert process.runs()
    by_uid = besieged.cases()
    for name in NEIGHBOURS:
        summary = by_uid[written(name).series_uid]
        assert json.loads(summary.read_bytes())["warnings"] == []
        (path,) = [
            summary.parent / file
            for file, facts in json.loads(summary.read_bytes())["files"].items()
            if facts.get("flavour") in ("svs", "ome", "tiff")
        ]
        flavour = json.loads(summary.read_bytes())["files"][path.name]["flavour"]
        assert path.read_bytes() == expected_file(path, BY_ID[name], written(name), flavour)
    rejected = json.loads((besieged.point / ".dicomfs" / "rejected.json").read_bytes())
    assert {one["code"] for one in rejected} & {"internal"} == set()
    assert process.runs()
    # The log is calm: a line for each file and reason at most, and nothing that nobody foresaw.
    (log,) = (besieged.point.parent / "state" / "dicomfs").iterdir()
    lines = log.read_text().splitlines()
    assert not [line for line in lines if "Traceback" in line or " ERROR " in line]
    assert len(lines) <= 150
