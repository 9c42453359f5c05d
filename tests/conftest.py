"""What the tests of several packages share: the series of the catalogue, each written once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fixtures.catalogue import BY_ID
from tests.fixtures.series import Series
from tests.fixtures.wsm import write_series

# The same examples every time, however busy the machine.
settings.register_profile("suite", deadline=None, derandomize=True, database=None)
settings.load_profile("suite")


class WrittenSeries:
    """The series of `tests.fixtures.catalogue`, written when they are first asked for.

    Their files belong to all tests: whoever wants to change one works on a copy.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: dict[str, Series] = {}

    def __call__(self, case_id: str) -> Series:
        """The series of a case, in a directory of its own."""
        known = self._written.get(case_id)
        if known is None:
            known = write_series(self._directory / case_id, BY_ID[case_id].spec)
            self._written[case_id] = known
        return known


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> WrittenSeries:
    return WrittenSeries(tmp_path_factory.mktemp("written"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's cache directory is seen or changed."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before
