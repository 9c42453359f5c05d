"""Associated images as JPEG files: the frame itself where it is one, else encoded when read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dicomfs
from tests.fixtures.pixels import Pixels
from tests.fixtures.series import Series, SeriesSpec
from tests.fixtures.wsm import write_series

KINDS = {"LABEL": "label", "OVERVIEW": "overview", "THUMBNAIL": "thumbnail"}


def written(directory: Path, **spec: Any) -> Series:
    small: dict[str, Any] = {"width": 300, "height": 200, "downsamples": (1,)}
    return write_series(directory, SeriesSpec(**(small | spec), associated=tuple(KINDS)))


def jpegs(directory: Path) -> dict[str, bytes]:
    """The JPEG files of the only slide, by kind, read from their start to their end."""
    found = {}
    with dicomfs.open_archive(directory) as archive:
        for path in archive.files():
            if path.endswith(".jpg"):
                with archive.open(path) as file:
                    size = file.seek(0, io.SEEK_END)
                    file.seek(0)
                    found[path.split(".")[-2]] = file.read()
                    assert len(found[path.split(".")[-2]]) == size
    return found


def as_seen(data: bytes) -> Pixels:
    """What a program makes of it that knows JPEG and nothing else."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


@pytest.mark.parametrize(
    "codec", ["jpeg-422-jfif", "jpeg-420-adobe", "jpeg-rgb-adobe", "jpeg-grey"]
)
def test_a_frame_that_is_a_jpeg_file_is_the_file(codec: str, tmp_path: Path) -> None:
    series = written(tmp_path, codec=codec)
    found = jpegs(tmp_path)
    assert set(found) == set(KINDS.values())
    for flavour, kind in KINDS.items():
        frame = series.associated[flavour].frames[0]
        assert found[kind] in (frame.data, frame.data + b"\0")
        np.testing.assert_array_equal(as_seen(found[kind]), series.associated[flavour].pixels[0, 0])


def test_a_frame_of_several_fragments_is_put_together(tmp_path: Path) -> None:
    series = written(tmp_path, fragment_size=500)
    for flavour, kind in KINDS.items():
        frame = series.associated[flavour].frames[0]
        assert len(frame.spans) > 1
        assert jpegs(tmp_path)[kind] in (frame.data, frame.data + b"\0")


@pytest.mark.parametrize(
    "codec",
    ["jpeg-rgb-bare", "native-rgb8", "j2k-rct", "jpegls-rgb8", "rle-grey8", "native-grey16"],
)
def test_anything_else_is_encoded(codec: str, tmp_path: Path) -> None:
    """Unmarked RGB too: programs take three components for YCbCr."""
    series = written(tmp_path, codec=codec)
    found = jpegs(tmp_path)
    assert set(found) == set(KINDS.values())
    for flavour, kind in KINDS.items():
        expected = series.associated[flavour].pixels[0, 0]
        seen = as_seen(found[kind])
        assert seen.shape == expected.shape
        scaled = expected >> 8 if expected.dtype == np.uint16 else expected
        difference = np.abs(seen.astype(int) - scaled)
        assert difference.mean() < 4
        assert np.percentile(difference, 99) < 40


def test_the_size_of_an_encoded_image_follows_from_its_sides(tmp_path: Path) -> None:
    """It is known before anything is encoded; zeros fill the file up behind the image."""
    written(tmp_path / "one", codec="native-rgb8", name="one")
    written(tmp_path / "two", codec="j2k-rct", name="two")
    one, two = jpegs(tmp_path / "one"), jpegs(tmp_path / "two")
    for kind, data in one.items():
        assert len(data) == len(two[kind])
        image, _, rest = data.rpartition(b"\xff\xd9")
        assert image.startswith(b"\xff\xd8")
        assert not rest.strip(b"\0")


def test_noise_fits_its_file(tmp_path: Path) -> None:
    """A picture that cannot be compressed is compressed more."""
    series = written(tmp_path, codec="native-rgb8")
    label = next(file for file in series.files if file.flavour == "LABEL")
    span = series.associated["LABEL"].frames[0].spans[0]
    data = bytearray(label.path.read_bytes())
    rng = np.random.default_rng(5)
    random_pixels = rng.integers(0, 256, span.length, dtype=np.uint8).tobytes()
    data[span.start : span.start + span.length] = random_pixels
    label.path.write_bytes(data)
    assert as_seen(jpegs(tmp_path)["label"]).shape == (120, 160, 3)


def test_a_damaged_image_is_an_error_and_harms_nothing_else(tmp_path: Path) -> None:
    series = written(tmp_path, codec="jpegls-rgb8")
    label = next(file for file in series.files if file.flavour == "LABEL")
    span = series.associated["LABEL"].frames[0].spans[0]
    data = bytearray(label.path.read_bytes())
    data[span.start : span.start + 40] = bytes(40)
    label.path.write_bytes(data)
    with dicomfs.open_archive(tmp_path) as archive:
        for path in archive.files():
            with archive.open(path) as file:
                if path.endswith(".label.jpg"):
                    with pytest.raises(OSError, match="label"):
                        file.read()
                elif path.endswith(".jpg"):
                    assert as_seen(file.read()).size
