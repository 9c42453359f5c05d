"""The command `dicomfs` with an archive of 100,000 small files in the place of one of slides.

python -m tests.semantics.crowded_fixture mount SOURCE MOUNTPOINT
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dicomfs.cli import main
from dicomfs.extents import literal_table
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs.tree import Entry, build

FILES = 100_000
FOLDERS = 500


class _Archives(ModuleType):
    """Imports the archive when the command does: after it has forked."""

    def __getattr__(self, name: str) -> object:
        if name != "Archive":
            raise AttributeError(name)
        return _crowded()


def _crowded() -> type:
    from tests.fuse.archive_fixture import Archive

    class Crowded(Archive):
        """Shows nothing but very many files."""

        @classmethod
        def remembered(cls, source: Path, *options: Any, exclude: Path, **others: Any) -> Archive:
            archive = super().remembered(source, *options, exclude=exclude, **others)
            content = VirtualFile(literal_table(b"content"), (), None)
            archive.tree = build(
                Entry((f"{number % FOLDERS:03d}", f"{number:06d}"), content, 10**18, "")
                for number in range(FILES)
            )
            return archive

    return Crowded


if __name__ == "__main__":
    sys.modules["dicomfs.archive"] = _Archives("dicomfs.archive")
    main(prog_name="dicomfs")
