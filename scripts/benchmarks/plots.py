"""Draws the rows of the section `growth`: a picture for what each of them grows with.

The one job: rows to SVG files. Needs matplotlib, which nothing else does.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import FACTORS, Row


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write a picture for each kind of row that has a place on an axis; returns their paths.

    Raises ImportError without matplotlib.
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    # Text stays text, and the same rows make the same file.
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dicomfs"})
    kinds = dict.fromkeys(row.at[0] for row in rows if row.at is not None)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in kinds:
        steps = [(row.at[1], row) for row in rows if row.at is not None and row.at[0] == kind]
        first = steps[0][1]
        factor, unit = FACTORS[first.unit]
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        counts = [count for count, _ in steps]
        for label, values in (
            ("dicomfs", [row.comparison.ours * factor for _, row in steps]),
            (first.against, [row.comparison.peer * factor for _, row in steps]),
        ):
            axes.plot(counts, values, marker="o", label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(kind)
        axes.set_ylabel(unit)
        axes.set_title(first.what.split(": ", 1)[1])
        axes.grid(alpha=0.3)
        axes.legend()
        path = folder / f"growth-{kind}.svg"
        figure.savefig(path, metadata={"Date": None})
        written.append(path)
    return written
