"""Very many files are listed by another process, and nobody can tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dicomfs.errors import SourceError
from dicomfs.source import listing_apart
from dicomfs.source.local import LocalDirectory
from dicomfs.source.protocol import Problem, SourceObject


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for folder in ("a", "b/c", "mountpoint"):
        (root / folder).mkdir(parents=True)
        for name in ("1.dcm", "ü\n.dcm", os.fsdecode(b"\xff.dcm")):
            (root / folder / name).write_bytes(b"x" * len(folder))
    (root / "b" / "link").symlink_to(tmp_path)
    return root


def listed(root: Path) -> tuple[list[SourceObject], tuple[Problem, ...]]:
    source = LocalDirectory(root, exclude=root / "mountpoint")
    return list(source.objects()), source.problems


@pytest.mark.parametrize("few", [0, 1, 5, 6])
def test_the_same_is_found(root: Path, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    objects, problems = listed(root)
    assert len(objects) == 6
    assert len(problems) == 1
    started = []
    popen = subprocess.Popen

    def start(command: list[str], **options: object) -> object:
        started.append(command)
        return popen(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(listing_apart, "_FEW", few)
    monkeypatch.setattr(listing_apart, "_TOGETHER", 4)
    monkeypatch.setattr(subprocess, "Popen", start)
    assert listed(root) == (objects, problems)
    assert len(started) == 1


@pytest.mark.parametrize("program", ["/bin/false", "/does/not/exist"])
def test_no_process_is_needed(root: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = listed(root)
    monkeypatch.setattr(listing_apart, "_FEW", 2)
    monkeypatch.setattr(sys, "executable", program)
    assert listed(root) == expected


def test_a_root_that_is_gone_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_apart, "_FEW", 0)
    source = LocalDirectory(root)
    root.rename(root.parent / "elsewhere")
    with pytest.raises(SourceError):
        list(source.objects())
