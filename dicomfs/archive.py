"""Slides without a mount: the same tree and the same bytes as a mount shows, from Python.

with dicomfs.open_archive("slides/") as archive:
    for path in archive.files():
        with archive.open(path) as file:
            tifffile.TiffFile(file)
"""

from __future__ import annotations

import contextlib
import gc
import io
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import platformdirs

from dicomfs.catalog.collection import Collection, Progress
from dicomfs.catalog.follow import Follower
from dicomfs.catalog.parsing import Place
from dicomfs.catalog.store import Index, index_path, memory_index, open_index
from dicomfs.dicom.confidentiality.pseudonyms import SHORTEST_KEY, Profile
from dicomfs.errors import DamagedFrameError, DicomfsError, UsageError
from dicomfs.limits import DEFAULT_LIMITS, Limits
from dicomfs.reading.reader import Reader
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.source.directory import local_source
from dicomfs.source.inflating import InflatingSource
from dicomfs.source.local import key_below
from dicomfs.version import __version__
from dicomfs.vfs.nodes import Directory, File, Node
from dicomfs.vfs.options import LayoutOptions
from dicomfs.vfs.shelf import Shelf
from dicomfs.vfs.tree import Changes, Tree
from dicomfs.vitals import Vitals

if TYPE_CHECKING:
    from dicomfs.catalog.catalogue import Catalogue
    from dicomfs.vfs.layout import SlideFiles

_BUFFER = 256 * 1024

Deliver = Callable[[Callable[[], Changes]], None]
"""Carries out a change of the tree where the tree is used."""


def cache_directory() -> Path:
    """The user's cache directory of dicomfs; nothing in it is missed when it is deleted."""
    return Path(platformdirs.user_cache_dir("dicomfs", appauthor=False))


def open_index_of(source: Path, chosen: Path | None, profile: Profile | None = None) -> Index:
    """The index of a source: the chosen file, else one in the user's cache directory.

    profile : of a de-identified mount, which has an index of its own; one in memory where the key
        of its pseudonyms is not kept
    """
    if profile is not None and not profile.lasting:
        return memory_index()
    variant = "" if profile is None else profile.fingerprint
    if chosen is not None:
        return open_index(chosen, ours=False, variant=variant)
    path = index_path(cache_directory() / "index", source, variant)
    return open_index(path, ours=True, variant=variant)


