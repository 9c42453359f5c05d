"""Skips what needs FUSE where there is none, and says so loudly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuse.archive_fixture import make_source
from tests.fuse.mounted import Mounted, mounted

HAS_FUSE = os.path.exists("/dev/fuse")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("fuse") and not HAS_FUSE:
        pytest.skip("/dev/fuse is missing: NO MOUNT WAS TESTED")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not HAS_FUSE:
        terminalreporter.section("/dev/fuse is missing: NO MOUNT WAS TESTED", red=True, bold=True)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source directory, not to be written to."""
    folder = tmp_path_factory.mktemp("source")
    make_source(folder)
    return folder


@pytest.fixture
def point(tmp_path: Path) -> Path:
    """An empty directory to mount at."""
    folder = tmp_path / "mountpoint"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def mount(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """A mount that all tests of a module share; it must end cleanly after the last."""
    if not HAS_FUSE:
        pytest.skip("/dev/fuse is missing: NO MOUNT WAS TESTED")
    with mounted(source, tmp_path_factory.mktemp("shared")) as shared:
        yield shared
