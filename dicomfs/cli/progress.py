"""Progress: bars in a terminal, lines of JSON for scripts."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_SECONDS = 0.5


class Scanning:
    """Takes the number of files looked at and, once known, of all files.  Any thread may call."""

    def __call__(self, done: int, total: int | None) -> None:
        """Show it."""

    def end(self) -> None:
        """Take the bar away."""


class _Bar(Scanning):
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None
        self._ended = False

    def __call__(self, done: int, total: int | None) -> None:
        if self._ended:
            return
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("Reading headers", total=None)
        self._bar.update(self._task, completed=done, total=total)

    def end(self) -> None:
        self._ended = True
        self._bar.stop()


class _Lines(Scanning):
    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if done != total and now - self._said < _LINE_SECONDS:
            return
        self._said = now
        click.echo(json.dumps({"event": "progress", "done": done, "total": total}))


@contextlib.contextmanager
def scanning(*, lines: bool = False) -> Iterator[Scanning]:
    """A bar in a terminal; nothing elsewhere.

    lines : JSON lines on standard output instead
    """
    if lines:
        yield _Lines()
        return
    if not sys.stderr.isatty():
        yield Scanning()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
    )
    bar = _Bar(Progress(*columns, console=Console(stderr=True), transient=True))
    try:
        yield bar
    finally:
        bar.end()


@contextlib.contextmanager
def copying(total_bytes: int) -> Iterator[Callable[[str, int], None]]:
    """Takes the name of the file being copied and how many more bytes of it are done."""
    if not sys.stderr.isatty():
        yield lambda name, more: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total_bytes)
        yield lambda name, more: bar.update(task, description=name, advance=more)
