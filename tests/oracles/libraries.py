"""The readers that are libraries of their own with command-line tools: libvips, libtiff, GDAL.

The one job: open a TIFF with each and answer as `Opened`. libtiff and GDAL run as commands, so that
what they complain of is seen and a crash is theirs alone. libvips runs through pyvips in a process
of its own, or as a command where pyvips finds no library. They know pages, not channels or planes.
"""

import functools
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import tifffile

from tests.oracles.opened import (
    AssociatedImages,
    Opened,
    Page,
    Pixels,
    Reader,
    ReaderFailed,
    log_of,
    one_plane_only,
    pyramid_pages,
    refuse_warnings,
)

_DEADLINE_S: Final = 300
_UNITS_UM: Final = {"2": 25400.0, "3": 10000.0, "inch": 25400.0, "cm": 10000.0}


def _needs(*commands: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        absent = [command for command in commands if shutil.which(command) is None]
        return f"not installed: {', '.join(absent)}" if absent else None

    return missing


def _run(*arguments: str | Path) -> tuple[str, tuple[str, ...]]:
    """Standard output and the lines of standard error; a failed command is a failed reader."""
    done = subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_DEADLINE_S,
        # No language of the machine in the messages, no statistics beside the file.
        env={**os.environ, "LC_ALL": "C.UTF-8", "GDAL_PAM_ENABLED": "NO"},
        check=False,
    )
    complaints = tuple(line.strip() for line in done.stderr.splitlines() if line.strip())
    if done.returncode:
        raise ReaderFailed(f"{arguments[0]} {done.returncode}: {'; '.join(complaints)[:400]}")
    return done.stdout, complaints


# ------------------------------------------------------------------ libvips

VipsPage: TypeAlias = tuple[Mapping[str, Any], Pixels | None, tuple[str, ...]]
"""Header fields, the pixels if they were asked for, the warnings."""

VipsLoad: TypeAlias = Callable[[Path, int, int, bool], VipsPage]
"""By path, page, subifd (-1 for the page itself), and whether pixels are wanted."""

_VIPS_FIELDS: Final = ("width", "height", "bands", "xres", "yres", "n-pages", "n-subifds")

_VIPS_TYPES: Final = {"uchar": np.uint8, "ushort": np.uint16, "uint": np.uint32}


