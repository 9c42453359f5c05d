"""What a line of log looks like, and who may read it."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from dicomfs.cli import logs
from dicomfs.cli.logs import Form

HOSTILE = "a\n<0>dicomfs: CRITICAL: all is lost\x1b[2J\u2028.dcm"


def record(
    message: str, level: int = logging.WARNING, traceback: bool = False
) -> logging.LogRecord:
    info = None
    if traceback:
        try:
            raise ValueError("a bug")
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord("dicomfs.x", level, __file__, 1, "%s", (message,), info)


def line(form: Form, one: logging.LogRecord, monkeypatch: pytest.MonkeyPatch) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.terminal(2, form).handle(one)
    return stream.getvalue()


@pytest.mark.parametrize("form", [Form.TEXT, Form.JOURNAL, Form.JSON])
def test_a_message_is_one_line_whatever_is_in_it(
    form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = line(form, record(HOSTILE), monkeypatch)
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "\x1b" not in text
    if form is Form.JSON:
        assert json.loads(text)["message"] == HOSTILE
    else:
        assert r"a\x0a<0>dicomfs" in text


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.CRITICAL, "<2>"),
        (logging.ERROR, "<3>"),
        (logging.WARNING, "<4>"),
        (logging.INFO, "<6>"),
        (logging.DEBUG, "<7>"),
    ],
)
def test_the_journal_gets_priorities_and_no_time(
    level: int, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line(Form.JOURNAL, record("x", level), monkeypatch) == f"{prefix}dicomfs.x: x\n"


def test_every_line_of_a_traceback_has_the_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = line(Form.JOURNAL, record("x", logging.ERROR, True), monkeypatch).splitlines()
    assert len(lines) > 3
    assert all(one.startswith("<3>") for one in lines)
    assert lines[-1] == "<3>ValueError: a bug"


def test_json_has_the_time_and_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    one = record("x", logging.ERROR, True)
    entry = json.loads(line(Form.JSON, one, monkeypatch))
    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "dicomfs.x", "x")
    assert datetime.fromisoformat(entry["time"]).timestamp() == pytest.approx(one.created, abs=1e-3)
    assert entry["traceback"].endswith("ValueError: a bug")


def test_a_name_that_is_no_utf_8_is_a_valid_line_of_json(tmp_path: Path) -> None:
    handler = logs.file(tmp_path / "log", 0, Form.JSON)
    handler.handle(record("\udcff.dcm"))
    handler.close()
    assert json.loads((tmp_path / "log").read_text())["message"] == "\udcff.dcm"


def test_log_files_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "dicomfs" / "x.log"
    handler = logs.file(path, 0)
    handler.maxBytes = 100  # type: ignore[attr-defined]
    for number in range(20):
        handler.handle(record(f"line {number}"))
    handler.close()
    files = list(path.parent.iterdir())
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_whether_standard_error_is_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.fstat(2)
    for value, expected in (
        (f"{status.st_dev}:{status.st_ino}", True),
        (f"{status.st_dev}:{status.st_ino + 1}", False),
        ("nonsense", False),
        ("", False),
    ):
        monkeypatch.setenv("JOURNAL_STREAM", value)
        assert logs.in_journal() is expected
    monkeypatch.delenv("JOURNAL_STREAM")
    assert not logs.in_journal()


def test_information_goes_to_the_journal_without_being_asked_for() -> None:
    assert logs.terminal(0, Form.JOURNAL).level == logging.INFO
    assert logs.terminal(-1, Form.JOURNAL).level == logging.ERROR
    assert logs.terminal(0, Form.TEXT).level == logging.WARNING


def test_a_command_under_systemd(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as sink:
        status = os.fstat(sink.fileno())
        done = subprocess.run(
            [sys.executable, "-c", "from dicomfs.cli import logs; import logging;"
             "logs.log_to(logs.terminal(0)); logging.getLogger('dicomfs').warning('slow')"],
            env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
            stderr=sink,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0
        sink.seek(0)
        assert sink.read() == "<4>dicomfs: slow\n"
