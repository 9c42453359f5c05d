"""The foreign TIFF readers, each behind one function that opens a path.

The one job: ask OpenSlide, tifffile and Pillow, in this process, what they see of a file and give
the answer as `Opened`; and list all readers by name. Nothing is corrected on the way: a wrong
answer of a reader has to show. No file stays open between calls, so that a mount can be taken down.
"""

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin
from tifffile.tifffile import svs_description_metadata

from tests.oracles.libraries import GDAL, LIBTIFF, LIBVIPS, LIBVIPS_CLI, RASTERIO
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

_MICROMETRES: Final = {
    "pm": 1e-6,
    "nm": 1e-3,
    "µm": 1.0,
    "\u03bcm": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}
_CENTIMETRE: Final = 3
_UNITS_UM: Final = {2: 25400.0, _CENTIMETRE: 10000.0}


def _nothing_missing() -> str | None:
    return None


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _numbers(x: object, y: object) -> tuple[float, float] | None:
    first, second = _number(x), _number(y)
    return None if first is None or second is None else (first, second)


# ------------------------------------------------------------------ OpenSlide


def _openslide_missing() -> str | None:
    try:
        import openslide  # noqa: F401
    except (ImportError, OSError) as error:
        return str(error)
    return None


def _flattened(image: Image.Image) -> Pixels:
    """RGB if the image is opaque, else RGBA as it is."""
    pixels = np.asarray(image.convert("RGBA"))
    return pixels[..., :3] if bool(np.all(pixels[..., 3] == 255)) else pixels


def open_openslide(path: Path) -> Opened:
    """OpenSlide, of a TIFF as of a `.dcm`. Pixels it does not have stay transparent (RGBA)."""
    import openslide

    def read(level: int, channel: int = 0, plane: int = 0) -> Pixels:
        one_plane_only("openslide", channel, plane)
        try:
            with openslide.OpenSlide(path) as slide:
                size = slide.level_dimensions[level]
                return _flattened(slide.read_region((0, 0), level, size))
        except openslide.OpenSlideError as error:
            raise ReaderFailed(str(error)) from error

    def read_associated(name: str) -> Pixels:
        try:
            with openslide.OpenSlide(path) as slide:
                return _flattened(slide.associated_images[names[name]])
        except openslide.OpenSlideError as error:
            raise ReaderFailed(str(error)) from error

    try:
        with openslide.OpenSlide(path) as slide:
            levels = tuple((width, height) for width, height in slide.level_dimensions)
            properties = dict(slide.properties)
            names = {name.lower(): name for name in slide.associated_images}
    except openslide.OpenSlideError as error:
        raise ReaderFailed(str(error)) from error
    return Opened(
        reader="openslide",
        levels=levels,
        read=read,
        mpp=_numbers(
            properties.get(openslide.PROPERTY_NAME_MPP_X),
            properties.get(openslide.PROPERTY_NAME_MPP_Y),
        ),
        objective=_number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
        associated=AssociatedImages(tuple(names), read_associated),
    )


# ------------------------------------------------------------------ tifffile


def _length(shape: Sequence[int], axes: str, axis: str) -> int:
    return int(shape[axes.index(axis)]) if axis in axes else 1


def _ome_items(value: object) -> list[Mapping[str, Any]]:
    """xml2dict gives one child as a dict, several as a list, none as nothing."""
    if isinstance(value, list | tuple):
        return [item for item in value if isinstance(item, Mapping)]
    return [value] if isinstance(value, Mapping) else []


def _ome_facts(
    xml: str,
) -> tuple[tuple[float, float] | None, float | None, tuple[str, ...]]:
    """mpp, objective and channel names of the first image, from OME-XML."""
    root = tifffile.xml2dict(xml)["OME"]
    image = _ome_items(root["Image"])[0]
    pixels = image["Pixels"]
    mpp: list[float] = []
    for axis in "XY":
        size = _number(pixels.get(f"PhysicalSize{axis}"))
        scale = _MICROMETRES.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
        if size is not None and scale is not None:
            mpp.append(size * scale)
    settings = image.get("ObjectiveSettings")
    wanted = settings.get("ID") if isinstance(settings, Mapping) else None
    objective: float | None = None
    for instrument in _ome_items(root.get("Instrument")):
        for lens in _ome_items(instrument.get("Objective")):
            if objective is None and (wanted is None or lens.get("ID") == wanted):
                objective = _number(lens.get("NominalMagnification"))
    names = tuple(str(item.get("Name", "")) for item in _ome_items(pixels.get("Channel")))
    return (mpp[0], mpp[1]) if len(mpp) == 2 else None, objective, names


