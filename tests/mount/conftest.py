"""One mount of every series of the catalogue, in all flavours, for all tests of this folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import WrittenSeries
from tests.fixtures.catalogue import CASES
from tests.fixtures.series import Series

FLAVOURS = ("svs", "ome", "tiff")
PATIENCE = 120


@dataclass(frozen=True, slots=True)
class MountedCase:
    """A series and its virtual files: `files` by flavour, `summary` the content of its JSON."""

    series: Series
    files: dict[str, Path]
    summary: Path


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount: what lies below `source` shown at `point`."""

    source: Path
    point: Path

    def cases(self) -> dict[str, Path]:
        """The JSON file of every slide, by Series Instance UID."""
        found = {}
        for path in self.point.rglob("*.json"):
            if ".dicomfs" not in path.parts:
                content = json.loads(path.read_bytes())
                if "series_instance_uid" in content:
                    found[content["series_instance_uid"]] = path
        return found


def command(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run `dicomfs` as a user would; nothing is written outside of `home`."""
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    return subprocess.run(
        [sys.executable, "-m", "dicomfs", *map(str, arguments)],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def mounted(source: Path, home: Path, *options: str) -> Iterator[Mount]:
    """Mount in a process of its own; unmounted in any case."""
    if not Path("/dev/fuse").exists():
        warnings.warn("there is no /dev/fuse: nothing was mounted", stacklevel=2)
        pytest.skip("there is no /dev/fuse")
    point = home / "mountpoint"
    point.mkdir(parents=True)
    done = command("mount", source, point, "--wait", str(PATIENCE), *options, home=home)
    assert done.returncode == 0, done.stderr
    try:
        yield Mount(source, point)
    finally:
        ended = command("unmount", point, home=home)
        if ended.returncode:
            subprocess.run(["umount", "-l", point], check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="session")
def mount_of_all(
    written: WrittenSeries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    """Every series of the catalogue below one source."""
    home = tmp_path_factory.mktemp("all")
    source = home / "source"
    for case in CASES:
        shutil.copytree(written(case.id).directory, source / case.id)
    options = [word for flavour in FLAVOURS for word in ("--flavour", flavour)]
    yield from mounted(source, home, *options)


@pytest.fixture(scope="session")
def cases(mount_of_all: Mount, written: WrittenSeries) -> dict[str, MountedCase]:
    """What is shown of each case; cases that are not shown are not in it."""
    by_uid = mount_of_all.cases()
    found = {}
    for case in CASES:
        series = written(case.id)
        summary = by_uid.get(series.series_uid)
        if summary is None:
            continue
        files = {
            facts["flavour"]: summary.parent / name
            for name, facts in json.loads(summary.read_bytes())["files"].items()
        }
        found[case.id] = MountedCase(series, files, summary)
    return found