@functools.cache
def _vips_process() -> ProcessPoolExecutor:
    """Where pyvips is imported. Loaded into this process, libvips lends its own OpenJPEG to other
    decoders, imagecodecs among them, and their pixels change."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def _import_pyvips() -> str | None:
    try:
        import pyvips
    except (ImportError, OSError) as error:
        return f"pyvips: {error}"
    # Cached operations would keep files of a mount open.
    pyvips.cache_set_max(0)
    return None


@functools.cache
def _pyvips_missing() -> str | None:
    try:
        return _vips_process().submit(_import_pyvips).result(_DEADLINE_S)
    except (BrokenProcessPool, TimeoutError) as error:
        return f"the process for pyvips: {type(error).__name__}: {error}"


def _pyvips_page(path: Path, page: int, subifd: int, pixels: bool) -> VipsPage:
    import pyvips

    with log_of("pyvips") as lines:
        try:
            image = pyvips.Image.tiffload(str(path), page=page, subifd=subifd, fail_on="warning")
            known = set(image.get_fields())
            fields = {name: image.get(name) for name in _VIPS_FIELDS if name in known}
            array = image.numpy() if pixels else None
        except pyvips.Error as error:
            raise ReaderFailed(str(error).strip()) from error
    return fields, array, tuple(lines)


def _load_pyvips(path: Path, page: int, subifd: int, pixels: bool) -> VipsPage:
    missing = _pyvips_missing()
    if missing is not None:
        raise ReaderFailed(missing)
    try:
        task = _vips_process().submit(_pyvips_page, path, page, subifd, pixels)
        return task.result(_DEADLINE_S)
    except (BrokenProcessPool, TimeoutError) as error:
        _vips_process.cache_clear()
        _pyvips_missing.cache_clear()
        raise ReaderFailed(f"libvips: {type(error).__name__}: {error}") from error


def _load_vips_command(path: Path, page: int, subifd: int, pixels: bool) -> VipsPage:
    options = ("--page", str(page), "--subifd", str(subifd), "--fail-on", "warning")
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "page.v")
        _, complaints = _run("vips", "tiffload", path, out, *options)
        lines = (line.partition(": ") for line in _run("vipsheader", "-a", out)[0].splitlines())
        fields: dict[str, Any] = {key.strip(): value.strip() for key, _, value in lines}
        for name in ("width", "height", "bands", "n-pages", "n-subifds"):
            if name in fields:
                fields[name] = int(fields[name])
        # The native format of libvips: 64 bytes of header, then the pixels, interleaved.
        array = np.fromfile(out, dtype=_VIPS_TYPES[fields["format"]], offset=64)
        count = fields["width"] * fields["height"] * fields["bands"]
        array = array[:count].reshape(fields["height"], fields["width"], fields["bands"])
    return fields, array if pixels else None, complaints


def _open_vips(name: str, load: VipsLoad, path: Path) -> Opened:
    """The pyramid is page 0 with its SubIFDs where it has some, else the pages of its shape."""

    def pixels_of(where: tuple[int, int]) -> Pixels:
        _, pixels, complaints = load(path, *where, True)
        refuse_warnings(complaints)
        assert pixels is not None
        return pixels

    def read(level: int, channel: int = 0, plane: int = 0) -> Pixels:
        one_plane_only(name, channel, plane)
        return pixels_of(places[level])

    first, _, complaints = load(path, 0, -1, False)
    sizes: dict[tuple[int, int], Page] = {}
    for page in range(int(first.get("n-pages", 1))):
        fields = first if page == 0 else load(path, page, -1, False)[0]
        sizes[page, -1] = Page(fields["width"], fields["height"])
    chain = list(sizes)
    for subifd in range(int(first.get("n-subifds", 0))):
        fields = load(path, 0, subifd, False)[0]
        sizes[0, subifd] = Page(fields["width"], fields["height"])
    candidates = list(sizes) if len(sizes) == len(chain) else [(0, -1), *list(sizes)[len(chain) :]]
    found = pyramid_pages([sizes[place] for place in candidates])
    places = [candidates[index] for index in found]
    levels = tuple((sizes[place].width, sizes[place].height) for place in places)
    others = [
        f"page {page}"
        for page, subifd in chain
        if page and (sizes[page, subifd].width, sizes[page, subifd].height) not in levels
    ]
    x, y = float(first["xres"]), float(first["yres"])
    return Opened(
        reader=name,
        levels=levels,
        read=read,
        # Pixels per mm; libvips says 1 where the file says nothing.
        mpp=None if (x, y) == (1.0, 1.0) else (1000.0 / x, 1000.0 / y),
        objective=None,
        associated=AssociatedImages(others, lambda other: pixels_of((int(other.split()[1]), -1))),
        warnings=complaints,
    )


# ------------------------------------------------------------------ libtiff


def _uncompressed_strips(path: Path) -> Pixels:
    """The bytes of the strips tiffcp wrote; it copies tags of the codec that no longer hold."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        strips: list[bytes] = []
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.filehandle.seek(offset)
            strips.append(file.filehandle.read(count))
        shape = (page.imagelength, page.imagewidth)
        samples, bits = page.samplesperpixel, page.bitspersample
        dtype = np.dtype(f"{file.byteorder}u{bits // 8}")
    flat = np.frombuffer(b"".join(strips), dtype=dtype).astype(dtype.newbyteorder("="))
    if flat.size != shape[0] * shape[1] * samples:
        raise ReaderFailed(f"tiffcp wrote {flat.size} samples for {shape} of {samples}")
    return flat.reshape(shape if samples == 1 else (*shape, samples))


