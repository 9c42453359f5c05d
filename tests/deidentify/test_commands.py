"""The options of the commands, and a real mount without identities."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deidentify.planting import WORD, found_in, write_planted
from tests.fixtures.series import SeriesSpec

ALL = ("LABEL", "OVERVIEW", "THUMBNAIL")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("commands") / f"{WORD} root"
    write_planted(root, SeriesSpec(name="slide", codec="jpeg-422-jfif", associated=ALL, width=300,
                                   height=200))  # fmt: skip
    (root / f"{WORD} broken.dcm").write_bytes(bytes(128) + b"DICM" + WORD.encode())
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    return subprocess.run(
        [sys.executable, "-m", "dicomfs", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def key_file(tmp_path: Path, data: bytes = b"a key of 16 byte") -> Path:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_inspect(tmp_path: Path, home: Path, source: Path) -> None:
    key = key_file(tmp_path)
    done = run(home, "inspect", "--json", "--deidentify", "--key", key, source)
    assert done.returncode == 0, done.stderr
    assert not found_in(done.stdout.encode() + done.stderr.encode())
    document = json.loads(done.stdout)
    assert len(document["slides"]) == 1
    assert {one["code"] for one in document["rejected"]} >= {"label", "overview"}
    table = run(home, "inspect", "--deidentify", "--key", key, source)
    assert not found_in(table.stdout.encode() + table.stderr.encode())


def test_export(tmp_path: Path, home: Path, source: Path) -> None:
    key = key_file(tmp_path)
    for name in ("one", "two"):
        arguments = ("--deidentify", "--key", key, "--flavour", "ome", source, tmp_path / name)
        done = run(home, "export", *arguments)
        assert done.returncode == 0, done.stderr
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes()
         for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("one", "two")
    )  # fmt: skip
    assert len(first) >= 3
    assert first == second
    assert not any(found_in(str(path).encode() + data) for path, data in first.items())


def test_without_a_key_it_says_so(home: Path, source: Path) -> None:
    done = run(home, "inspect", "--deidentify", source)
    assert done.returncode == 0
    assert "no --key" in done.stderr
    assert not list(home.rglob("*.sqlite3"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--deidentify", "--key", "/nowhere/key"), "umask 077; head -c 32 /dev/urandom"),
        (("--deidentify", "--key", "{short}"), "16 or more"),
        (("--key", "{short}"), "with --deidentify only"),
        (("--clean-descriptors",), "with --deidentify only"),
    ],
)
def test_wrong_use(
    tmp_path: Path, home: Path, source: Path, arguments: tuple[str, ...], words: str
) -> None:
    short = key_file(tmp_path, b"short")
    given = [argument.replace("{short}", str(short)) for argument in arguments]
    done = run(home, "inspect", *given, source)
    assert done.returncode != 0
    assert words in " ".join(done.stderr.split())


def test_a_key_that_others_can_read_is_told_of(tmp_path: Path, home: Path, source: Path) -> None:
    key = key_file(tmp_path)
    key.chmod(stat.S_IRUSR | stat.S_IRGRP)
    done = run(home, "inspect", "--deidentify", "--key", key, source)
    assert done.returncode == 0
    assert "chmod 600" in done.stderr


@pytest.fixture
def mounted(tmp_path: Path, home: Path, source: Path) -> Iterator[Path]:
    if not Path("/dev/fuse").exists():
        warnings.warn("there is no /dev/fuse: nothing was mounted", stacklevel=2)
        pytest.skip("there is no /dev/fuse")
    point = tmp_path / "mnt"
    point.mkdir()
    words = f"deidentify,key={key_file(tmp_path)},flavour=svs,flavour=ome,flavour=tiff"
    log = ("--log-file", home / "log")
    home.mkdir()
    done = run(home, "mount", "-v", *log, "-o", words, source, point)
    assert done.returncode == 0, done.stderr
    assert not found_in(done.stderr.replace(str(source), "").encode())
    try:
        yield point
    finally:
        run(home, "unmount", point)


def test_a_mount(mounted: Path, home: Path, source: Path) -> None:
    files = [path for path in mounted.rglob("*") if path.is_file()]
    assert {path.name.split(".", 1)[1] for path in files} >= {"svs", "ome.tif", "tif", "dicom.json"}
    for path in files:
        attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
        data = str(path.relative_to(mounted)).encode() + repr(attributes).encode()
        assert not found_in(data + path.read_bytes()), path
        if ".dicomfs" not in path.parts:
            assert path.stat().st_mtime < source.stat().st_mtime - 300 * 86400
    mounts = Path("/proc/self/mounts").read_text()
    line = next(line for line in mounts.splitlines() if str(mounted) in line)
    assert not found_in(line.replace(str(mounted), "").encode())
    assert not found_in((home / "log").read_bytes())
    for index in home.rglob("*.sqlite3*"):
        assert not found_in(index.read_bytes())
