"""Tries hostile files, each in a process of its own, and says what came of it and what it cost.

    python -m tests.hostile.trial FOLDER HEALTHY

FOLDER holds a directory for each case, HEALTHY a series to get everything loaded with.  Writes a
line of JSON for each: `outcome` as in `tests.hostile.corpus_files`, `cpu` seconds, `memory` bytes
beyond what the process had before until all is known of the file, `reading` the same until all that
it shows is read, `unexpected` errors, and the `signal` that ended the process.  One process forks
for every case, so that the imports are paid once and a crash is the end of one case alone.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, Final

from dicomfs.archive import Archive
from dicomfs.errors import DicomfsError
from dicomfs.vfs.nodes import File

_CHUNK: Final = 64 * 1024
_MOST_READ: Final = 64 * 1024 * 1024
_MOST_SECONDS: Final = 30


class _Collected(logging.Handler):
    """Errors that were logged: those nobody foresaw."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def trial(directory: Path) -> dict[str, Any]:
    """Show what lies in a directory, and read all of it."""
    log = _Collected()
    logging.getLogger().handlers = [log]
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CACHE_HOME"] = home
        with Archive.load(directory) as archive:
            catalogue = archive.catalogue
            known = _peak()
            failed = 0
            for path in list(archive.files()):
                failed += _read(archive, path)
            if catalogue.slides:
                outcome = "damaged" if failed else "opens"
            elif catalogue.rejected:
                outcome = "/".join(sorted({one.code for one in catalogue.rejected}))
            else:
                outcome = "stranger" if catalogue.other_series else "no-dicom"
    return {"outcome": outcome, "unexpected": log.lines, "known": known}


def _read(archive: Archive, path: str) -> int:
    """Read a file by the page, as the kernel does; how many reads failed."""
    node = archive.find(path)
    assert isinstance(node, File)
    content = node.content
    buffer = memoryview(bytearray(_CHUNK))
    failed = 0
    for offset in range(0, min(content.size, _MOST_READ), _CHUNK):
        try:
            done = archive.reader.read_into_blocking(content, offset, buffer)
        except DicomfsError:
            failed += 1
        else:
            assert done == min(_CHUNK, content.size - offset)
    return failed


def _measured(directory: Path) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cpu, memory = _cpu(), _peak()
    try:
        found = trial(directory)
    except BaseException:
        found = {"outcome": "", "unexpected": [traceback.format_exc()], "known": _peak()}
    cost = {"cpu": _cpu() - cpu, "memory": found["known"] - memory, "reading": _peak() - memory}
    return found | cost


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> int:
    """The most memory that this process has had; after a fork it starts anew."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(folder: Path, healthy: Path) -> None:
    """Try each directory of a folder."""
    warm = trial(healthy)
    assert (warm["outcome"], warm["unexpected"]) == ("opens", [])
    for directory in sorted(folder.iterdir()):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            os.dup2(2, 1)
            with os.fdopen(writer, "w") as pipe:
                json.dump(_measured(directory), pipe)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = json.loads(said) if said else {"outcome": "", "unexpected": []}
        line = {"id": directory.name} | found | {"signal": -min(status, 0)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
