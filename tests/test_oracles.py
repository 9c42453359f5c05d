"""The readers among the oracles, tried on files of known content.

What is asserted of a reader here is what it is trusted with elsewhere; a wrong answer that is known
of a reader is asserted too, so that a better release of it shows.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.oracles import bioformats
from tests.oracles.known_limits import Facts, explain, read_facts
from tests.oracles.opened import (
    Opened,
    Page,
    Pixels,
    Reader,
    ReaderFailed,
    difference,
    pyramid_pages,
)
from tests.oracles.readers import PILLOW, READERS, available_readers
from tests.oracles.samples import (
    CENTIMETRE,
    MPP,
    OBJECTIVE,
    SIZES,
    TILE,
    Sample,
    picture,
    write_ome,
    write_plain,
    write_svs,
)

# Where they find the levels only in the chain of pages, and where only in SubIFDs.
CHAIN_ONLY = ("openslide", "pillow", "libtiff")
PAGE_READERS = (*CHAIN_ONLY, "libvips", "gdal", "rasterio")


@pytest.fixture(scope="module")
def svs(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_svs(tmp_path_factory.mktemp("svs") / "slide.svs")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_plain(tmp_path_factory.mktemp("plain") / "slide.tif")


@pytest.fixture(scope="module")
def ome(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_ome(tmp_path_factory.mktemp("ome") / "slide.ome.tif")


@pytest.fixture(scope="module")
def server() -> Iterator[bioformats.Server]:
    reason = bioformats.missing()
    if reason is not None:
        pytest.skip(reason)
    with bioformats.running() as running:
        yield running


@pytest.fixture(params=[name for name in READERS if name != "libvips-cli"])
def reader(request: pytest.FixtureRequest) -> Reader:
    found = READERS[request.param]
    reason = found.missing()
    if reason is not None:
        pytest.skip(reason)
    return found


def assert_levels(opened: Opened, sample: Sample, sizes: tuple[tuple[int, int], ...]) -> None:
    assert [size for size in opened.levels if size in SIZES] == list(sizes)
    for size in sizes:
        found = difference(opened.read(opened.levels.index(size)), truth_of(sample, size))
        # rasterio's libjpeg upsamples the chroma in its own way.
        assert found.exact or (opened.reader == "rasterio" and found.mean < 1.6), found


def truth_of(sample: Sample, size: tuple[int, int]) -> Pixels:
    pixels = sample.levels[SIZES.index(size)]
    return pixels if pixels.shape[:2] == size[::-1] else pixels[0, 0]


# ------------------------------------------------------------------ every reader


def test_svs(reader: Reader, svs: Sample) -> None:
    opened = reader.open(svs.path)
    # Without SubIFDs GDAL sees one level of Aperio's layout.
    assert_levels(opened, svs, SIZES[:1] if reader.name in ("gdal", "rasterio") else SIZES)
    assert opened.mpp == pytest.approx((MPP, MPP))
    assert opened.objective == (OBJECTIVE if reader.name in ("openslide", "tifffile") else None)
    assert opened.warnings == ()
    if reader.name in ("openslide", "tifffile"):
        assert set(opened.associated) == set(svs.associated)
        for name, pixels in svs.associated.items():
            assert difference(opened.associated[name], pixels).exact


def test_plain_pyramid(reader: Reader, plain: Sample) -> None:
    opened = reader.open(plain.path)
    assert opened.levels == SIZES
    assert_levels(opened, plain, SIZES)
    assert opened.mpp == pytest.approx((MPP, MPP))
    assert opened.objective is None
    assert opened.warnings == ()


def test_ome_stack(reader: Reader, ome: Sample) -> None:
    opened = reader.open(ome.path)
    assert opened.levels == (SIZES[:1] if reader.name in CHAIN_ONLY else SIZES)
    if reader.name == "openslide":
        assert difference(opened.read(0), ome.levels[0][0, 0]).note == "8 of 16 bits"
    else:
        assert_levels(opened, ome, opened.levels)
    if reader.name in PAGE_READERS:
        assert (opened.channels, opened.focal_planes) == (("",), 1)
        with pytest.raises(ReaderFailed, match="no channels"):
            opened.read(0, 1, 0)
        return
    assert (opened.channels, opened.focal_planes) == (("Path 0", "Path 1"), 3)
    for level, stack in enumerate(ome.levels):
        for channel, plane in np.ndindex(2, 3):
            assert difference(opened.read(level, channel, plane), stack[channel, plane]).exact
    with pytest.raises(ReaderFailed):
        opened.read(0, 2, 0)


def test_a_file_that_is_no_tiff_is_refused(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "no.tif"
    path.write_bytes(b"II*\0" + bytes(60))
    with pytest.raises(ReaderFailed):
        reader.open(path)


def test_a_broken_tile_is_not_passed_over(reader: Reader, svs: Sample, tmp_path: Path) -> None:
    with tifffile.TiffFile(svs.path) as file:
        page = file.pages.first
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    content = bytearray(svs.path.read_bytes())
    content[offset : offset + count] = bytes(count)
    path = tmp_path / "broken.svs"
    path.write_bytes(content)
    with pytest.raises(ReaderFailed):
        reader.open(path).read(0)


def test_a_pyramid_written_by_libvips(reader: Reader, tmp_path: Path) -> None:
    """Deflate, SubIFDs: written and read by different libraries."""
    cli = READERS["libvips-cli"]
    if not cli.available():
        pytest.skip(str(cli.missing()))
    source, path = tmp_path / "in.tif", tmp_path / "out.tif"
    pixels = picture(300, 200)
    tifffile.imwrite(source, pixels, photometric="rgb", metadata=None, **CENTIMETRE)
    options = "tile,pyramid,bigtiff,compression=deflate,tile-width=64,tile-height=64"
    command = ["vips", "tiffsave", source, path, *(f"--{one}" for one in options.split(","))]
    subprocess.run([str(part) for part in command], check=True, timeout=60)
    opened = reader.open(path)
    assert opened.levels[:2] == ((300, 200), (150, 100))
    assert difference(opened.read(0), pixels).exact
    judge = READERS["tifffile"].open(path)
    assert difference(opened.read(1), judge.read(1)).exact


# ------------------------------------------------------------------ one reader


def test_libvips_as_a_command_is_libvips(plain: Sample) -> None:
    for reader in (READERS["libvips"], READERS["libvips-cli"]):
        if not reader.available():
            pytest.skip(str(reader.missing()))
    inside, command = (READERS[name].open(plain.path) for name in ("libvips", "libvips-cli"))
    assert (inside.levels, inside.mpp) == (command.levels, command.mpp)
    assert set(inside.associated) == set(command.associated)
    assert difference(command.read(0), plain.levels[0]).exact
    assert difference(command.read(0), inside.read(0)).exact


def test_libtiff_tells_its_warnings(tmp_path: Path) -> None:
    reader = READERS["libtiff"]
    if not reader.available():
        pytest.skip(str(reader.missing()))
    path = tmp_path / "odd.tif"
    odd = [(65000, "H", 1, 7, True)]
    tifffile.imwrite(path, picture(64, 64), photometric="rgb", extratags=odd, metadata=None)
    assert any("65000" in line for line in reader.open(path).warnings)


def test_tifffile_tells_what_it_logs(ome: Sample, tmp_path: Path) -> None:
    content = ome.path.read_bytes()
    path = tmp_path / "torn.ome.tif"
    path.write_bytes(content.replace(b'SizeC="2"', b'SizeC="9"'))
    assert READERS["tifffile"].open(path).warnings != ()


def test_pillow_leaves_its_bound_as_it_was(plain: Sample) -> None:
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    PILLOW.open(plain.path).read(0)
    assert before == Image.MAX_IMAGE_PIXELS


def test_pyvips_stays_out_of_this_process(plain: Sample) -> None:
    before = "pyvips" in sys.modules
    reader = READERS["libvips"]
    if not reader.available():
        pytest.skip(str(reader.missing()))
    reader.open(plain.path).read(0)
    assert ("pyvips" in sys.modules) == before


def test_bioformats(server: bioformats.Server, svs: Sample, ome: Sample) -> None:
    opened = server.open(svs.path)
    assert opened.levels == SIZES
    assert_levels(opened, svs, SIZES)
    assert opened.mpp == pytest.approx((MPP, MPP))
    assert opened.objective == OBJECTIVE
    for name in ("label", "macro"):
        assert difference(opened.associated[f"{name} image"], svs.associated[name]).exact

    stack = server.open(ome.path)
    assert stack.levels == SIZES
    assert (stack.channels, stack.focal_planes) == (("Path 0", "Path 1"), 3)
    assert stack.objective is None
    for level, truth in enumerate(ome.levels):
        assert difference(stack.read(level, 1, 2), truth[1, 2]).exact

    # The file of before is opened again where it is asked for.
    box = (70, 20, 90, 60)
    region = server.region(svs.path, 0, 0, box)
    assert difference(region, svs.levels[0][20:80, 70:160]).exact
    server.release()


def test_bioformats_survives_what_it_refuses(
    server: bioformats.Server, plain: Sample, tmp_path: Path
) -> None:
    path = tmp_path / "no.tif"
    path.write_bytes(b"II*\0" + bytes(60))
    with pytest.raises(ReaderFailed):
        server.open(path)
    opened = bioformats.reader(server).open(plain.path)
    # Plain pyramids show one level.
    assert opened.levels == SIZES[:1]
    assert difference(opened.read(0), plain.levels[0]).exact
    server.release()


# ------------------------------------------------------------------ the common form


def test_difference() -> None:
    truth = picture(40, 30)
    assert difference(truth, truth).exact
    one_off = truth.copy()
    one_off[3, 4, 1] ^= 1
    found = difference(one_off, truth)
    assert (found.exact, found.maximum, found.note) == (False, 1, "")
    elsewhere = np.ones(truth.shape[:2], np.bool_)
    elsewhere[3, 4] = False
    assert difference(one_off, truth, elsewhere).exact
    assert difference(truth[:, :-1], truth).maximum is None
    opaque = np.dstack((truth, np.full(truth.shape[:2], 255, np.uint8)))
    assert difference(opaque, truth).exact
    opaque[0, 0, 3] = 0
    assert difference(opaque, truth).note == "transparent pixels"


def test_difference_of_grey() -> None:
    grey = picture(40, 30, samples=1)
    assert difference(np.dstack((grey, grey, grey)), grey).exact
    assert difference(grey[..., None], grey).exact
    assert difference(picture(40, 30), grey).note == "colour where the truth is grey"
    wide = grey.astype(np.uint16) << 8
    narrowed = difference(grey, wide)
    assert (narrowed.exact, narrowed.maximum, narrowed.note) == (False, 0, "8 of 16 bits")


def test_pages_of_a_pyramid() -> None:
    pages = [
        Page(2220, 2967, True),
        Page(574, 768, False),
        Page(1110, 1484, True),
        Page(555, 742, True),
        Page(2220, 2967, True),  # another focal plane
        Page(1280, 431, True),
    ]
    assert pyramid_pages(pages) == [0, 2, 3]
    unknown = [Page(page.width, page.height) for page in pages]
    assert pyramid_pages(unknown) == [0, 2, 1, 3]


def test_known_limits(svs: Sample, ome: Sample) -> None:
    facts = read_facts(svs.path, "svs")
    assert (facts.compression, facts.bits, facts.tile) == (7, 8, (TILE, TILE))
    assert not facts.unmarked_rgb
    assert explain("openslide", "pixels", facts, 60.0) is None
    assert explain("openslide", "pixels", read_facts(ome.path, "ome"), 60.0) == "has 8 bits only"
    odd = Facts("svs", 33005, 8, (240, 250), irreversible=True)
    assert explain("bioformats", "pixels", odd, 0.2) == "another inverse 9/7 wavelet"
    assert explain("bioformats", "pixels", odd, 20.0) is None
    assert explain("libtiff", "open", odd, None) == "reads no JPEG 2000 in TIFF"
    assert explain("tifffile", "pixels", odd, 0.2) is None


def test_available_readers() -> None:
    names = [reader.name for reader in available_readers()]
    assert {"openslide", "tifffile", "pillow"} <= set(names)
    assert not {"libvips", "libvips-cli"} <= set(names)
    with pytest.raises(KeyError):
        available_readers(["qupath"])


def test_no_oracle_imports_what_it_judges() -> None:
    for path in Path(bioformats.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.partition(".")[0] == "dicomfs" for name in names), path
