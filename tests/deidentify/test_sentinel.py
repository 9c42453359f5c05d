"""A sentinel that is planted everywhere shows nowhere, and shows where nothing is de-identified."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import tifffile

import dicomfs
from dicomfs.archive import Archive
from dicomfs.errors import DicomfsError
from dicomfs.vfs.nodes import File
from tests.deidentify.planting import ROOT, WORD, found_in, write_planted
from tests.fixtures.series import SeriesSpec
from tests.schemas import validate

KEY = bytes(range(32))
FLAVOURS = ("svs", "ome", "tiff")
ALL = ("LABEL", "OVERVIEW", "THUMBNAIL")
OPTIONS = {
    "plain": dicomfs.Profile(KEY),
    "device": dicomfs.Profile(KEY, retain_device_identity=True),
    "descriptors": dicomfs.Profile(KEY, clean_descriptors=True),
    "no-structure": dicomfs.Profile(KEY, drop_structured_content=True),
}
CODECS = {
    "jpeg": "jpeg-422-jfif",
    "jpeg-rgb": "jpeg-rgb-adobe",
    "j2k": "j2k-rct",
    "native": "native-rgb8",
    "jpegls": "jpegls-rgb8",
}


def specs(codec: str) -> list[SeriesSpec]:
    """A slide with everything, and one with per-frame groups, planes and channels."""
    return [
        SeriesSpec(name="full", codec=codec, associated=ALL, width=300, height=200),
        SeriesSpec(name="sparse", codec=codec, organization="TILED_SPARSE", width=300,
                   height=200, order="shuffled", gaps=frozenset({(0, 0, 1)})),
    ]  # fmt: skip


def everything(archive: Archive) -> dict[str, bytes]:
    """All that an archive shows: paths, contents, extended attributes."""
    shown: dict[str, bytes] = {}
    for path in archive.files():
        node = archive.find(path)
        assert isinstance(node, File)
        attributes = {name: bytes(node.attributes[name]) for name in node.attributes}
        with archive.open(path) as file:
            shown[path] = path.encode() + b"\n" + repr(attributes).encode() + file.read()
    return shown


def traces(archive: Archive) -> dict[str, list[bytes]]:
    """Where traces of the sentinel are."""
    return {path: found for path, data in everything(archive).items() if (found := found_in(data))}


def unexpected(archive: Archive, profile: dicomfs.Profile) -> dict[str, list[bytes]]:
    """Traces but for the UIDs of devices where these are to be kept (0018,1002) (0018,100B)."""
    found = traces(archive)
    if profile.retain_device_identity:
        assert any(path.endswith(".dicom.json") for path in found)
        return {path: ways for path, ways in found.items() if ways != [ROOT.encode()]}
    return found


def in_index(path: Path) -> list[bytes]:
    """Traces of the sentinel in an index: in its bytes, and in every record once it is read."""
    found: list[bytes] = []
    for file in path.parent.glob(f"{path.name}*"):
        found += found_in(file.read_bytes()) + found_in(file.name.encode())
    archive = sqlite3.connect(path)
    for table in ("files", "facts", "shared", "frames", "listings", "meta"):
        for row in archive.execute(f"SELECT * FROM {table}"):
            for value in row:
                data = value if isinstance(value, bytes) else str(value).encode()
                found += found_in(data) + found_in(unpacked(data))
    archive.close()
    return found


def unpacked(data: bytes) -> bytes:
    """A record without its compression."""
    import zlib

    try:
        return zlib.decompress(data)
    except zlib.error:
        return b""


@pytest.fixture(scope="module", params=CODECS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides with the sentinel, and files that are rejected or no slides, all named after it."""
    root = tmp_path_factory.mktemp("planted") / f"{WORD} root"
    for spec in specs(CODECS[request.param]):
        paths = write_planted(root, spec)
    broken = root / f"{WORD} broken.dcm"
    broken.write_bytes(paths[0].read_bytes()[:3000])
    (root / f"{WORD} link.dcm").symlink_to("/etc/hostname")
    (root / f"{WORD}.txt").write_text(WORD)
    return root


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_of_the_sentinel_is_shown(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, options: str
) -> None:
    index = tmp_path / "index.sqlite3"
    caplog.set_level(logging.INFO)
    profile = OPTIONS[options]
    with dicomfs.open_archive(source, flavours=FLAVOURS, index=index, deidentify=profile) as it:
        assert it.status["slides"] == 2
        assert unexpected(it, profile) == {}
        assert not found_in(json.dumps(it.status).encode())
        assert not found_in(repr(it.catalogue.rejected).encode())
        assert not found_in(repr([slide.summary for slide in it.slides]).encode())
        obj = it.slides[0].entry.objects[0]
        with pytest.raises(DicomfsError) as gone:
            it.source.read_into(obj, obj.identity.size, memoryview(bytearray(10)))
        assert not found_in(str(gone.value).encode())
    assert not found_in(caplog.text.encode())
    assert in_index(index) == []
    with dicomfs.open_archive(source, flavours=FLAVOURS, index=index, deidentify=profile) as again:
        assert unexpected(again, profile) == {}  # as the index has it


def test_without_de_identification_it_is_there(source: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.sqlite3"
    with dicomfs.open_archive(source, flavours=FLAVOURS, index=index) as archive:
        found = traces(archive)
        endings = {path.split(".", 1)[1] for path in found if not path.startswith(".dicomfs")}
        assert {"json", "dicom.json", "svs", "ome.tif", "tif", "label.jpg"} <= endings
        assert {".dicomfs/status.json", ".dicomfs/rejected.json"} <= set(found)
    assert in_index(index)


def test_the_pixels_stay_what_they_are(source: Path, tmp_path: Path) -> None:
    """tifffile reads the same levels from a slide with and without identities."""

    def levels(archive: Archive) -> list[np.ndarray]:
        found = []
        for path in archive.files():
            if path.endswith(".ome.tif"):
                with archive.open(path) as file, tifffile.TiffFile(file) as tiff:
                    found += [level.asarray() for level in tiff.series[0].levels]
        return sorted(found, key=lambda level: (level.shape, level.tobytes()))

    index = tmp_path / "1"
    with dicomfs.open_archive(source, flavours=["ome"], index=index) as archive:
        plain = levels(archive)
    profile = OPTIONS["plain"]
    with dicomfs.open_archive(source, flavours=["ome"], index=tmp_path / "2",
                              deidentify=profile) as archive:  # fmt: skip
        hidden = levels(archive)
    assert len(plain) == len(hidden) > 2
    for one, other in zip(plain, hidden, strict=True):
        np.testing.assert_array_equal(one, other)


def test_documents_keep_their_schemas(source: Path, tmp_path: Path) -> None:
    profile = OPTIONS["plain"]
    with dicomfs.open_archive(source, index=tmp_path / "index", deidentify=profile) as archive:
        seen = set()
        for path in archive.files():
            if path.endswith(".json") and not path.endswith(".dicom.json") and path[0] != ".":
                with archive.open(path) as file:
                    content = json.load(file)
                kind = content["schema"].split("/")[0].removeprefix("dicomfs.")
                validate(content, kind)
                seen.add(kind)
        assert seen == {"slide", "study", "patient"}
