"""Lists very many files in a process of its own, so that nobody else in this one is held up by it.

    python -m dicomfs.source.listing_apart ROOT [EXCLUDE]

Listing is a few system calls for each file with Python in between, and Python runs one thread at a
time: a mount would answer slowly while its source is listed.  The process writes lines of JSON:
lists of files, and in the end what could not be listed.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator

from dicomfs.errors import DicomfsError
from dicomfs.source import apart
from dicomfs.source.listing import Report, list_files
from dicomfs.source.protocol import Identity, Problem, SourceObject

_FEW = 2000  # files that are listed sooner than a process starts
_TOGETHER = 500  # files in a line: parsing one takes less than a millisecond


def list_many(root: str, exclude: str | None, report: Report) -> Iterator[SourceObject]:
    """All regular files below `root`, as `list_files` gives them, whose exceptions it raises."""
    problems: list[Problem] = []
    files = list_files(root, exclude, problems.append)
    first = set()
    for obj in itertools.islice(files, _FEW):
        yield obj
        first.add(obj.key)
    left_out = [] if exclude is None else [exclude]
    written = apart.output_of(__name__, root, *left_out) if len(first) == _FEW else None
    if written is not None:
        lines = written.splitlines()
        problems = [Problem(*problem) for problem in json.loads(lines.pop())]
        for line in lines:
            for key, *identity in json.loads(line):
                if key not in first:
                    yield SourceObject(key, Identity(*identity))
    else:
        yield from files
    for problem in problems:
        report(problem)


def main(root: str, exclude: str | None = None) -> None:
    """List everything below a directory; exit code 1 where that cannot be done."""
    problems: list[Problem] = []
    files = list_files(root, exclude, problems.append)
    try:
        while some := list(itertools.islice(files, _TOGETHER)):
            _write([[obj.key, *obj.identity.numbers] for obj in some])
    except DicomfsError:
        sys.exit(1)
    _write(problems)


def _write(content: object) -> None:
    sys.stdout.buffer.write(json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
