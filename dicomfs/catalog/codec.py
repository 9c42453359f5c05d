"""Facts as bytes: frozen dataclasses to a compact record and back, checked on the way in.

What a record looks like follows from the declarations of the dataclasses alone, so a record can
only be read with the declarations that it was written with; the index sees to that.  A record is
data: reading one makes values of the declared types and nothing else, whatever the bytes are.
Knows neither DICOM nor where records are kept.  numpy is imported by whoever first needs it: a
mount answers sooner without.

    record := zlib(length of text, text, blobs)      text := JSON of nested lists

Numbers, strings and tuples stand in the text; a dataclass with `RECURS`, of which many records have
equal values, is a text of its own in it, so that sense is made of each text once.  Bytes and arrays
are blobs, referred to by their length.  Large ones that many records have in common, such as ICC
profiles, are kept apart and referred to by their digest.  Arrays are stored with their bytes
shuffled, of integers the values or their differences, whichever is smaller: frame positions and
lengths take a byte or two each.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import struct
import types
import zlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from dicomfs.errors import DicomfsError

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")

_LEVEL = 1
_ARRAY_LEVEL = 4
_LARGEST_RECORD = 1 << 30
_SHARED_BYTES = 1024
_REMEMBERED = 512  # texts and values of a type whose values recur
_SMALL_TEXT = 16 * 1024
_DTYPES = ("int8", "uint8", "int16", "int32", "int64", "float64", "bool")


class RecordError(DicomfsError):
    """A record is not what `encode` wrote for these declarations."""


class Blobs(list[bytes]):
    """The blobs of a record that is being written; `shared`: those kept apart, by digest."""

    def __init__(self) -> None:
        super().__init__()
        self.shared: dict[bytes, bytes] = {}


Find = Callable[[bytes], bytes | None]
"""Finds a blob that is kept apart by its digest."""

_Put = Callable[[Any, Blobs], Any]
_Get = Callable[[Any, "_Blobs"], Any]


class _Blobs:
    """Hands out the blobs of a record one after the other."""

    def __init__(self, data: bytes, at: int, find: Find) -> None:
        self._data = data
        self._at = at
        self._find = find

    def shared(self, name: str) -> bytes:
        digest = bytes.fromhex(name)
        data = self._find(digest)
        if data is None or _digest(data) != digest:
            raise RecordError("a record refers to bytes that are not there")
        return data

    def take(self, size: object) -> bytes:
        if type(size) is not int or not 0 <= size <= len(self._data) - self._at:
            raise RecordError("a record ends too early")
        start = self._at
        self._at += size
        return self._data[start : self._at]

    @property
    def used_up(self) -> bool:
        return self._at == len(self._data)


def encode(value: object, kind: Any) -> tuple[bytes, dict[bytes, bytes]]:
    """The record of a value of the declared type `kind`, and what has to be kept beside it."""
    blobs = Blobs()
    put, _ = _coder(kind)
    text = _json(put(value, blobs)).encode("ascii")
    record = zlib.compress(b"".join([struct.pack("<I", len(text)), text, *blobs]), _LEVEL)
    return record, blobs.shared


def decode(record: bytes, kind: type[T], find: Find = lambda digest: None) -> T:
    """The value that a record holds.  Raises RecordError for anything that is none.

    find : finds what was kept beside the record
    """
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(record, _LARGEST_RECORD)
        if not inflater.eof or inflater.unused_data:
            raise RecordError("a record is cut off")
        (length,) = struct.unpack_from("<I", data)
        content = json.loads(data[4 : 4 + length])
        blobs = _Blobs(data, 4 + length, find)
        declared: Any = kind
        _, get = _coder(declared)
        value = get(content, blobs)
    except (zlib.error, struct.error, ValueError, TypeError, KeyError, RecursionError) as error:
        raise RecordError(f"a record is damaged: {error}") from error
    if not blobs.used_up:
        raise RecordError("a record is too long")
    return value  # type: ignore[no-any-return]


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def encode_array(array: npt.NDArray[Any]) -> bytes:
    """An array of one dimension, compressed."""
    import numpy as np

    numbers = np.ascontiguousarray(array)
    plain = zlib.compress(b"=" + _shuffled(numbers), _ARRAY_LEVEL)
    if numbers.dtype.kind not in "iu" or len(numbers) < 2:
        return plain
    steps = np.diff(numbers, prepend=numbers.dtype.type(0))
    return min(plain, zlib.compress(b"+" + _shuffled(steps), _ARRAY_LEVEL), key=len)


def _shuffled(numbers: npt.NDArray[Any]) -> bytes:
    import numpy as np

    return numbers.view(np.uint8).reshape(len(numbers), numbers.dtype.itemsize).T.tobytes()


def decode_array(data: bytes, dtype: str, count: int) -> npt.NDArray[Any]:
    """The array of `count` numbers that `encode_array` compressed.  Raises RecordError."""
    import numpy as np

    if dtype not in _DTYPES or type(count) is not int or count < 0:
        raise RecordError("an array is damaged")
    kind = np.dtype(dtype)
    size = 1 + count * kind.itemsize
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data, size)
    except zlib.error as error:
        raise RecordError(f"an array is damaged: {error}") from error
    # Looking for more checks the sum of what was there.
    if len(raw) != size or inflater.decompress(inflater.unconsumed_tail, 1) or not inflater.eof:
        raise RecordError("an array is damaged")
    shuffled = np.frombuffer(raw, np.uint8, offset=1).reshape(kind.itemsize, count)
    numbers = np.ascontiguousarray(shuffled.T).view(kind).reshape(count)
    return np.cumsum(numbers, dtype=kind) if raw[:1] == b"+" else numbers


def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)] if is_dataclass(kind) else list(kind._fields)
    return {name: hints[name] for name in names}


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


@functools.cache
def _coder(kind: Any) -> tuple[_Put, _Get]:
    """How values of a type are written and read."""
    import numpy as np

    if kind in _PLAIN:
        return _PLAIN[kind]
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind)
    if origin is tuple:
        return _tuple(get_args(kind))
    if origin is np.ndarray:
        return _array(np.dtype(get_args(get_args(kind)[1])[0]).name)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return (lambda value, blobs: value.value), (lambda text, blobs: kind(text))
    if isinstance(kind, type) and (is_dataclass(kind) or _is_named_tuple(kind)):
        return _recurring(kind) if getattr(kind, "RECURS", False) else _record(kind)
    raise TypeError(f"values of the type {kind} cannot be stored")


def _record(kind: type) -> tuple[_Put, _Get]:
    # Most values stand in the text as they are: of those nothing but the type is looked at, and of
    # all at once, for records are written and read by the ten thousand.
    hints = _hints(kind)
    names = tuple(hints)
    count = len(names)
    kinds = list(enumerate(hints.values()))
    puts = [(n, _coder(hint)[0]) for n, hint in kinds if hint not in _WRITTEN_AS_IT_IS]
    gets = [(n, _coder(hint)[1]) for n, hint in kinds if hint not in _READ_AS_IT_IS]
    places = [n for n, hint in kinds if hint in _READ_AS_IT_IS]
    expected = [hint for _, hint in kinds if hint in _READ_AS_IT_IS]

    def put(value: Any, blobs: Blobs) -> list[Any]:
        if type(value) is not kind:
            raise TypeError(f"{type(value)} where {kind} is declared")
        content = [getattr(value, name) for name in names]
        for n, put_one in puts:
            content[n] = put_one(content[n], blobs)
        return content

    def get(content: Any, blobs: _Blobs) -> Any:
        if type(content) is not list or len(content) != count:
            raise RecordError(f"a record has no {kind.__name__}")
        if [type(content[n]) for n in places] != expected:
            raise RecordError(f"a value of a {kind.__name__} is of another type")
        for n, get_one in gets:
            content[n] = get_one(content[n], blobs)
        return kind(*content)

    return put, get


def _recurring(kind: type) -> tuple[_Put, _Get]:
    put_one, get_one = _record(kind)
    texts: dict[Any, str] = {}
    values: dict[str, Any] = {}

    def put(value: Any, blobs: Blobs) -> str:
        text = texts.get(value)
        if text is None:
            own = Blobs()
            text = _json(put_one(value, own))
            if own or own.shared:
                raise TypeError(f"{kind} recurs and holds bytes")
            _remember(texts, value, text, text)
        return text

    def get(content: Any, blobs: _Blobs) -> Any:
        if type(content) is not str:
            raise RecordError(f"a record has no {kind.__name__}")
        value = values.get(content)
        if value is None:
            value = get_one(json.loads(content), _Blobs(b"", 0, lambda digest: None))
            _remember(values, content, value, content)
        return value

    return put, get


def _remember(memory: dict[Any, Any], key: Any, value: Any, text: str) -> None:
    if len(text) <= _SMALL_TEXT:
        if len(memory) >= _REMEMBERED:
            memory.clear()
        memory[key] = value


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=True)


def _optional(kind: Any) -> tuple[_Put, _Get]:
    (inner,) = (part for part in get_args(kind) if part is not types.NoneType)
    inner_put, inner_get = _coder(inner)

    def put(value: Any, blobs: Blobs) -> Any:
        return None if value is None else inner_put(value, blobs)

    def get(content: Any, blobs: _Blobs) -> Any:
        return None if content is None else inner_get(content, blobs)

    return put, get


def _tuple(parts: tuple[Any, ...]) -> tuple[_Put, _Get]:
    if len(parts) == 2 and parts[1] is Ellipsis:
        inner_put, inner_get = _coder(parts[0])

        def put_any(value: Any, blobs: Blobs) -> list[Any]:
            return [inner_put(part, blobs) for part in value]

        def get_any(content: Any, blobs: _Blobs) -> tuple[Any, ...]:
            if type(content) is not list:
                raise RecordError("a record has no list where there should be one")
            return tuple([inner_get(part, blobs) for part in content])

        return put_any, get_any
    coders = [_coder(part) for part in parts]

    def put(value: Any, blobs: Blobs) -> list[Any]:
        return [put(part, blobs) for (put, _), part in zip(coders, value, strict=True)]

    def get(content: Any, blobs: _Blobs) -> tuple[Any, ...]:
        if type(content) is not list or len(content) != len(coders):
            raise RecordError("a record has no list of that length")
        return tuple([get(part, blobs) for (_, get), part in zip(coders, content, strict=True)])

    return put, get


def _array(dtype: str) -> tuple[_Put, _Get]:
    if dtype not in _DTYPES:
        raise TypeError(f"arrays of {dtype} cannot be stored")
    import numpy as np

    def put(value: Any, blobs: Blobs) -> list[int]:
        array = np.asarray(value, dtype)
        blobs.append(encode_array(array))
        return [len(array), len(blobs[-1])]

    def get(content: Any, blobs: _Blobs) -> npt.NDArray[Any]:
        count, size = content
        return decode_array(blobs.take(size), dtype, count)

    return put, get


def _checked(*kinds: type) -> _Get:
    def get(content: Any, blobs: _Blobs) -> Any:
        if type(content) not in kinds:
            raise RecordError(f"a record has no {kinds[0].__name__} where there should be one")
        return content

    return get


def _put_plain(value: Any, blobs: Blobs) -> Any:
    return value


def _put_int(value: Any, blobs: Blobs) -> int:
    return int(value)  # of numpy too


def _put_float(value: Any, blobs: Blobs) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise TypeError(f"{number} cannot be stored")
    return number


def _get_float(content: Any, blobs: _Blobs) -> float:
    return float(_FLOAT(content, blobs))


def _put_bytes(value: Any, blobs: Blobs) -> Any:
    if len(value) <= 16:
        return base64.b64encode(value).decode()
    if len(value) >= _SHARED_BYTES:
        digest = _digest(value)
        blobs.shared[digest] = bytes(value)
        return [digest.hex()]
    blobs.append(bytes(value))
    return len(value)


def _get_bytes(content: Any, blobs: _Blobs) -> bytes:
    if type(content) is str:
        return base64.b64decode(content, validate=True)
    if type(content) is list:
        (name,) = content
        return blobs.shared(name)
    return blobs.take(content)


_WRITTEN_AS_IT_IS = (str, bool)  # an integer may be one of numpy
_READ_AS_IT_IS = (str, bool, int)

_FLOAT = _checked(float, int)

_PLAIN: dict[Any, tuple[_Put, _Get]] = {
    bool: (_put_plain, _checked(bool)),
    int: (_put_int, _checked(int)),
    float: (_put_float, _get_float),
    str: (_put_plain, _checked(str)),
    bytes: (_put_bytes, _get_bytes),
}
