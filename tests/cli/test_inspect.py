"""`dicomfs inspect`: the table, the JSON, and the exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import dicomfs
from dicomfs.cli import main
from tests.conftest import WrittenSeries
from tests.fixtures.strangers import write_strangers
from tests.schemas import schema


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def document(source: Path) -> dict[str, Any]:
    found = inspect("--json", source)
    assert found.exit_code == 0, found.output
    content: dict[str, Any] = json.loads(found.stdout)
    return content


@pytest.fixture
def mixed(written: WrittenSeries, tmp_path: Path) -> Path:
    """Two slides, a series that cannot be shown, and strangers."""
    for case_id in ("jpeg-main", "native-grey16", "jpeg-422-jfif-concatenation-missing-part"):
        shutil.copytree(written(case_id).directory, tmp_path / case_id)
    write_strangers(tmp_path / "strangers")
    (tmp_path / "strangers" / "photograph.dcm").unlink()
    return tmp_path


def test_the_table(mixed: Path) -> None:
    found = inspect(mixed)
    assert found.exit_code == 0
    lines = [line.strip() for line in found.stdout.strip().splitlines()]
    slides = [line for line in lines if line.startswith("C-0815-")]
    assert len(slides) == 2
    colour = next(line for line in slides if ".svs" in line)
    for part in ("600 x 450", "3", "JPEG YCbCr 4:2:2", "pass-through", "svs"):
        assert part in colour
    grey = next(line for line in slides if ".ome.tif" in line)
    for part in ("330 x 250", "native grey 16 bit", "pass-through", "ome"):
        assert part in grey
    case = "Not shown: jpeg-422-jfif-concatenation-missing-part/"
    reason = next(number for number, line in enumerate(lines) if line.startswith(case))
    assert lines[reason + 1].startswith("It is incomplete: part 2 of 3")
    assert "[missing-part]" in lines[reason + 1]
    assert lines[-1].startswith("2 slides, ")
    assert "files are not DICOM" in lines[-1]


def test_warnings_are_in_the_table(written: WrittenSeries, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(written("native-rgb8").directory, tmp_path / name)
    found = inspect(tmp_path)
    assert "several files hold SOP Instance UID" in found.stdout


def test_the_json_is_what_lies_beside_each_slide(mixed: Path) -> None:
    content = document(mixed)
    assert content["source"] == str(mixed)
    assert [set(slide) for slide in content["slides"]] == [
        schema("slide")["properties"].keys() | {"folder", "sources"},
        schema("slide")["properties"].keys() | {"folder", "sources"},
    ]
    with dicomfs.open_archive(mixed) as archive:
        assert content["files"] == archive.catalogue.files
        for slide in content["slides"]:
            (name,) = [
                name for name, file in slide["files"].items() if file["flavour"] in ("svs", "ome")
            ]
            stem = name.split(".")[0]
            with archive.open(f"{slide['folder']}/{stem}.json") as file:
                beside = json.loads(file.read())
            assert {k: v for k, v in slide.items() if k not in ("folder", "sources")} == beside
            for file_name, facts in slide["files"].items():
                with archive.open(f"{slide['folder']}/{file_name}") as file:
                    assert file.seek(0, 2) == facts["size"]
    (main_slide,) = [s for s in content["slides"] if s["size"] == [600, 450]]
    assert sorted(main_slide["sources"]) == sorted(
        f"jpeg-main/{path.name}" for path in (mixed / "jpeg-main").iterdir()
    )


def test_the_json_says_what_is_not_shown(mixed: Path) -> None:
    content = document(mixed)
    codes = [one["code"] for one in content["rejected"]]
    assert "missing-part" in codes
    for one in content["rejected"]:
        assert set(one) == {"series_instance_uid", "code", "message", "files"}
        assert one["message"]
    assert {one["modality"] for one in content["other_series"]} >= {"CT", "SEG", "ANN", "SR"}
    for one in content["other_series"]:
        assert set(one) == {
            "series_instance_uid",
            "study_instance_uid",
            "modality",
            "sop_class_uid",
            "instances",
        }
    assert content["not_dicom"] >= 3


def test_no_slides_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("nothing")
    for arguments in ([tmp_path], ["--json", tmp_path]):
        found = inspect(*arguments)
        assert found.exit_code == 1
    assert json.loads(found.stdout)["slides"] == []
    assert "0 slides" in inspect(tmp_path).stdout


@pytest.mark.parametrize("missing", [True, False])
def test_no_directory_is_exit_code_1_and_a_sentence(missing: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if not missing:
        path.write_text("a file")
    found = inspect(path)
    assert found.exit_code == 1
    assert found.stdout == ""
    assert "is not a directory" in found.stderr


@pytest.mark.parametrize("arguments", [[], ["--nonsense", "x"], ["a", "b"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert inspect(*arguments).exit_code == 2


def test_names_that_are_no_utf_8(written: WrittenSeries, tmp_path: Path) -> None:
    folder = tmp_path / b"\xff\xfe".decode("utf-8", "surrogateescape")
    shutil.copytree(written("native-odd-length").directory, folder)
    (slide,) = document(tmp_path)["slides"]
    assert slide["sources"] == ["\\udcff\\udcfe/VOLUME-0-1.dcm"]
    assert inspect(tmp_path).exit_code == 0


def test_as_a_program(written: WrittenSeries) -> None:
    """Nothing but the document is on standard output, nothing at all on standard error."""
    source = written("native-odd-length").directory
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "dicomfs", "inspect", "--json", source],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(json.loads(done.stdout)["slides"]) == 1


def test_a_name_gives_no_orders_to_the_terminal(written: WrittenSeries, tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b[2J\nNot shown: b.dcm"
    hostile.write_bytes(bytes(128) + b"DICM" + bytes(100))
    done = CliRunner().invoke(main, ["inspect", str(tmp_path)])
    assert done.exit_code == 1
    assert done.output.startswith(r"Not shown: a\x1b[2J\x0aNot shown: b.dcm")
    assert "\x1b" not in done.output
