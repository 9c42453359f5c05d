"""A minute of `scripts/soak`: right bytes, explained errors, and a clean end.

How memory grows is judged in longer runs of the script, not here.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.fuse.mounted import ROOT

pytestmark = [pytest.mark.fuse, pytest.mark.promise("S-10")]


def test_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    soaking = importlib.import_module("soaking.__main__")
    try:
        record = soaking.soak(1.0, tmp_path)
    finally:
        for name in ("soaking", "soaking.__main__"):
            sys.modules.pop(name, None)
    assert record.wrong == []
    assert record.reads > 0
    assert record.changes > 0
