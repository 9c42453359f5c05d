"""What an oracle answers: the common form in which every foreign reader's view of a file is given.

The one job: the types the readers share, the rule by which the pages of a TIFF are told to be
levels, and the comparison of pixels. Knows no reader and no file.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[Any]
"""(rows, columns) for grey, (rows, columns, samples) for colour; RGB order, interleaved."""


class ReaderFailed(Exception):
    """The reader refused the file, gave an error while decoding, or logged a warning with it."""


class ReadLevel(Protocol):
    """Decodes one whole level; all arguments count from 0, `plane` from the glass upwards."""

    def __call__(self, level: int, channel: int = 0, plane: int = 0) -> Pixels: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """One file as one reader sees it. No file stays open behind it.

    `levels`: (width, height) in pixels, level 0 first. `mpp`: µm per pixel, (x, y). `associated`:
    the other images of the file, under the reader's own names in lower case, decoded when asked
    for. `channels`: one name each, empty where the reader knows none. `warnings`: what the reader
    said while opening.
    """

    reader: str
    levels: tuple[tuple[int, int], ...]
    read: ReadLevel
    mpp: tuple[float, float] | None
    objective: float | None
    associated: Mapping[str, Pixels]
    channels: tuple[str, ...] = ("",)
    focal_planes: int = 1
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """A foreign reader. `missing` gives the reason why it cannot run here, None where it can."""

    name: str
    missing: Callable[[], str | None]
    open: Callable[[Path], Opened]

    def available(self) -> bool:
        return self.missing() is None


class AssociatedImages(Mapping[str, Pixels]):
    """Named images that are decoded each time they are taken out."""

    def __init__(self, names: Sequence[str], read: Callable[[str], Pixels]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._read = read

    def __getitem__(self, name: str) -> Pixels:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Listening(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


@contextlib.contextmanager
def log_of(name: str) -> Iterator[list[str]]:
    """What a library logs from WARNING upwards, kept from other handlers."""
    logger, listening = logging.getLogger(name), _Listening()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(listening)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield listening.lines
    finally:
        logger.removeHandler(listening)
        logger.setLevel(level)
        logger.propagate = propagate


_HARMLESS: Final = ("Auto-corrected former TIFF subsampling values", "Nonstandard tile ")
"""libtiff says the first of 4:4:4 without tag 530. The tag is left out for the sake of Bio-Formats,
which gets the colours wrong where it is given; libtiff takes the factors from the stream. The
second it says of tiles whose edges are no multiples of 16, and reads them."""


def harmless(warning: str) -> bool:
    """Whether a reader warns of what it does and does right."""
    return any(words in warning for words in _HARMLESS)


def refuse_warnings(lines: Sequence[str]) -> None:
    """Pixels that came with a warning are no answer."""
    serious = dict.fromkeys(line for line in lines if not harmless(line))
    if serious:
        raise ReaderFailed("; ".join(serious))


@dataclass(frozen=True, slots=True)
class Page:
    """One image of a reader that knows pages only. `tiled` is None where it does not tell."""

    width: int
    height: int
    tiled: bool | None = None


def pyramid_pages(pages: Sequence[Page]) -> list[int]:
    """Indices of the pages that form the pyramid of page 0, the greatest first.

    A level has the shape of page 0, up to rounding, a size no other has, and is tiled if page 0 is:
    that tells a stripped thumbnail from a level. Where the reader does not say what is tiled, a
    thumbnail counts as a level.
    """
    found: dict[tuple[int, int], int] = {}
    for index, page in enumerate(pages):
        expected = page.height * pages[0].width / pages[0].height
        alike = abs(page.width - expected) <= max(2.0, 0.02 * expected)
        smaller = page.width <= pages[0].width and page.height <= pages[0].height
        if alike and smaller and page.tiled == pages[0].tiled:
            found.setdefault((page.width, page.height), index)
    return [found[size] for size in sorted(found, reverse=True)]


def one_plane_only(reader: str, channel: int, plane: int) -> None:
    """For readers that know pages, not channels and focal planes."""
    if channel or plane:
        raise ReaderFailed(f"{reader} knows no channels and focal planes")


@dataclass(frozen=True, slots=True)
class Difference:
    """How pixels differ: the greatest and the mean absolute difference; `note` says what was
    allowed for (or, with `maximum` None, why nothing could be compared)."""

    maximum: int | None
    mean: float = 0.0
    note: str = ""

    @property
    def exact(self) -> bool:
        return self.maximum == 0 and not self.note

    def __str__(self) -> str:
        if self.maximum is None:
            return self.note
        figures = "exact" if self.maximum == 0 else f"max {self.maximum} mean {self.mean:.3f}"
        return f"{figures} ({self.note})" if self.note else figures


def difference(seen: Pixels, truth: Pixels, covered: NDArray[np.bool_] | None = None) -> Difference:
    """Compare a reader's pixels with the truth, where `covered` (rows, columns) is set.

    Grey given as equal red, green and blue counts as grey, an alpha of 255 throughout as none.
    Fewer bits than the truth has are compared with its upper bits, and noted.
    """
    if seen.ndim == 3 and seen.shape[2] == 4:
        if covered is None:
            opaque = bool(np.all(seen[..., 3] == 255))
        else:
            opaque = bool(np.all(seen[..., 3][covered] == 255))
        if not opaque:
            return Difference(None, note="transparent pixels")
        seen = seen[..., :3]
    if seen.ndim == 3 and seen.shape[2] == 1:
        seen = seen[..., 0]
    if seen.ndim == 3 and truth.ndim == 2:
        if not bool(np.all(seen == seen[..., :1])):
            return Difference(None, note="colour where the truth is grey")
        seen = seen[..., 0]
    if seen.shape != truth.shape:
        return Difference(None, note=f"shape {seen.shape} for {truth.shape}")
    note = ""
    if truth.dtype.itemsize > seen.dtype.itemsize:
        note = f"{8 * seen.dtype.itemsize} of {8 * truth.dtype.itemsize} bits"
        truth = truth >> 8 * (truth.dtype.itemsize - seen.dtype.itemsize)
    if covered is not None and not covered.all():
        seen, truth = seen[covered], truth[covered]
    if truth.size == 0:
        return Difference(None, note="no pixel to compare")
    if np.array_equal(seen, truth):
        return Difference(0, 0.0, note)
    distance = np.abs(seen.astype(np.int32) - truth.astype(np.int32))
    return Difference(int(distance.max()), float(distance.mean()), note)
