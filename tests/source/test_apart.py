"""What other processes write, and what becomes of those that nobody waits for."""

from __future__ import annotations

import subprocess
import time

import pytest

from dicomfs.source import apart

PROGRAM = "tests.source.apart_program"


def test_all_that_is_written_comes_back() -> None:
    assert apart.output_of(PROGRAM, "end") == b"x" * 3_000_000


def test_what_fails_has_written_nothing() -> None:
    assert apart.output_of(PROGRAM, "fail") is None


def test_a_process_ends_when_nobody_wants_to_know_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = apart.start

    def noted(module: str, *arguments: str) -> subprocess.Popen[bytes]:
        started.append(start(module, *arguments))
        return started[-1]

    monkeypatch.setattr(apart, "start", noted)
    until = time.monotonic() + 0.5
    assert apart.output_of(PROGRAM, "go on", stopped=lambda: time.monotonic() > until) is None
    assert time.monotonic() < until + 20
    (process,) = started
    assert process.poll() is not None
