"""A directory whose names nobody can read: folders and files are often called after patients.

Keys are sealed, part by part, with a key of the user's: the same path has the same sealed key on
every node, and whoever has no key learns neither the name nor whether a guess is right.  Everything
behind this source knows sealed keys alone, so they are what stands in the index, in lists of what
is not shown, and in messages.  Nothing here knows what the bytes mean.

Sealing is a synthetic initialisation vector (as in RFC 5297) with HMAC-SHA256: a code of the name
and of the folder that holds it, and the name, padded, with a key stream made of that code.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

from dicomfs.dicom.confidentiality.pseudonyms import keyed
from dicomfs.dicom.steps import Steps
from dicomfs.errors import SourceError
from dicomfs.source.local import LocalDirectory
from dicomfs.source.protocol import Problem, SourceObject, SourceStats, printable

T = TypeVar("T")

_CODE = 12
_BLOCK = 32
_PADDING = 16
_REMEMBERED = 16384

SEALED_NAME = "a source whose names are sealed"


class Seal:
    """Seals and opens keys of source objects with a secret."""

    def __init__(self, secret: bytes) -> None:
        self._code_key = keyed(secret, "seal", "code")
        self._stream_key = keyed(secret, "seal", "stream")
        self._sealed_part = lru_cache(maxsize=_REMEMBERED)(self._seal_part)
        self._opened_part = lru_cache(maxsize=_REMEMBERED)(self._open_part)

    def seal(self, key: str) -> str:
        """The sealed key of a key, "/" between as many parts."""
        sealed = ""
        for part in key.split("/") if key else ():
            name = self._sealed_part(sealed, part)
            sealed = f"{sealed}/{name}" if sealed else name
        return sealed

    def open(self, sealed: str) -> str:
        """The key of a sealed key.  Raises SourceError for what was not sealed with this secret."""
        parts = []
        folder = ""
        for part in sealed.split("/") if sealed else ():
            parts.append(self._opened_part(folder, part))
            folder = f"{folder}/{part}" if folder else part
        return "/".join(parts)

    def _seal_part(self, folder: str, name: str) -> str:
        data = os.fsencode(name)
        data += bytes(-len(data) % _PADDING)
        code = self._code(folder, data)
        return (code + self._crypted(code, data)).hex()

    def _open_part(self, folder: str, part: str) -> str:
        try:
            raw = bytes.fromhex(part)
        except ValueError:
            raw = b""
        code, data = raw[:_CODE], self._crypted(raw[:_CODE], raw[_CODE:])
        if not hmac.compare_digest(code, self._code(folder, data)):
            raise SourceError("a key was sealed with another secret")
        return os.fsdecode(data.rstrip(b"\0"))

    def _code(self, folder: str, data: bytes) -> bytes:
        return hmac.digest(self._code_key, folder.encode() + b"\0" + data, "sha256")[:_CODE]

    def _crypted(self, code: bytes, data: bytes) -> bytes:
        count = -(-len(data) // _BLOCK)
        stream = b"".join(
            hmac.digest(self._stream_key, code + number.to_bytes(4, "big"), "sha256")
            for number in range(count)
        )[: len(data)]
        size = len(data)
        mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")
        return mixed.to_bytes(size, "big")


class SealedDirectory:
    """A directory as `LocalDirectory` shows it, under sealed keys."""

    def __init__(self, inner: LocalDirectory, secret: bytes) -> None:
        self.name = SEALED_NAME
        self._inner = inner
        self._seal = Seal(secret)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be listed."""
        return tuple(
            Problem(self._seal.seal(key), self._without_names(message, key), leads_out)
            for key, message, leads_out in self._inner.problems
        )

    def key(self, path: str) -> str:
        """The key of what lies at a path below the root."""
        return self._seal.seal(path)

    def uri(self, obj: SourceObject) -> str:
        """Nothing: where the object is would tell its name."""
        return ""

    def objects(self, below: str = "") -> Iterator[SourceObject]:
        """List the files; see `LocalDirectory.objects`."""
        plain = self._seal.open(below)
        with self._quiet(plain):
            for obj in self._inner.objects(plain):
                yield SourceObject(self._seal.seal(obj.key), obj.identity)

    def run(self, obj: SourceObject, steps: Steps[T]) -> T:
        """Drive a parser; see `Source.run`."""
        plain = self._plain(obj)
        with self._quiet(plain.key):
            return self._inner.run(plain, steps)

    def read_into(self, obj: SourceObject, offset: int, buffer: memoryview) -> None:
        """Read exactly; see `Source.read_into`."""
        plain = self._plain(obj)
        with self._quiet(plain.key):
            self._inner.read_into(plain, offset, buffer)

    def read_into_nowait(self, obj: SourceObject, offset: int, buffer: memoryview) -> bool:
        """Read exactly what is in the page cache; see `Source.read_into_nowait`."""
        try:
            plain = self._plain(obj)
        except SourceError:
            return False
        return self._inner.read_into_nowait(plain, offset, buffer)

    def stats(self) -> SourceStats:
        """Gauges and counters."""
        return self._inner.stats()

    def close(self) -> None:
        """Close what is open."""
        self._inner.close()

    def _plain(self, obj: SourceObject) -> SourceObject:
        return SourceObject(self._seal.open(obj.key), obj.identity)

    @contextmanager
    def _quiet(self, key: str) -> Iterator[None]:
        """What goes wrong is told without names."""
        try:
            yield
        except SourceError as error:
            raise type(error)(self._without_names(str(error), key)) from None

    def _without_names(self, message: str, key: str) -> str:
        parts = key.split("/")
        for name in (self._inner.name, key, *sorted(parts, key=len, reverse=True)):
            if name:
                message = message.replace(printable(name), "…")
        return message
