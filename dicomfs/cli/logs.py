"""Where log lines go: the terminal while there is one, a file once there is none.

Must not know what is logged.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

_FILE_BYTES = 5 * 1024 * 1024
_OLD_FILES = 2
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at that moment: a progress bar replaces it for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def terminal(verbosity: int) -> logging.Handler:
    """Lines on standard error; verbosity -1: errors, 0: warnings, 1: information, 2: everything."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    handler = _Terminal()
    handler.setLevel(levels.get(max(-1, verbosity), logging.DEBUG))
    handler.setFormatter(logging.Formatter("dicomfs: %(levelname)s: %(message)s"))
    return handler


def file(path: Path, verbosity: int) -> logging.Handler:
    """Lines in a file, information and worse, from verbosity 2 on everything.

    The file is renamed to `….1` at 5 MiB; two old ones are kept.  Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = RotatingFileHandler(
        path,
        maxBytes=_FILE_BYTES,
        backupCount=_OLD_FILES,
        encoding="utf-8",
        errors="backslashreplace",  # names of source files need not be UTF-8
    )
    handler.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    handler.setFormatter(logging.Formatter(_FORMAT))
    return handler


def log_to(*handlers: logging.Handler) -> None:
    """Log to these and to nothing else; of other libraries warnings and worse only."""
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        if old not in handlers:
            old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("dicomfs").setLevel(
        min((handler.level for handler in handlers), default=logging.CRITICAL)
    )
    logging.captureWarnings(True)


def default_file(mountpoint: Path) -> Path:
    """The log file of the mount at that absolute path, in the user's state directory
    (XDG_STATE_HOME, else ~/.local/state)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    path = os.fspath(mountpoint)
    digest = hashlib.blake2b(os.fsencode(path), digest_size=4).hexdigest()
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path).strip("-")[-100:]
    return folder / "dicomfs" / f"{name}-{digest}.log"
