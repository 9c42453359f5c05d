"""Slides without a mount: the same tree and the same bytes as a mount shows, from Python.

with dicomfs.open_archive("slides/") as archive:
    for path in archive.files():
        with archive.open(path) as file:
            tifffile.TiffFile(file)
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import platformdirs

from dicomfs.catalog.catalogue import Catalogue
from dicomfs.catalog.scan import Progress, scan
from dicomfs.errors import UsageError
from dicomfs.limits import DEFAULT_LIMITS, Limits
from dicomfs.reading.reader import Reader
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.source.inflating import InflatingSource
from dicomfs.source.local import LocalDirectory
from dicomfs.source.protocol import Source
from dicomfs.tiff.storage import Flavour
from dicomfs.version import __version__
from dicomfs.vfs.layout import LayoutOptions, SlideFiles, lay_out, make_tree
from dicomfs.vfs.nodes import Directory, File, Node
from dicomfs.vfs.tree import Tree

_BUFFER = 256 * 1024


def cache_directory() -> Path:
    """The user's cache directory of dicomfs; nothing in it is missed when it is deleted."""
    return Path(platformdirs.user_cache_dir("dicomfs", appauthor=False))


class Archive:
    """Everything that a source shows.  Made by `open_archive`.

    tree : the directories and files; reader : reads their bytes
    catalogue : the slides and what is not shown; slides : the files of each slide
    """

    def __init__(
        self,
        source: Source,
        catalogue: Catalogue,
        slides: Sequence[SlideFiles],
        tree: Tree,
        reader: Reader,
    ) -> None:
        self.source = source
        self.catalogue = catalogue
        self.slides = slides
        self.tree = tree
        self.reader = reader

    @classmethod
    def load(
        cls,
        source: Path,
        *,
        flavours: Sequence[str] = (),
        decode: bool = False,
        blank_damaged: bool = False,
        exclude: Path | None = None,
        progress: Progress | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Archive:
        """Scan a directory; see `open_archive`.

        exclude : a directory below it that is left out
        progress : is told how many files were looked at, and of how many
        """
        directory = LocalDirectory(source, limits, exclude=exclude)
        local = InflatingSource(directory, cache_directory() / "inflated", limits)
        try:
            catalogue = scan(local, limits, progress)
            options = LayoutOptions(
                tuple(Flavour(flavour) for flavour in flavours), decode, blank_damaged
            )
            slides = lay_out(catalogue, options, limits)
            about = {"version": __version__, "source": local.name}
            tree = make_tree(catalogue, slides, about)
        except BaseException:
            local.close()
            raise
        return cls(local, catalogue, slides, tree, Reader(local, limits))

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
        """Close all source files."""
        self.source.close()

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
        """Fill the buffer from the position on; returns how many bytes that were."""
        from dicomfs.errors import DicomfsError

        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        try:
            done = self._reader.read_into_blocking(self._content, self._position, view)
        except DicomfsError as error:
            raise OSError(error.errno, str(error), self.name) from error
        self._position += done
        return done


def open_archive(
    path: str | Path,
    *,
    flavours: Sequence[str] = (),
    decode: bool = False,
    blank_damaged: bool = False,
) -> Archive:
    """Scan a directory of DICOM files and show its slides as virtual files, without a mount.

    flavours : kinds of TIFF ("svs", "ome", "tiff"); empty for the one that fits each slide
    decode : store all tiles decoded, for readers that lack a codec
    blank_damaged : show missing frames blank; without, reading them is an error

    Raises UsageError where the path is no directory or a flavour is unknown.
    """
    unknown = sorted(set(flavours) - {flavour.value for flavour in Flavour})
    if unknown:
        raise UsageError(f"unknown flavour {', '.join(unknown)}; there are svs, ome and tiff")
    return Archive.load(Path(path), flavours=flavours, decode=decode, blank_damaged=blank_damaged)
