"""scripts/bench runs, reports ratios in the form that docs/performance.md promises, leaves nothing.

How large the ratios are is not for a test to say: that depends on the machine and on who else is
using it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "scripts" / "bench"

needs_fuse = pytest.mark.skipif(
    not os.path.exists("/dev/fuse"), reason="/dev/fuse is missing: NO BENCHMARK WAS RUN"
)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BENCH, *arguments],
        env={**os.environ, "BENCH_PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@needs_fuse
@pytest.mark.fuse
def test_quick_run_of_one_section(tmp_path: Path) -> None:
    work, file = tmp_path / "work", tmp_path / "report.json"
    work.mkdir()
    done = run("read", "--quick", "--size", "0.02", "--dir", work, "--json", file)
    assert done.returncode == 0, done.stderr

    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert report["schema"] == 1
    assert report["quick"] is True
    assert {"cpu", "kernel", "storage", "load"} <= set(report["machine"])
    assert {row["section"] for row in report["rows"]} == {"read"}
    whats = [(row["what"], row["against"]) for row in report["rows"]]
    assert len(set(whats)) == len(whats)
    for row in report["rows"]:
        assert all(row[name] > 0 for name in ("ours", "peer", "low", "ratio", "high")), row
        assert math.isfinite(row["high"])
        assert row["low"] <= row["ratio"] <= row["high"], row
        reached = None if row["bar"] is None else row["ratio"] >= row["bar"]
        assert row["reached"] is reached
    compared = {row["against"] for row in report["rows"]}
    assert "bindfs" in compared or any("bindfs" in sentence for sentence in report["skipped"])

    assert not list(work.iterdir())
    assert os.fspath(work) not in Path("/proc/self/mountinfo").read_text()


def test_unknown_section_is_refused() -> None:
    done = run("reed")
    assert done.returncode == 2
    sections = "read, tiles, open, convert, scan, remount, hang, growth"
    assert f"'reed' is none of {sections}" in done.stderr