def _resolution(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """µm per pixel by the resolution tags of the page."""
    if 282 not in page.tags or 283 not in page.tags:
        return None
    unit = _UNITS_UM.get(int(page.resolutionunit))
    x, y = page.resolution
    return (unit / x, unit / y) if unit is not None and x and y else None


def _page_pixels(series: tifffile.TiffPageSeries, channel: int, plane: int) -> Pixels:
    axes, shape = series.axes, series.shape
    samples_first = axes.endswith("SYX")
    leading = axes[:-3] if samples_first or axes.endswith("YXS") else axes[:-2]
    wanted = {"C": channel, "Z": plane}
    index = 0
    for axis, size in zip(leading, shape, strict=False):
        position = wanted.pop(axis, 0)
        if position >= size:
            raise ReaderFailed(f"tifffile sees {size} along {axis}, not {position + 1}")
        index = index * size + position
    if any(wanted.values()):
        raise ReaderFailed(f"tifffile sees no axis {' '.join(wanted)} in {axes}")
    page = series.pages[index]
    if page is None:
        raise ReaderFailed(f"tifffile sees no page {index} in {axes}")
    pixels: Pixels = page.asarray()
    return np.moveaxis(pixels, 0, -1) if samples_first else pixels


def open_tifffile(path: Path) -> Opened:
    """tifffile: series 0 and its levels; the other series are the associated images."""

    def decoded(series_index: int, level: int, channel: int = 0, plane: int = 0) -> Pixels:
        with log_of("tifffile") as lines:
            try:
                with tifffile.TiffFile(path) as file:
                    series = file.series[series_index].levels[level]
                    pixels = _page_pixels(series, channel, plane)
            except ReaderFailed:
                raise
            except Exception as error:
                raise ReaderFailed(f"{type(error).__name__}: {error}") from error
        refuse_warnings(lines)
        return pixels

    def read(level: int, channel: int = 0, plane: int = 0) -> Pixels:
        return decoded(0, level, channel, plane)

    with log_of("tifffile") as lines:
        try:
            with tifffile.TiffFile(path) as file:
                main = file.series[0]
                levels = tuple(
                    (_length(one.shape, one.axes, "X"), _length(one.shape, one.axes, "Y"))
                    for one in main.levels
                )
                names = {
                    (series.name or f"series {index}").lower(): index
                    for index, series in enumerate(file.series)
                    if index
                }
                page = file.pages.first
                mpp, objective = _resolution(page), None
                channels: tuple[str, ...] = ()
                if file.is_svs:
                    facts = svs_description_metadata(page.description)
                    mpp = _numbers(facts.get("MPP"), facts.get("MPP"))
                    objective = _number(facts.get("AppMag"))
                elif file.ome_metadata:
                    mpp, objective, channels = _ome_facts(file.ome_metadata)
                count = _length(main.shape, main.axes, "C")
                planes = _length(main.shape, main.axes, "Z")
        except Exception as error:
            raise ReaderFailed(f"{type(error).__name__}: {error}") from error
    return Opened(
        reader="tifffile",
        levels=levels,
        read=read,
        mpp=mpp,
        objective=objective,
        associated=AssociatedImages(tuple(names), lambda name: decoded(names[name], 0)),
        channels=(channels + ("",) * count)[:count],
        focal_planes=planes,
        warnings=tuple(lines),
    )


# ------------------------------------------------------------------ Pillow


@contextlib.contextmanager
def _pillow_frames(path: Path) -> Iterator[TiffImagePlugin.TiffImageFile]:
    """The file as Pillow's TIFF plug-in opens it; what it warns of is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A level is decoded whole: the bound against bombs has no place here.
        bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(path, formats=("TIFF",)) as image:
                if not isinstance(image, TiffImagePlugin.TiffImageFile):
                    raise ReaderFailed(f"Pillow opens it as {image.format}")
                yield image
        except ReaderFailed:
            raise
        except Exception as error:
            raise ReaderFailed(f"{type(error).__name__}: {error}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = bound


def open_pillow(path: Path) -> Opened:
    """Pillow: the pages of the chain. It knows no levels: the shape of the pages tells them."""

    def page_pixels(index: int) -> Pixels:
        with _pillow_frames(path) as image:
            image.seek(index)
            shown = image.convert("RGB") if image.mode == "YCbCr" else image
            return np.asarray(shown)

    def read(level: int, channel: int = 0, plane: int = 0) -> Pixels:
        one_plane_only("Pillow", channel, plane)
        return page_pixels(found[level])

    pages: list[Page] = []
    with _pillow_frames(path) as image:
        for index in range(image.n_frames):
            image.seek(index)
            tiled = TiffImagePlugin.TILEWIDTH in image.tag_v2
            pages.append(Page(image.width, image.height, tiled))
        image.seek(0)
        unit = _UNITS_UM.get(int(image.tag_v2.get(TiffImagePlugin.RESOLUTION_UNIT, 2)))
        x = _number(image.tag_v2.get(TiffImagePlugin.X_RESOLUTION))
        y = _number(image.tag_v2.get(TiffImagePlugin.Y_RESOLUTION))
    found = pyramid_pages(pages)
    others = [f"page {index}" for index in range(len(pages)) if index not in found]
    return Opened(
        reader="pillow",
        levels=tuple((pages[index].width, pages[index].height) for index in found),
        read=read,
        mpp=(unit / x, unit / y) if unit and x and y else None,
        objective=None,
        associated=AssociatedImages(others, lambda name: page_pixels(int(name.split()[1]))),
    )


# ------------------------------------------------------------------ all of them

OPENSLIDE: Final = Reader("openslide", _openslide_missing, open_openslide)
TIFFFILE: Final = Reader("tifffile", _nothing_missing, open_tifffile)
PILLOW: Final = Reader("pillow", _nothing_missing, open_pillow)

READERS: Final[Mapping[str, Reader]] = {
    reader.name: reader
    for reader in (OPENSLIDE, TIFFFILE, PILLOW, LIBVIPS, LIBVIPS_CLI, LIBTIFF, GDAL, RASTERIO)
}
"""Every reader but Bio-Formats, which needs a server to be started (`bioformats`)."""


def available_readers(wanted: Iterable[str] = ()) -> list[Reader]:
    """The readers that can run here, all or the wanted; of libvips' two ways in only the first."""
    names = tuple(wanted)
    for name in names:
        if name not in READERS:
            raise KeyError(f"no reader {name}: there are {', '.join(READERS)}")
    chosen = [READERS[name] for name in names] if names else list(READERS.values())
    running = [reader for reader in chosen if reader.available()]
    if not names and LIBVIPS in running and LIBVIPS_CLI in running:
        running.remove(LIBVIPS_CLI)
    return running
