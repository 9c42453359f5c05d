"""Compare a tree of virtual files with the DICOM folder it shows, under every reader there is.

    python -m tests.oracles.compare_data MOUNT_OR_DIR SOURCE [--reader NAME]... [--series UID]...

MOUNT_OR_DIR is a mount of dicomfs or an export. Each `<slide>.json` in it names its series and its
files; the series are read anew from SOURCE. Prints one line for each file and reader. The exit code
is 0 if every line is exact or explained by a known limit of the reader, else 1.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.oracles import bioformats
from tests.oracles.comparison import Row, Truth, compare_file, kind_of, truth_of
from tests.oracles.dicom_series import Series, find_series
from tests.oracles.dicom_slides import AssemblyFailed, assemble_associated, open_with_openslide
from tests.oracles.frame_decoders import decode_with_pillow
from tests.oracles.known_limits import Facts, read_facts
from tests.oracles.opened import Opened, Reader, ReaderFailed, difference
from tests.oracles.readers import OPENSLIDE, READERS, available_readers
from tests.oracles.tiff_directories import walk
from tests.oracles.tiff_structure import problems
from tests.oracles.virtual_bytes import tile_reports

_DEVIATIONS: Final = frozenset({"tile-multiple-of-16", "resolution-tag"})
"""Kept on purpose: a tile has the size of the frame, and all readers but libvips take it; an image
whose pixel size the source does not tell has no resolution. That of the levels is compared."""

_TIFF_FLAVOURS: Final = frozenset({"svs", "ome", "tiff"})
_REENCODED_MEAN: Final = 8.0
"""Mean difference that an associated image made anew as JPEG stays below."""

_SHOWN_PROBLEMS: Final = 5


@dataclass(frozen=True, slots=True)
class VirtualFile:
    """One TIFF of the tree as its slide's JSON declares it; sizes in bytes."""

    path: Path
    series_uid: str
    flavour: str
    size: int


def find_virtual_files(tree: Path) -> list[VirtualFile]:
    """From the JSON beside each slide: `series_instance_uid` and `files`."""
    found: list[VirtualFile] = []
    for at, directories, names in os.walk(tree):
        directories.sort()
        for name in sorted(names):
            if not name.endswith(".json") or name.endswith(".dicom.json"):
                continue
            content = _json(Path(at, name))
            if not isinstance(content, dict) or "series_instance_uid" not in content:
                continue
            for file, facts in content.get("files", {}).items():
                if facts.get("flavour") in _TIFF_FLAVOURS | {"jpeg"}:
                    uid, flavour = str(content["series_instance_uid"]), str(facts["flavour"])
                    found.append(VirtualFile(Path(at, file), uid, flavour, int(facts["size"])))
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _mentions(content: Any, wanted: frozenset[str]) -> Any:
    """The innermost object that holds one of the strings, None if there is none."""
    inner = content.values() if isinstance(content, dict) else content
    if not isinstance(content, dict | list):
        return None
    for value in inner:
        found = _mentions(value, wanted)
        if found is not None:
            return found
    strings = {str(value) for value in inner} | (
        set(content) if isinstance(content, dict) else set()
    )
    hit = any(string.endswith(one) for string in strings for one in wanted)
    return content if hit and isinstance(content, dict) else None


def rejection(tree: Path, series: Series) -> str | None:
    """What `.dicomfs/rejected.json` says of a series or of one of its files."""
    instances = [one for level in series.levels for copies in level.candidates for one in copies]
    instances += [one for copies in series.associated.values() for one in copies]
    wanted = frozenset({series.uid} | {one.path.name for one in instances})
    found = _mentions(_json(tree / ".dicomfs" / "rejected.json"), wanted)
    return None if found is None else json.dumps(found, ensure_ascii=False)[:300]


# ------------------------------------------------------------------ lines


def _structure_row(file: VirtualFile) -> Row:
    row = Row("structure")
    actual = file.path.stat().st_size
    if actual != file.size:
        row.wrong.append(f"{actual} bytes, {file.size} declared")
    found = problems(file.path, allowed=_DEVIATIONS)
    row.wrong.extend(map(str, found[:_SHOWN_PROBLEMS]))
    if len(found) > _SHOWN_PROBLEMS:
        row.wrong.append(f"and {len(found) - _SHOWN_PROBLEMS} more")
    return row


def _bytes_row(file: VirtualFile, truth: Truth) -> Row:
    """Tiles that are frames must be so throughout; tiles made anew are judged by their pixels."""
    row = Row("bytes")
    reports = tile_reports(file.path, [level.paths for level in truth.levels])
    passed = [report for report in reports if report.passed_through]
    row.levels = f"{len(passed)}/{len(reports)}"
    tiles = sum(report.tiles for report in passed)
    row.pixels = f"{tiles} tiles as is" if passed else "decoded"
    for report in reports:
        if report.equal and not report.passed_through:
            text = f"{report.equal} of {report.tiles} tiles are frames"
            row.wrong.append(f"{report.where}: {text}, not tile {report.first_difference}")
    return row


def _on_dicom(series: Series) -> tuple[Opened | None, Row]:
    row = Row("openslide on .dcm")
    if not OPENSLIDE.available():
        row.pixels = "not installed"
        return None, row
    paths = [path for level in series.levels for path in level.paths]
    try:
        opened = open_with_openslide(paths)
    except ReaderFailed as error:
        row.pixels = f"refused: {error}"[:120]
        return None, row
    row.levels = f"{len(opened.levels)}/{len(series.levels)}"
    row.mpp = "" if opened.mpp is None else f"{opened.mpp[0]:.4f} {opened.mpp[1]:.4f}"
    row.objective = "" if opened.objective is None else f"{opened.objective:g}"
    return opened, row