def open_libtiff(path: Path) -> Opened:
    """libtiff by its tools: tiffinfo for the directories, tiffcp for the pixels, uncompressed."""

    def pixels_of(index: int) -> Pixels:
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory, "page.tif")
            # "|" instead of "," between the name and the number of the directory.
            options = ("-m", "0", "-s", "-c", "none", "-p", "contig", "-,=|")
            _, complaints = _run("tiffcp", *options, f"{path}|{index}", out)
            refuse_warnings(complaints)
            return _uncompressed_strips(out)

    def read(level: int, channel: int = 0, plane: int = 0) -> Pixels:
        one_plane_only("libtiff", channel, plane)
        return pixels_of(found[level])

    text, complaints = _run("tiffinfo", path)
    pages: list[Page] = []
    blocks = re.split(r"^=== TIFF directory \d+ ===$", text, flags=re.MULTILINE)[1:]
    for block in blocks:
        size = re.search(r"Image Width: (\d+) Image Length: (\d+)", block)
        if size is None:
            raise ReaderFailed(f"tiffinfo shows no size: {block[:200]}")
        pages.append(Page(int(size[1]), int(size[2]), "Tile Width:" in block))
    if not pages:
        raise ReaderFailed("tiffinfo shows no directory")
    resolution = re.search(r"Resolution: ([\d.]+), ([\d.]+) pixels/(cm|inch)", blocks[0])
    mpp: tuple[float, float] | None = None
    if resolution is not None:
        unit = _UNITS_UM[resolution[3]]
        mpp = (unit / float(resolution[1]), unit / float(resolution[2]))
    found = pyramid_pages(pages)
    sizes = tuple((pages[index].width, pages[index].height) for index in found)
    others = [f"page {index}" for index in range(len(pages)) if index not in found]
    return Opened(
        reader="libtiff",
        levels=sizes,
        read=read,
        mpp=mpp,
        objective=None,
        associated=AssociatedImages(others, lambda name: pixels_of(int(name.split()[1]))),
        warnings=complaints,
    )


# ------------------------------------------------------------------ GDAL

_ENVI_TYPES: Final = {"Byte": np.uint8, "UInt16": np.uint16, "UInt32": np.uint32}


@dataclass(frozen=True, slots=True)
class _Raster:
    sizes: list[Page]
    bands: int
    pixel_type: str
    tags: Mapping[str, str]
    subdatasets: list[str]
    complaints: tuple[str, ...]


def _gdal_mpp(tags: Mapping[str, str]) -> tuple[float, float] | None:
    unit = _UNITS_UM.get(tags.get("TIFFTAG_RESOLUTIONUNIT", "")[:1])
    x, y = tags.get("TIFFTAG_XRESOLUTION"), tags.get("TIFFTAG_YRESOLUTION")
    return (unit / float(x), unit / float(y)) if unit and x and y else None


def _gdal_raster(dataset: str | Path) -> _Raster:
    text, complaints = _run("gdalinfo", "-json", dataset)
    facts = json.loads(text)
    band = facts["bands"][0]
    sizes = [facts["size"], *(one["size"] for one in band.get("overviews", []))]
    metadata = facts.get("metadata", {})
    sub = metadata.get("SUBDATASETS", {})
    return _Raster(
        sizes=[Page(width, height) for width, height in sizes],
        bands=len(facts["bands"]),
        pixel_type=band["type"],
        tags=metadata.get("", {}),
        subdatasets=[value for key, value in sub.items() if key.endswith("_NAME")],
        complaints=complaints,
    )