class Archive:
    """Everything that a source shows.  Made by `open_archive`.

    source : where the bytes come from; reader : reads those of the virtual files
    """

    def __init__(
        self,
        source: InflatingSource,
        index: Index,
        place: Place,
        shelf: Shelf,
        limits: Limits,
    ) -> None:
        self.source = source
        self.reader = Reader(source, limits, index)
        self._index = index
        self._place = place
        self._shelf = shelf
        self._follower: Follower | None = None
        self._deliver: Deliver = lambda change: cast(None, change())
        self._vitals = Vitals(source, self.reader)
        shelf.present = self._vitals.present

    @classmethod
    def load(
        cls,
        source: Path,
        options: LayoutOptions = LayoutOptions(),  # noqa: B008 - frozen
        *,
        exclude: Path | None = None,
        index: Path | None = None,
        progress: Progress | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Archive:
        """Look at all of a directory; see `open_archive`.

        exclude : a directory below it that is left out
        progress : is told how many files were looked at, and of how many
        """
        archive = cls.remembered(source, options, exclude=exclude, index=index, limits=limits)
        try:
            archive._make_follower().catch_up(progress)
        except BaseException:
            archive.close()
            raise
        return archive

    @classmethod
    def remembered(
        cls,
        source: Path,
        options: LayoutOptions = LayoutOptions(),  # noqa: B008 - frozen
        *,
        exclude: Path | None = None,
        index: Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Archive:
        """What the index remembers of a directory, before that was looked at; see `follow`."""
        profile = options.profile
        left_out = None if exclude is None else key_below(source, exclude)
        place = Place(source, cache_directory() / "inflated", left_out)
        local = local_source(source, place.cache, limits, profile, exclude=exclude)
        opened = open_index_of(source, index, profile)
        collection = Collection(local, opened, limits, place, profile)
        about = {"version": __version__, "source": local.name}
        shelf = Shelf(collection, options, limits, about)
        archive = cls(local, opened, place, shelf, limits)
        with _without_collection():
            shelf.restore()
        return archive

    def follow(
        self,
        *,
        watch: bool = True,
        rescan: float | None = None,
        progress: Progress | None = None,
    ) -> Follower:
        """Look at the directory, and keep the archive like it from then on, in a thread.

        watch : whether changes are noticed as the system tells of them
        rescan : seconds between two looks at all of the directory
        """
        watched = self._place.root if watch else None
        self._follower = self._make_follower(watched, rescan)
        self._vitals.follower = self._follower
        self._follower.start(self._vitals.noting(progress))
        return self._follower

    def _make_follower(self, watched: Path | None = None, rescan: float | None = None) -> Follower:
        shelf = self._shelf
        return Follower(
            shelf.collection,
            self._tell,
            shelf.verify,
            watched=watched,
            rescan=rescan,
            at_rest=_get_ready_to_open,
        )

    def observe(self, gauges: Callable[[], dict[str, Any]]) -> None:
        """From now on have `.dicomfs/status.json` say also what `gauges` gives."""
        self._vitals.others = gauges

    def deliver_changes(self, deliver: Deliver | None) -> None:
        """From now on have changes of the tree carried out by `deliver`, or in any thread."""
        self._deliver = deliver or (lambda change: cast(None, change()))

    def _tell(self, series: set[str]) -> None:
        for listings in self._shelf.prepare(series):
            self._deliver(lambda listings=listings: self._shelf.apply(listings))  # type: ignore[misc]

    @property
    def index(self) -> Index:
        """Where it is remembered what was found out."""
        return self._index

    @property
    def status(self) -> dict[str, Any]:
        """Numbers of files and slides, as `.dicomfs/status.json` has them."""
        return self._shelf.status()

    @property
    def tree(self) -> Tree:
        """The directories and files."""
        return self._shelf.tree

    @cached_property
    def slides(self) -> list[SlideFiles]:
        """The files of each slide, put together.  Blocks."""
        return list(self._shelf.slides())

    @cached_property
    def catalogue(self) -> Catalogue:
        """The slides and what is not shown.  Blocks."""
        from dicomfs.catalog.catalogue import Catalogue

        collection = self._shelf.collection
        return Catalogue(
            tuple(slide.entry for slide in self.slides),
            self._shelf.rejected,
            collection.other_series(),
            *collection.counts(),
        )

    def files(self) -> Iterator[str]:
        """The paths of all files, "/" between their parts, directory by directory."""
        waiting: list[tuple[str, Directory]] = [("", self.tree.root)]
        while waiting:
            prefix, directory = waiting.pop()
            for name, node in directory.children.items():
                if isinstance(node, Directory):
                    waiting.append((f"{prefix}{name}/", node))
                else:
                    yield prefix + name

    def find(self, path: str) -> Node:
        """The file or directory of a path.  Raises FileNotFoundError."""
        node: Node | None = self.tree.root
        for name in filter(None, path.split("/")):
            node = self.tree.lookup(node.inode, name) if isinstance(node, Directory) else None
            if node is None:
                raise FileNotFoundError(f"the archive has no {path}")
        assert node is not None
        return node

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading: seekable, and exact to the byte.

        Raises FileNotFoundError; reading raises OSError with the errno that a mount would give.
        """
        node = self.find(path)
        if not isinstance(node, File):
            raise IsADirectoryError(f"{path} is a directory")
        raw = ArchiveFile(self.reader, node.content, path)
        return cast(BinaryIO, io.BufferedReader(raw, _BUFFER))

    def close(self) -> None:
        """Close all source files, and no longer follow the source."""
        if self._follower is not None:
            self._follower.stop()
        self.source.close()
        self._index.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ArchiveFile(io.RawIOBase):
    """A virtual file as a raw binary file."""

    def __init__(self, reader: Reader, content: VirtualFile, name: str) -> None:
        super().__init__()
        self._reader = reader
        self._content = content
        self._position = 0
        self.name = name
        self.mode = "rb"

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position in bytes."""
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size}
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"cannot seek to {position}")
        self._position = position
        return position

    def tell(self) -> int:
        """The position in bytes."""
        return self._position

    def readinto(self, buffer: object, /) -> int:
        """Fill the buffer from the position on; returns how many bytes that were.

        Stops short in front of a page that cannot be read: a buffered reader asks for more than
        its user did.
        """
        from dicomfs.tiff.plan import PAGE

        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while True:
            try:
                done = self._reader.read_into_blocking(self._content, self._position, view)
                break
            except DicomfsError as error:
                page_end = PAGE - self._position % PAGE
                if len(view) <= page_end or not isinstance(error, DamagedFrameError):
                    raise OSError(error.errno, str(error), self.name) from error
                view = view[: max(page_end, len(view) // 2 // PAGE * PAGE)]
        self._position += done
        return done


def _get_ready_to_open() -> None:
    """Import now what the first slide that is opened would have to wait for."""
    import dicomfs.catalog.records
    import dicomfs.slide.build
    import dicomfs.vfs.layout  # noqa: F401


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Do not look for garbage while very many things are made that all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def open_archive(
    path: str | Path,
    *,
    flavours: Sequence[str] = (),
    decode: bool = False,
    blank_damaged: bool = False,
    index: str | Path | None = None,
    deidentify: Profile | None = None,
) -> Archive:
    """Scan a directory of DICOM files and show its slides as virtual files, without a mount.

    flavours : kinds of TIFF ("svs", "ome", "tiff"); empty for the one that fits each slide
    decode : store all tiles decoded, for readers that lack a codec
    blank_damaged : show missing frames blank; without, reading them is an error
    index : file in which what was found out is remembered, so that it need not be found out
        again; None for one in the user's cache directory
    deidentify : show slides without identities, with the key and the options of a
        `dicomfs.Profile`; None for slides as they are

    Raises UsageError where the path is no directory, a flavour is unknown or a key too short.
    """
    from dicomfs.tiff.storage import Flavour

    unknown = sorted(set(flavours) - {flavour.value for flavour in Flavour})
    if unknown:
        raise UsageError(f"unknown flavour {', '.join(unknown)}; there are svs, ome and tiff")
    if deidentify is not None and len(deidentify.key) < SHORTEST_KEY:
        raise UsageError(f"a key has at least {SHORTEST_KEY} bytes")
    options = LayoutOptions(tuple(flavours), decode, blank_damaged, deidentify)
    return Archive.load(Path(path), options, index=None if index is None else Path(index))
