"""Listing again and again takes no more memory, and every handle comes back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import WrittenSeries
from tests.fuse import mounted as mounting
from tests.fuse.mounted import process_of, wait_for
from tests.semantics.crowded_fixture import FILES, FOLDERS
from tests.semantics.serving import copy, serving

pytestmark = [pytest.mark.fuse, pytest.mark.promise("S-9")]

MOST_GROWTH = 5 * 1024 * 1024


def memory(pid: int) -> int:
    """Resident memory of a process, bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_the_third_walk_takes_no_more_memory(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "tests.semantics.crowded_fixture"]
    monkeypatch.setattr(mounting, "COMMAND", command)
    with mounting.mounted(source, tmp_path) as mount:
        sizes = []
        for _ in range(3):
            walked = subprocess.run(
                ["find", mount.point, "-size", "+0", "-print"], stdout=subprocess.PIPE, check=True
            )
            assert walked.stdout.count(b"\n") >= FILES
            assert walked.stdout.count(b"\n") <= FILES + FOLDERS + 1
            sizes.append(memory(mount.process.pid))
        assert sizes[2] - sizes[1] <= MOST_GROWTH


def test_every_handle_comes_back(written: WrittenSeries, tmp_path: Path) -> None:
    copy(written, "jpeg-main", tmp_path / "source" / "a")
    with serving(tmp_path / "source", tmp_path) as mount:
        process = process_of(mount.point)
        assert process is not None
        descriptors = Path(f"/proc/{process.pid}/fd")
        for path in mount.files():
            path.read_bytes()
        settled = len(list(descriptors.iterdir()))
        for _ in range(20):
            handles = [os.open(path, os.O_RDONLY) for path in mount.files()]
            for handle in handles:
                os.pread(handle, 10, 0)
                os.close(handle)
        # The kernel tells of a closed file a moment later.
        wait_for(lambda: len(list(descriptors.iterdir())) <= settled)
        wait_for(lambda: _open(mount.point) == (0, 0))


def _open(point: Path) -> tuple[int, int]:
    """Open files, without the one that tells, and open directories."""
    content = json.loads((point / ".dicomfs" / "status.json").read_bytes())["mount"]
    return content["open_files"], content["open_directories"]
