"""Modules of dicomfs that run in a Python process of their own.

Python runs one thread at a time: what takes long is done elsewhere, so that a mount answers
meanwhile.  Must not know what that is.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

log = logging.getLogger(__name__)

_TICK_MS = 100  # between two questions whether anybody still wants to know
_BLOCK = 1 << 20

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[2]); from importlib import import_module;"
    " import_module(sys.argv[1]).main(*sys.argv[3:])"
)


def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a process that calls `main(*arguments)` of a module, with pipes for input and output.

    What it writes to standard error is logged: it must not keep open what we have there, as a
    mount leaves its terminal before the process has come to its end.  Ctrl-C in a terminal does
    not reach it.  Raises OSError, ValueError.
    """
    # -c rather than -m: nothing of the caller's directory gets in the way of our modules.
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, module, package, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    assert process.stderr is not None
    threading.Thread(target=_log, args=(module, process.stderr), name="said", daemon=True).start()
    return process


def output_of(
    module: str, *arguments: str, stopped: Callable[[], bool] = lambda: False
) -> bytes | None:
    """What `main(*arguments)` of a module writes in a process of its own.  Blocks.

    stopped : whether nobody wants to know any more; then the process is ended

    None where the process does not start, or ends with another exit code than 0.
    """
    try:
        process = start(module, *arguments)
    except (OSError, ValueError) as error:
        log.debug("%s does not run: %s", module, error)
        return None
    assert process.stdin is not None
    assert process.stdout is not None
    written = bytearray()
    with process.stdin, process.stdout:
        pipe = select.poll()
        pipe.register(process.stdout, select.POLLIN)
        while True:
            if pipe.poll(_TICK_MS):  # there are bytes, or nobody writes any more
                block = os.read(process.stdout.fileno(), _BLOCK)
                written += block
                if not block:
                    break
            if stopped():
                process.kill()
                break
    return None if process.wait() else bytes(written)


def _log(module: str, said: IO[bytes]) -> None:
    with said:
        for line in said:
            log.warning("%s: %s", module, line.decode("utf-8", "replace").rstrip())
