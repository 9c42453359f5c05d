"""Small slides for the tests of this package: written once, copied where they are changed."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import WrittenSeries

PLAIN = "jpeg-420-jfif"
OTHER = "native-rgb8"


def put(written: WrittenSeries, case: str, folder: Path) -> list[Path]:
    """Copy the files of a series into a folder; returns them."""
    shutil.copytree(written(case).directory, folder, dirs_exist_ok=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())
