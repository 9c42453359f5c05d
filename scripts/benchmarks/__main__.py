"""The command line of scripts/bench: measure sections, show them, leave nothing behind."""

import argparse
import contextlib
import importlib
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console

from benchmarks import machine, plan
from benchmarks.mounts import mounts_below
from benchmarks.report import Report, as_json, print_report

SECTIONS: Final = {
    "read": "benchmarks.reading",
    "tiles": "benchmarks.tiles",
    "open": "benchmarks.opening",
    "convert": "benchmarks.converting",
    "scan": "benchmarks.scanning",
    "remount": "benchmarks.remounting",
    "hang": "benchmarks.hanging",
    "growth": "benchmarks.growth",
}


def main() -> int:
    arguments = _parser().parse_args()
    if not Path("/dev/fuse").exists():
        print("bench: there is no /dev/fuse: nothing can be mounted here", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    console, progress = Console(), Console(stderr=True)
    with _work_folder(arguments.dir) as work:
        report = Report(machine.describe(work), arguments.quick)

        def say(sentence: str) -> None:
            progress.print(f"[dim]{sentence}[/]", highlight=False)

        make = plan.quick if arguments.quick else plan.full
        sizes = make(work, say, report.skipped.append)
        if arguments.size is not None:
            sizes = plan.sized(sizes, arguments.size)
        failed = False
        for section in arguments.sections or SECTIONS:
            begun = time.monotonic()
            say(f"{section} …")
            try:
                report.add(importlib.import_module(SECTIONS[section]).measure(sizes))
            except Exception:
                # The other sections can be measured all the same.
                traceback.print_exc()
                failed = True
            _remove(work.iterdir())
            say(f"{section}: {time.monotonic() - begun:.0f} s")
    print_report(report, console)
    if arguments.json:
        arguments.json.write_text(as_json(report), encoding="utf-8")
    if arguments.plots:
        failed |= not _plotted(report, arguments.plots)
    return 1 if failed or (arguments.strict and report.missed) else 0


def _plotted(report: Report, folder: Path) -> bool:
    """Draw what grows; False, and a sentence, where nothing can draw."""
    from benchmarks.plots import draw

    try:
        draw(report.rows, folder)
    except ImportError:
        print("bench: matplotlib is not installed, so nothing was drawn", file=sys.stderr)
        return False
    return True


def _end(number: int, frame: FrameType | None) -> None:
    """Let a signal end the run the way an error does: with everything unmounted and removed."""
    sys.exit(128 + number)


@contextlib.contextmanager
def _work_folder(parent: Path | None) -> Iterator[Path]:
    """A folder for all that is written, temporary files of others included."""
    work = Path(tempfile.mkdtemp(prefix="dicomfs-bench-", dir=parent)).resolve()
    tempfile.tempdir = str(work)
    try:
        yield work
    finally:
        _remove([work])


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        left = mounts_below(folder)
        if left:
            # Never delete through a mount.
            print(f"bench: still mounted: {', '.join(left)}; {folder} is kept", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measure dicomfs against what people would use instead, in turns. Every ratio"
        " is above 1 where dicomfs is better. See docs/performance.md.",
    )
    parser.add_argument(
        "sections",
        nargs="*",
        type=_section,
        metavar="SECTION",
        help=f"what to measure, of {', '.join(SECTIONS)}; everything if none is named",
    )
    parser.add_argument("--quick", action="store_true", help="small slides, less than a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="FOLDER",
        help="draw the section growth there, as SVG (needs matplotlib)",
    )
    parser.add_argument(
        "--size",
        type=float,
        metavar="GB",
        help="of the slide that `read` reads (1.1; with --quick 0.2)",
    )
    parser.add_argument(
        "--dir",
        type=Path,
        metavar="FOLDER",
        help="where a folder for the slides is made, up to 4 GB (the system's temporary folder)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit code 1 if a ratio stays below its bar"
    )
    return parser


def _section(name: str) -> str:
    # argparse of Python 3.11 cannot have choices for arguments that may be absent.
    if name not in SECTIONS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SECTIONS)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
