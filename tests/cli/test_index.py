"""`dicomfs index`: what it says, what it leaves, and that it goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from dicomfs.archive import Archive
from dicomfs.catalog import parsing
from dicomfs.catalog.store import open_index
from dicomfs.cli import main
from tests.catalog.slides import PLAIN, put
from tests.conftest import WrittenSeries


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def test_for_people(written: WrittenSeries, tmp_path: Path) -> None:
    put(written, PLAIN, tmp_path / "source")
    (tmp_path / "source" / "notes.txt").write_text("nothing of interest to anybody here")
    index = tmp_path / "index.sqlite3"
    done = CliRunner().invoke(main, ["index", str(tmp_path / "source"), "--index", str(index)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("1 slides, 0 not shown, ")
    assert f"The index is {index}." in done.output


def test_for_scripts_and_a_second_time(written: WrittenSeries, tmp_path: Path) -> None:
    files = put(written, PLAIN, tmp_path / "source")
    command = ["index", "--json", str(tmp_path / "source"), "--index", str(tmp_path / "i")]
    first = CliRunner().invoke(main, command)
    progress = [line for line in lines(first.stdout) if line["event"] == "progress"]
    assert progress[-1] == {"event": "progress", "done": len(files), "total": len(files)}
    (result,) = [line for line in lines(first.stdout) if line["event"] == "done"]
    assert (result["slides"], result["files"], result["index"]) == (1, len(files), command[-1])
    second = CliRunner().invoke(main, command)
    (again,) = lines(second.stdout)  # nothing was read
    assert {**again, "seconds": 0} == {**result, "seconds": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/missing"], "is not a directory"),
        (["{tmp}/source", "--index", "{tmp}/picture"], "no index of dicomfs"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "picture").write_bytes(b"P5 " * 100)
    done = CliRunner().invoke(main, ["index", *(a.format(tmp=tmp_path) for a in arguments)])
    assert done.exit_code == 1
    assert message in done.stderr


def _heed_interrupts() -> None:
    """A shell without job control has what it starts in the background ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_one_goes_on_where_it_was(written: WrittenSeries, tmp_path: Path) -> None:
    first = put(written, PLAIN, tmp_path / "source" / "0")
    folders = 1000  # seconds of work, of which the first progress line interrupts the rest
    for number in range(1, folders):
        os.makedirs(tmp_path / "source" / str(number))
        for path in first:
            os.link(path, tmp_path / "source" / str(number) / path.name)
    total = folders * len(first)
    index = tmp_path / "index.sqlite3"
    command = [sys.executable, "-m", "dicomfs", "index", "--json"]
    with subprocess.Popen(
        [*command, tmp_path / "source", "--index", index],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=_heed_interrupts,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if 0 < json.loads(line).get("done", 0) < total:
                process.send_signal(signal.SIGINT)
                break
        # Python ends itself by the signal if that came while it ran code that was a string, as
        # dataclasses do while a module is imported, even if the interrupt was caught.
        assert process.wait(20) in (1, -signal.SIGINT)
    opened = open_index(index, ours=True)
    kept = len(list(opened.rows()))
    opened.close()
    assert 0 < kept < total
    done = CliRunner().invoke(
        main, ["index", "--json", str(tmp_path / "source"), "--index", str(index)]
    )
    said = lines(done.stdout)
    assert said[0]["total"] == total - kept
    assert said[-1]["files"] == total


def test_a_file_that_is_the_end_of_its_parser_is_rejected(
    written: WrittenSeries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = put(written, PLAIN, tmp_path / "source")
    (tmp_path / "source" / "deadly.dcm").write_bytes(files[0].read_bytes())
    # A worker that ends when it is to look at that file, as a crash in a library would end it.
    program = tmp_path / "worker.py"
    program.write_text(
        "import os, sys\n"
        "sys.path.insert(0, sys.argv[-3])\n"
        "from dicomfs.catalog import looking, worker\n"
        "look_at = looking.look_at\n"
        "looking.look_at = lambda source, obj, *more: (\n"
        "    os._exit(9) if 'deadly' in obj.key else look_at(source, obj, *more))\n"
        "worker.main(sys.argv[-2], sys.argv[-1])\n"
    )
    started: list[float] = []
    popen = subprocess.Popen

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        started.append(time.monotonic())
        return popen([sys.executable, program, *command[-3:]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(parsing, "_FEW", 0)
    monkeypatch.setattr(subprocess, "Popen", start)
    with Archive.load(tmp_path / "source", index=tmp_path / "index.sqlite3") as archive:
        (rejection,) = archive.catalogue.rejected
        assert rejection.files == ("deadly.dcm",)
        assert rejection.code == "internal"
        assert len(archive.slides) == 1
    assert len(started) > 1
