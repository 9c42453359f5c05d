"""Where log lines go, and what they look like: the terminal while there is one, then a file, or the
journal of systemd.

Must not know what is logged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from dicomfs.cli.wording import on_one_line
from dicomfs.source.private import make_folder

_FILE_BYTES = 5 * 1024 * 1024
_OLD_FILES = 2

_TERMINAL = "dicomfs: %(levelname)s: %(message)s"
_FILE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_JOURNAL = "%(name)s: %(message)s"


class Form(StrEnum):
    """What a line looks like.

    TEXT : for people
    JSON : an object with `time` (UTC), `level`, `logger`, `message`, and `traceback` if any
    JOURNAL : for systemd, which reads the priority from a prefix and knows the time (sd-daemon(3))
    """

    TEXT = "text"
    JSON = "json"
    JOURNAL = "journal"


class _Text(logging.Formatter):
    """A message is one line, whatever is in it; only a traceback has several."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = on_one_line(record.message)
        return super().formatMessage(record)


class _Journal(_Text):
    """Every line starts with its priority: the journal takes each for an entry of its own."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class _Json(logging.Formatter):
    """One object for each record, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _priority(level: int) -> int:
    """The priority of syslog(3) for a level of logging."""
    for least, priority in ((50, 2), (40, 3), (30, 4), (20, 6)):
        if level >= least:
            return priority
    return 7


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is at that moment: a progress bar replaces it for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def in_journal() -> bool:
    """Whether standard error goes to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
        return (int(device), int(inode)) == (status.st_dev, status.st_ino)
    except (OSError, ValueError):
        return False


def terminal(verbosity: int, form: Form | None = None) -> logging.Handler:
    """Lines on standard error; verbosity -1: errors, 0: warnings, 1: information, 2: everything.

    form : None for text, or that of the journal if standard error goes there, which gets
        information without being asked
    """
    if form is None:
        form = Form.JOURNAL if in_journal() else Form.TEXT
    if form is Form.JOURNAL and verbosity == 0:
        verbosity = 1
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    handler = _Terminal()
    handler.setLevel(levels.get(max(-1, verbosity), logging.DEBUG))
    handler.setFormatter(_formatter(form, _TERMINAL))
    return handler


def file(path: Path, verbosity: int, form: Form | None = None) -> logging.Handler:
    """Lines in a file, information and worse, from verbosity 2 on everything.

    The file is the owner's alone.  It is renamed to `….1` at 5 MiB; two old ones are kept.  Raises
    OSError.
    """
    make_folder(path.parent)
    handler = _OwnersFile(
        path,
        maxBytes=_FILE_BYTES,
        backupCount=_OLD_FILES,
        encoding="utf-8",
        errors="backslashreplace",  # names of source files need not be UTF-8
    )
    handler.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    handler.setFormatter(_formatter(form or Form.TEXT, _FILE))
    return handler


class _OwnersFile(RotatingFileHandler):
    """A new file after each rotation has the permissions of the first: names of patients may be in
    the names of files."""

    def _open(self) -> Any:
        return open(
            self.baseFilename,
            self.mode,
            encoding=self.encoding,
            errors=self.errors,
            opener=lambda path, flags: os.open(path, flags, 0o600),
        )


def _formatter(form: Form, text: str) -> logging.Formatter:
    if form is Form.JSON:
        return _Json()
    return _Journal(_JOURNAL) if form is Form.JOURNAL else _Text(text)


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
