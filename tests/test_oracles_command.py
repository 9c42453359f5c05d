"""The comparison of a tree with its source, as the command runs it."""

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from pydicom.uid import generate_uid

from tests.oracles import compare_data
from tests.oracles.comparison import compare_file, truth_of
from tests.oracles.dicom_series import find_series
from tests.oracles.known_limits import read_facts
from tests.oracles.opened import harmless
from tests.oracles.readers import PILLOW, TIFFFILE
from tests.oracles.samples import (
    CENTIMETRE,
    SIZES,
    DicomSample,
    dicom_header,
    picture,
    save,
    tiles,
    write_dicom,
    write_passthrough,
    write_svs,
)


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


def test_only_the_series_asked_for(
    tree: Path, slide: DicomSample, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tree), str(slide.directory), *READERS]
    assert compare_data.main([*arguments, "--series", slide.series_uid[-9:]]) == 0
    assert compare_data.main([*arguments, "--series", "no such"]) == 1
    assert "nothing to compare" in capsys.readouterr().out


@pytest.mark.parametrize(("shift", "code"), [(0, 0), (60, 1)])
def test_a_label_alone_and_its_picture(shift: int, code: int, tmp_path: Path) -> None:
    """A series of nothing but a label is shown by it; the picture beside it is made anew."""
    label, uid = picture(64, 48, seed=3), generate_uid()
    source, tree = tmp_path / "source", tmp_path / "tree"
    source.mkdir()
    tree.mkdir()
    dataset = dicom_header(
        uid,
        (64, 48),
        1,
        ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"],
        Rows=48,
        PixelData=label.tobytes(),
    )
    save(dataset, source / "label.dcm")
    path = tree / "slide.tif"
    tifffile.imwrite(path, label, tile=(48, 64), photometric="rgb", metadata=None, **CENTIMETRE)
    beside = tree / "slide.label.jpg"
    beside.write_bytes(imagecodecs.jpeg8_encode(np.roll(label, shift, axis=1), level=90))
    files = {
        path.name: {"flavour": "tiff", "size": path.stat().st_size},
        beside.name: {"flavour": "jpeg", "size": beside.stat().st_size},
        "slide.dicom.json": {"size": 3},
    }
    content = {"series_instance_uid": uid, "files": files}
    (tree / "slide.json").write_text(json.dumps(content))
    assert compare_data.main([str(tree), str(source), *READERS]) == code


def test_plain_flavours_show_any_one_plane(tmp_path: Path) -> None:
    planes = [picture(*SIZES[0], seed=seed) for seed in range(3)]
    dataset = dicom_header(
        generate_uid(),
        SIZES[0],
        36,
        TotalPixelMatrixFocalPlanes=3,
        PixelData=b"".join(tile.tobytes() for pixels in planes for tile in tiles(pixels)),
    )
    save(dataset, tmp_path / "stack.dcm")
    (series,) = find_series(tmp_path).values()
    truth = truth_of(series, SIZES[0])
    assert truth is not None
    path = tmp_path / "middle.tif"
    tifffile.imwrite(path, planes[1], tile=(64, 64), photometric="rgb", metadata=None, **CENTIMETRE)
    for flavour, reader, verdict in (
        ("tiff", TIFFFILE, "ok"),
        ("tiff", PILLOW, "ok"),
        ("ome", TIFFFILE, "WRONG planes"),
        ("ome", PILLOW, "WRONG pixels"),
    ):
        row = compare_file(path, reader, truth, read_facts(path, flavour), None)
        assert row.verdict.startswith(verdict), row
    tifffile.imwrite(path, planes[1] ^ np.uint8(1), tile=(64, 64), photometric="rgb", **CENTIMETRE)
    row = compare_file(path, PILLOW, truth, read_facts(path, "tiff"), None)
    assert row.verdict.startswith("WRONG pixels: level 0: max 1")


def test_scale_objective_and_associated_images(slide: DicomSample, tmp_path: Path) -> None:
    svs = write_svs(tmp_path / "slide.svs")
    (series,) = find_series(slide.directory).values()
    truth = truth_of(series, SIZES[0])
    assert truth is not None
    truth.associated = {name: (pixels,) for name, pixels in svs.associated.items()}
    facts = read_facts(svs.path, "svs")
    assert compare_file(svs.path, TIFFFILE, truth, facts, None).verdict == "ok"

    truth.associated = {"label": (picture(40, 48, seed=1),)}
    row = compare_file(svs.path, TIFFFILE, truth, facts, None)
    assert row.verdict.startswith("WRONG associated: label")

    # A thumbnail may be a reduced one, but of the same picture.
    big = picture(40, 30, seed=7).repeat(4, axis=0).repeat(4, axis=1)
    for large, verdict in ((big, "explained: thumbnail made smaller"), (big[::-1], "WRONG")):
        truth.associated = {"thumbnail": (large,)}
        row = compare_file(svs.path, TIFFFILE, truth, facts, None)
        assert row.verdict.startswith(verdict), row

    truth.associated = {}
    content = svs.path.read_bytes()
    for told, other, verdict in (
        (b"MPP = 0.25", b"MPP = 0.35", "WRONG mpp"),
        (b"AppMag = 40", b"AppMag = 20", "WRONG objective: 20.0 for 40.0"),
    ):
        path = tmp_path / "other.svs"
        path.write_bytes(content.replace(told, other))
        row = compare_file(path, TIFFFILE, truth, facts, None)
        assert row.verdict.startswith(verdict), row
        # Pillow sees the resolution of the tags, and no objective.
        assert compare_file(path, PILLOW, truth, facts, None).verdict == "ok"


def test_harmless_warnings() -> None:
    assert harmless("WARNING VIPS: Nonstandard tile width 454, convert file")
    assert not harmless("Warning, Unknown field with tag 65000")