def _picture_row(file: VirtualFile, series: Series) -> Row:
    """A `.jpg` beside the slide: an associated image, as it is or made anew."""
    row = Row("picture")
    actual = file.path.stat().st_size
    if actual != file.size:
        row.wrong.append(f"{actual} bytes, {file.size} declared")
    kind = kind_of(file.path.name)
    try:
        seen = decode_with_pillow(file.path.read_bytes())
        truths = [assemble_associated(one.path) for one in series.associated.get(kind or "", ())]
    except (OSError, AssemblyFailed) as error:
        row.wrong.append(f"{type(error).__name__}: {error}")
        return row
    found = [difference(seen, truth) for truth in truths]
    if not found:
        # Without a thumbnail in the series one may be made of a level.
        (row.explained if kind == "thumbnail" else row.wrong).append("not in the series")
        return row
    best = min(found, key=lambda one: (one.maximum is None, one.mean))
    row.pixels = str(best)
    if best.maximum is None or best.mean >= _REENCODED_MEAN:
        row.wrong.append(f"{kind}: {best}")
    elif not best.exact:
        row.explained.append("made anew as JPEG")
    return row


def file_rows(
    file: VirtualFile,
    series: Series,
    readers: Sequence[Reader],
    on_dicom: Opened | None,
    truths: dict[tuple[int, int], Truth],
) -> Iterator[Row]:
    """The structure, the tiles' bytes, then each reader. `truths` are kept by size of level 0."""
    if file.flavour == "jpeg":
        yield _picture_row(file, series)
        return
    try:
        yield _structure_row(file)
        facts: Facts = read_facts(file.path, file.flavour)
        size = walk(file.path).directories[0].size
        truth = truths.get(size) or truth_of(series, size)
    except (OSError, ValueError, AssemblyFailed) as error:
        yield Row("file", wrong=[f"{type(error).__name__}: {error}"])
        return
    if truth is None:
        yield Row("file", wrong=["its first image has the size of no level of the series"])
        return
    truths[size] = truth
    try:
        yield _bytes_row(file, truth)
    except AssemblyFailed as error:
        yield Row("bytes", wrong=[str(error)])
    for reader in readers:
        yield compare_file(file.path, reader, truth, facts, on_dicom)


def compare(
    tree: Path, source: Path, readers: Sequence[Reader], wanted: Sequence[str] = ()
) -> Iterator[tuple[str, str, Row]]:
    """(series, flavour, row) for every series of the source and every file of the tree.

    `wanted`: only series whose UIDs end so.
    """
    ends = tuple(wanted) or ("",)
    virtual = [file for file in find_virtual_files(tree) if file.series_uid.endswith(ends)]
    known = {uid: one for uid, one in find_series(source).items() if uid.endswith(ends)}
    for uid, series in known.items():
        files = [file for file in virtual if file.series_uid == uid]
        if not files:
            reason = rejection(tree, series)
            row = Row("-")
            (row.explained if reason else row.wrong).append(reason or "not shown, not rejected")
            yield uid, "-", row
            continue
        on_dicom = None
        if series.levels:
            on_dicom, row = _on_dicom(series)
            yield uid, "-", row
        truths: dict[tuple[int, int], Truth] = {}
        for file in files:
            for row in file_rows(file, series, readers, on_dicom, truths):
                yield uid, file.flavour, row
    for file in virtual:
        if file.series_uid not in known:
            row = Row("file", wrong=[f"{file.path.name}: its series is not in the source"])
            yield file.series_uid, file.flavour, row


@contextlib.contextmanager
def reading_with(wanted: Sequence[str]) -> Iterator[list[Reader]]:
    """Those asked for, which must be there, or all that are; Bio-Formats with its server."""
    named = [name for name in wanted if name != "bioformats"]
    chosen = available_readers(named) if named or not wanted else []
    absent = {name: READERS[name].missing() for name in named}
    if "bioformats" in wanted:
        absent["bioformats"] = bioformats.missing()
    for name, reason in absent.items():
        if reason is not None:
            raise SystemExit(f"{name}: {reason}")
    if not wanted:
        candidates = {name: reader.missing() for name, reader in READERS.items()}
        for name, reason in {**candidates, "bioformats": bioformats.missing()}.items():
            if reason is not None:
                print(f"not run: {name}: {reason}")
    if bioformats.missing() is None and ("bioformats" in wanted or not wanted):
        with bioformats.running() as server:
            yield [*chosen, bioformats.reader(server)]
    else:
        yield chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="compare_data", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("tree", type=Path, metavar="MOUNT_OR_DIR")
    parser.add_argument("source", type=Path, metavar="SOURCE")
    names = (*READERS, "bioformats")
    parser.add_argument("--reader", action="append", default=[], choices=names)
    parser.add_argument("--series", action="append", default=[], metavar="END_OF_UID")
    options = parser.parse_args(arguments)
    rows = wrong = 0
    line = "{:18} {:7} {:18} {:7} {:24} {:18} {:5} {}"
    columns = ("series", "flavour", "reader", "levels", "pixels", "mpp", "obj", "verdict")
    with reading_with(options.reader) as readers:
        print(line.format(*columns))
        found = compare(options.tree, options.source, readers, options.series)
        for uid, flavour, row in found:
            shown = (uid[-18:], flavour, row.subject, row.levels, row.pixels, row.mpp)
            print(line.format(*shown, row.objective, row.verdict), flush=True)
            rows, wrong = rows + 1, wrong + bool(row.wrong)
    print(f"{rows} lines, {wrong} wrong")
    if rows == 0:
        print("nothing to compare: no slide in the source")
        return 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
