"""A source in which deflated data sets can be read at any place.

A deflated data set (PS3.5 A.5) has no random access.  It is inflated once, into the user's cache
directory, under a name that follows from the identity of its source file; from then on the copy is
read.  Everything else is passed on to the source inside.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from dicomfs.dicom.steps import Steps
from dicomfs.errors import LimitExceededError, MalformedDicomError, SourceError
from dicomfs.limits import Limits
from dicomfs.source.local import LocalDirectory
from dicomfs.source.private import make_file, make_folder
from dicomfs.source.protocol import Identity, Problem, SourceObject, SourceStats, printable
from dicomfs.source.sealed import SealedDirectory

T = TypeVar("T")

_CHUNK = 1024 * 1024


class InflatingSource:
    """A source and the inflated copies of its deflated objects; see `ScannableSource`.

    inner : the source; cache : the directory of the copies, made when it is needed
    """

    def __init__(
        self, inner: LocalDirectory | SealedDirectory, cache: Path, limits: Limits
    ) -> None:
        self._inner = inner
        self._cache = cache
        self._limits = limits
        self._copies: LocalDirectory | None = None
        self._copy_of: dict[SourceObject, SourceObject] = {}

    @property
    def name(self) -> str:
        """What people call the source inside."""
        return self._inner.name

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the source inside could not list."""
        return self._inner.problems

    def key(self, path: str) -> str:
        """The key of what lies at a path below the root; see `ScannableSource.key`."""
        return self._inner.key(path)

    def objects(self, below: str = "") -> Iterator[SourceObject]:
        """The objects of the source inside; see `Source.objects`."""
        return self._inner.objects(below)

    def uri(self, obj: SourceObject) -> str:
        """Where the object is in the source inside."""
        return self._inner.uri(obj)

    def run(self, obj: SourceObject, steps: Steps[T]) -> T:
        """Drive a parser; see `Source.run`."""
        copy = self._copy_of.get(obj) if self._copy_of else None
        if copy is not None and self._copies is not None:
            return self._copies.run(copy, steps)
        return self._inner.run(obj, steps)

    def read_into(self, obj: SourceObject, offset: int, buffer: memoryview) -> None:
        """Read exactly; see `Source.read_into`."""
        copy = self._copy_of.get(obj) if self._copy_of else None
        if copy is not None and self._copies is not None:
            self._copies.read_into(copy, offset, buffer)
        else:
            self._inner.read_into(obj, offset, buffer)

    def read_into_nowait(self, obj: SourceObject, offset: int, buffer: memoryview) -> bool:
        """Read exactly what is in the page cache; see `Source.read_into_nowait`."""
        copy = self._copy_of.get(obj) if self._copy_of else None
        if copy is not None and self._copies is not None:
            return self._copies.read_into_nowait(copy, offset, buffer)
        return self._inner.read_into_nowait(obj, offset, buffer)

    def stats(self) -> SourceStats:
        """Gauges and counters of the source inside and of the copies together."""
        inner = self._inner.stats()
        if self._copies is None:
            return inner
        copies = self._copies.stats()
        return SourceStats(
            inner.open_handles + copies.open_handles,
            inner.opens + copies.opens,
            inner.cold_reads + copies.cold_reads,
        )

    def close(self) -> None:
        """Close everything; the copies stay for the next time."""
        self._inner.close()
        if self._copies is not None:
            self._copies.close()

    def inflated(self, obj: SourceObject, start: int, size: int) -> SourceObject:
        """Inflate an object, or find the copy of an earlier time; see `ScannableSource.inflated`.

        The object that is returned has the identity of the source file with the size of the copy:
        it changes when the file does, and not when the cache is emptied.
        """
        if size > self._limits.inflated_bytes:
            raise LimitExceededError(f"would have {size} bytes when it is inflated")
        name = self._name(obj, size)
        path = self._cache / name
        try:
            make_folder(self._cache)
            if not (path.is_file() and path.stat().st_size == size):
                self._inflate(obj, start, size, path)
            state = path.stat()
        except OSError as error:
            raise SourceError(
                f"{printable(obj.key)} cannot be inflated into {self._cache}: {error.strerror}"
            ) from error
        if self._copies is None:
            self._copies = LocalDirectory(self._cache, self._limits)
        copy = SourceObject(
            name, Identity(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
        )
        identity = obj.identity
        plain = SourceObject(
            obj.key, Identity(identity.device, identity.inode, size, identity.mtime_ns)
        )
        self._copy_of[plain] = copy
        return plain

    def _name(self, obj: SourceObject, size: int) -> str:
        text = f"{self._inner.name}\0{obj.key}\0{obj.identity}\0{size}"
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=20)
        return f"{digest.hexdigest()}.dcm"

    def _inflate(self, obj: SourceObject, start: int, size: int, path: Path) -> None:
        """Write the copy under a temporary name, then rename it."""
        temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}")
        try:
            make_file(temporary)
            with temporary.open("r+b") as out:
                for part in self._stream(obj, start, size):
                    out.write(part)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _stream(self, obj: SourceObject, start: int, size: int) -> Iterator[bytes]:
        """The bytes of the copy: what lies before the stream, and what the stream inflates to."""
        head = bytearray(start)
        self._inner.read_into(obj, 0, memoryview(head))
        yield bytes(head)
        left = size - start
        inflater = zlib.decompressobj(wbits=-15)
        for at in range(start, obj.identity.size, _CHUNK):
            chunk = bytearray(min(_CHUNK, obj.identity.size - at))
            self._inner.read_into(obj, at, memoryview(chunk))
            data = bytes(chunk)
            while left and data and not inflater.eof:
                try:
                    part = inflater.decompress(data, min(left, _CHUNK))
                except zlib.error as error:
                    raise MalformedDicomError(f"has a damaged deflate stream: {error}") from error
                data = inflater.unconsumed_tail
                left -= len(part)
                yield part
            if not left or inflater.eof:
                break
        if left:
            raise MalformedDicomError("has a deflate stream that ends too early")
