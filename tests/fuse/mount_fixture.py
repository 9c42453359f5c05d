"""The command `dicomfs` with the test archive in the place of the one that understands DICOM.

    python -m tests.fuse.mount_fixture mount SOURCE MOUNTPOINT

Everything but the archive is real: command line, daemon, mount, reader.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from dicomfs.cli import main


class _Archives(ModuleType):
    """Imports the test archive when the command does: after it has forked."""

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module("tests.fuse.archive_fixture"), name)


def _run() -> None:
    sys.modules["dicomfs.archive"] = _Archives("dicomfs.archive")
    main(prog_name="dicomfs")


if __name__ == "__main__":
    _run()
