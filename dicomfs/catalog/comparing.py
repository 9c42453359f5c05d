"""Compares a source with what its index knows of it, in a process of its own.

Of a source that was indexed before, mostly nothing has changed, and to find that out takes a row of
the index and a system call for every file.  The process that serves a mount is not held up by it,
and has no rows of all those files in memory afterwards.  The process that compares writes one
document of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dicomfs.catalog.objects import Difference, KnownObjects
from dicomfs.catalog.store import existing_index
from dicomfs.errors import DicomfsError
from dicomfs.source import apart
from dicomfs.source.listing import list_files
from dicomfs.source.protocol import Identity, Problem, SourceObject

_CHECK = "check"
_NICENESS = 10  # somebody may be waiting for a first look at the mount
_NOT_DONE = 3  # exit code: whoever asked has to find out by itself, and why


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of comparing.

    digest : of all series that the index knows; see `dicomfs.catalog.objects.digest_of_all`
    state : of all objects that it knows; see `KnownObjects.state`
    problems : what could not be listed
    """

    digest: bytes
    state: bytes
    difference: Difference
    problems: tuple[Problem, ...]


def compare_apart(
    root: Path,
    exclude: str | None,
    index: Path,
    *,
    check: bool = True,
    stopped: Callable[[], bool] = lambda: False,
) -> Comparison | None:
    """Compare a directory with its index; None where nothing came of it.  Blocks.

    exclude : key of a folder below it that is left out of the listing
    check : whether it is to be found out first that all of the index can be read
    stopped : whether nobody wants to know any more
    """
    left_out = [] if exclude is None else [exclude]
    told = apart.output_of(
        __name__,
        os.path.realpath(root),
        str(index),
        _CHECK if check else "",
        *left_out,
        stopped=stopped,
    )
    return None if told is None else _comparison_of(told)


def _comparison_of(told: bytes) -> Comparison:
    digest, state, fresh, gone, problems = json.loads(told)
    objects = tuple(SourceObject(key, Identity(*identity)) for key, *identity in fresh)
    return Comparison(
        bytes.fromhex(digest),
        bytes.fromhex(state),
        Difference(objects, tuple(gone)),
        tuple(Problem(*problem) for problem in problems),
    )


def main(root: str, index: str, check: str, exclude: str | None = None) -> None:
    """Compare and tell; exit code 3 where the index or the source cannot be read."""
    os.nice(_NICENESS)
    opened = existing_index(Path(index))
    if opened is None:
        sys.exit(_NOT_DONE)
    with contextlib.closing(opened):
        if check and not opened.is_sound():
            sys.exit(_NOT_DONE)
        known = KnownObjects(opened.rows())
    problems: list[Problem] = []
    try:
        difference = known.difference(list_files(root, exclude, problems.append))
    except DicomfsError:
        sys.exit(_NOT_DONE)
    fresh = [[obj.key, *obj.identity.numbers] for obj in difference.fresh]
    told = [known.digest().hex(), known.state().hex(), fresh, difference.gone, problems]
    sys.stdout.buffer.write(json.dumps(told, separators=(",", ":")).encode("ascii"))
