"""A share whose server has gone, and a program that reads from it many times at once.

For tests and benchmarks; the share is that of `tests.semantics.stalling`, in a process of its own.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.fuse.mounted import PATIENCE, ROOT, sweep

_READER = """
import mmap, os, sys, threading
path, count, direct = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "direct"
file = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
step = os.fstat(file).st_size // (count + 1) // 4096 * 4096
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
answers = []
def read(number):
    buffer = mmap.mmap(-1, 4096)
    try:
        answers.append(os.preadv(file, [buffer], step * (number + 1)))
    except OSError as error:
        answers.append(-error.errno)
threads = [threading.Thread(target=read, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
print("started", flush=True)
for thread in threads:
    thread.join()
print(*sorted(set(answers)), flush=True)
"""


@contextlib.contextmanager
def share(behind: Path, point: Path, hang: Path) -> Iterator[None]:
    """Show a folder at another place, where reads below `stalled` hang while `hang` exists."""
    module = "tests.semantics.stalling"
    process = subprocess.Popen(
        [sys.executable, "-m", module, behind, point, hang], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"answers\n":
            raise RuntimeError("the share that is to hang was not mounted")
        yield
    finally:
        hang.unlink(missing_ok=True)
        sweep(point)
        process.communicate(timeout=PATIENCE)


def many_reads(path: Path, count: int, kind: str = "direct") -> subprocess.Popen[str]:
    """A process that has begun so many reads of a page of a file, all at once.

    kind : "direct", past the cache of the kernel, or "buffered"

    When all have been answered it prints what came back, each once, an errno as a negative number.
    """
    readers = subprocess.Popen(
        [sys.executable, "-c", _READER, path, str(count), kind], stdout=subprocess.PIPE, text=True
    )
    assert readers.stdout is not None
    if readers.stdout.readline() != "started\n":
        raise RuntimeError(f"{path} cannot be read")
    return readers
