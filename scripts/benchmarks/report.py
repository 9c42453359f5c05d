"""What was measured, as rows with a ratio and a bar: for people as a table, for machines as JSON.

The one job: `Row`, `Report` and their two presentations. Knows nothing of how rows come about.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.comparison import Better, Comparison, compared

SCHEMA: Final = 1

FACTORS: Final[dict[str, tuple[float, str]]] = {
    "bytes/s": (1e-6, "MB/s"),
    "bytes": (2**-20, "MiB"),
    "µs": (1.0, "µs"),
    "seconds": (1.0, "s"),
    "tiles/s": (1.0, "tiles/s"),
    "regions/s": (1.0, "regions/s"),
    "instances/s": (1.0, "instances/s"),
    "entries/s": (1.0, "entries/s"),
}
"""Factor and name under which each unit is shown."""

_SHORT_SECONDS: Final = 0.1  # less is shown in ms


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured.

    what: was measured. against: what it is compared with. unit: of both values.
    bar: the ratio that should be reached; None where the peer does something else, and the ratio
      only tells the size of the difference.
    at: what the figure grows with, and how many of these there are, for a plot.
    """

    section: str
    what: str
    against: str
    unit: str
    comparison: Comparison
    bar: float | None = None
    at: tuple[str, int] | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the ratio reaches the bar; None without one."""
        return None if self.bar is None else self.comparison.ratio >= self.bar


def against_bar(
    section: str, what: str, unit: str, values: Sequence[float], bar: float, better: Better
) -> Row:
    """A row for what is compared with a figure, in the same unit, as there is no peer."""
    found = compared(values, [bar] * len(values), better)
    return Row(section, what, "the bar that was set", unit, found, bar=1.0)


@dataclasses.dataclass(slots=True)
class Report:
    """Everything a run has found out. skipped: sentences on what was not measured, and why."""

    machine: dict[str, Any]
    quick: bool
    rows: list[Row] = dataclasses.field(default_factory=list)
    skipped: list[str] = dataclasses.field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """Take over rows as they come, so that those before a failure are kept."""
        for row in rows:
            self.rows.append(row)

    @property
    def missed(self) -> list[Row]:
        """The rows that stay below their bars."""
        return [row for row in self.rows if row.reached is False]


def as_json(report: Report) -> str:
    """The report as JSON; values in the units that each row names, ratios above 1 better."""
    rows = []
    for row in report.rows:
        plain = dataclasses.asdict(row)
        plain |= plain.pop("comparison")
        rows.append(plain | {"reached": row.reached})
    document = {
        "schema": SCHEMA,
        "machine": report.machine,
        "quick": report.quick,
        "rows": rows,
        "skipped": report.skipped,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def print_report(report: Report, console: Console) -> None:
    """The report as tables, one for each section."""
    for name, value in report.machine.items():
        console.print(f"[dim]{name:>9}[/]  {value}", highlight=False)
    for section in dict.fromkeys(row.section for row in report.rows):
        console.print()
        console.print(_table(section, [row for row in report.rows if row.section == section]))
    for sentence in report.skipped:
        console.print(f"[yellow]not measured:[/] {escape(sentence)}", highlight=False)


def _table(section: str, rows: list[Row]) -> Table:
    table = Table(title=section, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("measured", ratio=3)
    table.add_column("dicomfs", justify="right", no_wrap=True)
    table.add_column("peer", justify="right", no_wrap=True)
    table.add_column("compared with", ratio=2)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("quartiles", justify="right", no_wrap=True)
    table.add_column("bar", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> Iterator[str]:
    found = row.comparison
    yield row.what
    yield _with_unit(found.ours, row.unit)
    yield _with_unit(found.peer, row.unit)
    yield row.against
    colour = {None: "default", True: "green", False: "red"}[row.reached]
    yield f"[{colour}]{_figure(found.ratio)}[/]"
    yield f"{_figure(found.low)}–{_figure(found.high)}"
    yield "" if row.bar is None else f"{row.bar:g}"


def _with_unit(value: float, unit: str) -> str:
    factor, name = FACTORS[unit]
    if unit == "seconds" and value < _SHORT_SECONDS:
        factor, name = 1000.0, "ms"
    return f"{_figure(value * factor)} {name}"


def _figure(value: float) -> str:
    """About three significant digits, and all those before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