def _gdal_pixels(dataset: str | Path, raster: _Raster, overview: int | None) -> Pixels:
    size = raster.sizes[0 if overview is None else overview + 1]
    options = () if overview is None else ("-oo", f"OVERVIEW_LEVEL={overview}")
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "level.raw")
        envi = ("-q", "-of", "ENVI", "-co", "INTERLEAVE=BIP")
        _, complaints = _run("gdal_translate", *envi, *options, dataset, out)
        refuse_warnings(complaints)
        flat = np.fromfile(out, dtype=_ENVI_TYPES[raster.pixel_type])
    shape = (size.height, size.width)
    return flat.reshape(shape if raster.bands == 1 else (*shape, raster.bands))


def open_gdal(path: Path) -> Opened:
    """GDAL by its commands: the first image, its overviews as levels, the others as subdatasets."""

    def read(level: int, channel: int = 0, plane: int = 0) -> Pixels:
        one_plane_only("GDAL", channel, plane)
        return _gdal_pixels(path, raster, found[level] - 1 if found[level] else None)

    def read_page(name: str) -> Pixels:
        return _gdal_pixels(others[name], _gdal_raster(others[name]), None)

    raster = _gdal_raster(path)
    found = pyramid_pages(raster.sizes)
    levels = tuple((raster.sizes[index].width, raster.sizes[index].height) for index in found)
    # GTIFF_DIR:<number of the directory, from 1>:<path>; the first is the image itself.
    others = {
        f"page {int(name.split(':')[1]) - 1}": name
        for name in raster.subdatasets
        if name.startswith("GTIFF_DIR:") and not name.startswith("GTIFF_DIR:1:")
    }
    return Opened(
        reader="gdal",
        levels=levels,
        read=read,
        mpp=_gdal_mpp(raster.tags),
        objective=None,
        associated=AssociatedImages(tuple(others), read_page),
        warnings=raster.complaints,
    )


def _rasterio_missing() -> str | None:
    try:
        import rasterio  # noqa: F401
    except (ImportError, OSError) as error:
        return f"rasterio: {error}"
    return None


def open_rasterio(path: Path) -> Opened:
    """GDAL as it is inside the rasterio wheel, with a libtiff and libjpeg of its own."""
    import rasterio

    def read(level: int, channel: int = 0, plane: int = 0) -> Pixels:
        one_plane_only("rasterio", channel, plane)
        chosen = {"overview_level": found[level] - 1} if found[level] else {}
        with log_of("rasterio") as lines, warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            try:
                with rasterio.open(path, **chosen) as dataset:
                    pixels: Pixels = np.moveaxis(dataset.read(), 0, -1)
            except rasterio.errors.RasterioError as error:
                raise ReaderFailed(str(error)) from error
        refuse_warnings(lines)
        return pixels

    with log_of("rasterio") as lines, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as dataset:
                sizes, tags = [Page(dataset.width, dataset.height)], dataset.tags()
                count = len(dataset.overviews(1))
            for overview in range(count):
                with rasterio.open(path, overview_level=overview) as dataset:
                    sizes.append(Page(dataset.width, dataset.height))
        except rasterio.errors.RasterioError as error:
            raise ReaderFailed(str(error)) from error
    found = pyramid_pages(sizes)
    return Opened(
        reader="rasterio",
        levels=tuple((sizes[index].width, sizes[index].height) for index in found),
        read=read,
        mpp=_gdal_mpp(tags),
        objective=None,
        associated={},
        warnings=tuple(lines),
    )


LIBVIPS: Final = Reader(
    "libvips", _pyvips_missing, functools.partial(_open_vips, "libvips", _load_pyvips)
)
LIBVIPS_CLI: Final = Reader(
    "libvips-cli",
    _needs("vips", "vipsheader"),
    functools.partial(_open_vips, "libvips-cli", _load_vips_command),
)
LIBTIFF: Final = Reader("libtiff", _needs("tiffinfo", "tiffcp"), open_libtiff)
GDAL: Final = Reader("gdal", _needs("gdalinfo", "gdal_translate"), open_gdal)
RASTERIO: Final = Reader("rasterio", _rasterio_missing, open_rasterio)
