"""Export every folder of slides in all flavours, compare it with every reader, write the table.

The judges are those of `tests.oracles`, which know nothing of dicomfs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.oracles.compare_data import compare, reading_with
from tests.oracles.comparison import Row
from tests.oracles.dicom_series import find_series
from tests.oracles.opened import Reader

OUTPUT = Path(__file__).parents[2] / "docs" / "compatibility.md"
FLAVOURS = ("svs", "ome", "tiff")

INTRODUCTION = """\
# Compatibility

What each reader makes of the virtual TIFFs of a collection of slides: files from public
repositories, and slides written by wsidicomizer, OrthancWSI, dcmtk, highdicom and pydicom. Written
by `scripts/compatibility` on {date}; not edited.

`=` all levels are there and every pixel equals the frame decoded alone. A number is a note below:
the reader has a known limit there. `✗` something is wrong that nothing explains. `·` the slide is
not shown, and the note says why.
"""


@dataclass(frozen=True, slots=True)
class Line:
    """What one reader, or one check, makes of one file."""

    slide: str
    flavour: str
    row: Row


def folders(source: Path) -> Iterator[Path]:
    """The folders below `source` that hold files themselves."""
    for folder, _, files in sorted(os.walk(source)):
        if files:
            yield Path(folder)


def lines_of(source: Path, readers: Sequence[Reader]) -> Iterator[Line]:
    """Everything that is found out about the slides below `source`."""
    for folder in folders(source):
        if not find_series(folder):
            continue
        name = str(folder.relative_to(source))
        print(name, file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="dicomfs-compatibility.") as place:
            words = [word for flavour in FLAVOURS for word in ("--flavour", flavour)]
            command = [sys.executable, "-m", "dicomfs", "-q", "export", str(folder), place]
            subprocess.run([*command, *words], check=False, stdin=subprocess.DEVNULL)
            _add_rejections(folder, Path(place))
            for uid, flavour, row in compare(Path(place), folder, readers):
                yield Line(f"{name} …{uid[-6:]}", flavour, row)


def _add_rejections(folder: Path, tree: Path) -> None:
    """Put what is not shown where a mount has it, which an export leaves out."""
    command = [sys.executable, "-m", "dicomfs", "inspect", "--json", str(folder)]
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    target = tree / ".dicomfs" / "rejected.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(json.loads(done.stdout)["rejected"]), encoding="utf-8")


def table(lines: Sequence[Line], readers: Sequence[str]) -> str:
    """The table and its notes in Markdown."""
    notes: dict[str, int] = {}
    slides: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        if line.flavour not in (*FLAVOURS, "-"):
            continue
        if line.flavour == "-" and line.row.subject != "-":
            continue  # what OpenSlide makes of the DICOM files
        cells = slides.setdefault((line.slide, line.flavour), {})
        cells[line.row.subject] = cell(line.row, notes)
    head = "| slide | flavour | " + " | ".join(readers) + " |"
    rows = [head, "|---" * (2 + len(readers)) + "|"]
    for (slide, flavour), cells in slides.items():
        if "-" in cells:
            rows.append(f"| {slide} | – | " + " | ".join([cells["-"]] * len(readers)) + " |")
        else:
            shown = " | ".join(cells.get(reader, "") for reader in readers)
            rows.append(f"| {slide} | {flavour} | {shown} |")
    listed = [f"{number}. {text}" for text, number in notes.items()]
    return "\n".join([*rows, "", "## Notes", "", *listed, ""])


def cell(row: Row, notes: dict[str, int]) -> str:
    """One cell of the table; explanations become notes."""
    numbers = [
        str(notes.setdefault(f"{row.subject}: {text}" if row.subject != "-" else text,
                             len(notes) + 1))
        for text in dict.fromkeys(row.wrong or row.explained)
    ]  # fmt: skip
    if row.wrong:
        return "✗ " + " ".join(numbers)
    if row.subject == "-":
        return "· " + " ".join(numbers)
    return " ".join(numbers) or "="


def main() -> int:
    """The command; exit code 1 where something is wrong that nothing explains."""
    parser = argparse.ArgumentParser(prog="scripts/compatibility", description=__doc__)
    parser.add_argument("source", type=Path, metavar="SLIDES")
    parser.add_argument("--reader", action="append", default=[], help="only this reader")
    options = parser.parse_args()
    with reading_with(options.reader) as readers:
        lines = list(lines_of(options.source.resolve(), readers))
        names = [reader.name for reader in readers]
    introduction = INTRODUCTION.format(date=datetime.now(UTC).date().isoformat())
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(f"{introduction}\n{table(lines, names)}", encoding="utf-8")
    wrong = [line for line in lines if line.row.wrong]
    print(f"{OUTPUT}: {len(lines)} comparisons, {len(wrong)} wrong", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
