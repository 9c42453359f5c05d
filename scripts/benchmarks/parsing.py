"""Parses DICOM files in a process of its own, to learn how long it takes and how much memory.

    python -m benchmarks.parsing READER PATH

READER is `dicomfs` (PATH is a folder), or of pydicom `headers` (the same) or `positions` (PATH is a
file of many frames). Prints as JSON the seconds it took, the bytes of memory that were used at the
most beyond what the libraries need, and how many slides, headers or frames there were. Libraries
are imported before the clock runs.
"""

import importlib
import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main() -> int:
    reader, path = sys.argv[1], Path(sys.argv[2])
    importlib.import_module("dicomfs" if reader == "dicomfs" else "pydicom")
    if reader == "dicomfs":
        importlib.import_module("dicomfs.archive")
    # The peak begins anew (proc_pid_clear_refs(5)).
    Path("/proc/self/clear_refs").write_text("5")
    before = _kibibytes("VmRSS")
    begun = time.perf_counter()
    count = READERS[reader](path)
    seconds = time.perf_counter() - begun
    # Of all processes that helped, the largest counts.
    helper = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    grown = max(1, _kibibytes("VmHWM") - before, helper - before) * 1024
    print(json.dumps({"seconds": seconds, "bytes": grown, "count": count}))
    return 0


def _dicomfs(folder: Path) -> int:
    """Everything up to the complete tree of a mount; returns the number of slides."""
    import dicomfs

    with dicomfs.open_archive(folder) as archive:
        return sum(path.endswith(".svs") for path in archive.files())


def _headers(folder: Path) -> int:
    """The header of every file, without its pixel data."""
    import pydicom

    return sum(
        1 for path in folder.rglob("*.dcm") if pydicom.dcmread(path, stop_before_pixels=True)
    )


def _positions(path: Path) -> int:
    """The header of one file, and the position of each of its frames."""
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True)
    positions = []
    for frame in header.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSlideSequence[0]
        row = position.RowPositionInTotalImagePixelMatrix
        positions.append((row, position.ColumnPositionInTotalImagePixelMatrix))
    return len(positions)


READERS: dict[str, Callable[[Path], int]] = {
    "dicomfs": _dicomfs,
    "headers": _headers,
    "positions": _positions,
}


def _kibibytes(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    sys.exit(main())
