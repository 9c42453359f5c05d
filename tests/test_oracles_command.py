"""The comparison of a tree with its source, as the command runs it."""

import json
from pathlib import Path

import pytest

from tests.oracles import compare_data
from tests.oracles.samples import DicomSample, write_dicom, write_passthrough


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> DicomSample:
    return write_dicom(tmp_path_factory.mktemp("slide"))


@pytest.fixture
def tree(slide: DicomSample, tmp_path: Path) -> Path:
    """What a mount would show of the slide, written by tifffile."""
    path = write_passthrough(tmp_path / "slide.tif", slide)
    declare(tmp_path, slide.series_uid, path)
    return tmp_path


def declare(tree: Path, series_uid: str, path: Path) -> None:
    files = {path.name: {"flavour": "tiff", "size": path.stat().st_size}}
    content = {"series_instance_uid": series_uid, "files": files}
    (tree / "slide.json").write_text(json.dumps(content))


READERS = ("--reader", "tifffile", "--reader", "pillow")


def run(tree: Path, slide: DicomSample) -> int:
    return compare_data.main([str(tree), str(slide.directory), *READERS])


def test_the_command_finds_all_right(
    tree: Path, slide: DicomSample, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tree, slide) == 0
    shown = capsys.readouterr().out
    assert "17 tiles as is" in shown
    assert "0 wrong" in shown
    assert "WRONG" not in shown


def test_the_command_finds_a_wrong_pixel(
    tree: Path, slide: DicomSample, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tree / "slide.tif"
    frame = slide.frames[0][1]
    # The end of the scan is turned round; the stream still decodes.
    path.write_bytes(path.read_bytes().replace(frame, frame[:-20] + frame[-2:-20:-1] + b"\xff\xd9"))
    assert run(tree, slide) == 1
    assert "WRONG pixels: level 0" in capsys.readouterr().out


def test_the_command_finds_a_wrong_size(
    tree: Path, slide: DicomSample, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(tree / "slide.tif", "ab") as file:
        file.write(b"\0\0")
    assert run(tree, slide) == 1
    assert "declared" in capsys.readouterr().out


def test_a_series_is_shown_or_rejected(
    slide: DicomSample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, slide) == 1
    assert "not shown, not rejected" in capsys.readouterr().out
    reason = {"series": [{"series_instance_uid": slide.series_uid, "reason": "too blue"}]}
    (tmp_path / ".dicomfs").mkdir()
    (tmp_path / ".dicomfs" / "rejected.json").write_text(json.dumps(reason))
    assert run(tmp_path, slide) == 0
    assert "too blue" in capsys.readouterr().out


def test_an_empty_source_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_data.main([str(tmp_path), str(tmp_path), *READERS]) == 1
    assert "nothing to compare" in capsys.readouterr().out
