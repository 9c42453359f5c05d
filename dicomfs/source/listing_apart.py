"""Lists very many files in a process of its own, so that nobody else in this one is held up by it.

    python -m dicomfs.source.listing_apart ROOT [EXCLUDE]

Listing is a few system calls for each file with Python in between, and Python runs one thread at a
time: a mount would answer slowly while its source is listed.  The process writes lines of JSON:
lists of files, and in the end what could not be listed.
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
from collections.abc import Iterator

from dicomfs.errors import DicomfsError
from dicomfs.source import apart
from dicomfs.source.listing import Report, list_files
from dicomfs.source.protocol import Identity, Problem, SourceObject

log = logging.getLogger(__name__)

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
    if len(first) == _FEW and (lines := _listed_apart(root, exclude)) is not None:
        problems = [Problem(*problem) for problem in json.loads(lines.pop())]
        for line in lines:
            for key, *identity in json.loads(line):
                if key not in first:
                    yield SourceObject(key, Identity(*identity))
    else:
        yield from files
    for problem in problems:
        report(problem)


def _listed_apart(root: str, exclude: str | None) -> list[bytes] | None:
    """The lines that the process writes; None where it does not start or come to its end."""
    try:
        process = apart.start(__name__, root, *([exclude] if exclude else []))
    except (OSError, ValueError) as error:
        log.debug("no process lists the source: %s", error)
        return None
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        listed = process.stdout.read()
    return None if process.wait() else listed.splitlines()


def main(root: str, exclude: str | None = None) -> None:
    """List everything below a directory; exit code 1 where that cannot be done."""
    problems: list[Problem] = []
    files = list_files(root, exclude, problems.append)
    try:
        while some := list(itertools.islice(files, _TOGETHER)):
            _write([[obj.key, *_numbers(obj.identity)] for obj in some])
    except DicomfsError:
        sys.exit(1)
    _write(problems)


def _numbers(identity: Identity) -> tuple[int, int, int, int]:
    return identity.device, identity.inode, identity.size, identity.mtime_ns


def _write(content: object) -> None:
    sys.stdout.buffer.write(json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
