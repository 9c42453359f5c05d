"""Modules of dicomfs that run in a Python process of their own.

Python runs one thread at a time: what takes long is done elsewhere, so that a mount answers
meanwhile.  Must not know what that is.
"""

from __future__ import annotations

import os
import sys

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[2]); from importlib import import_module;"
    " import_module(sys.argv[1]).main(*sys.argv[3:])"
)


def command(module: str, *arguments: str) -> list[str]:
    """The command that calls `main(*arguments)` of a module.

    To be started with `process_group=0`: Ctrl-C in a terminal is for the process that starts it.
    """
    # -c rather than -m: nothing of the caller's directory gets in the way of our modules.
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-P", "-c", _PROGRAM, module, package, *arguments]
