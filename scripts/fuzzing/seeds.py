"""What fuzzing starts from: small slides of the fixture factory, and parts of them.

The one job: `write_seeds(target, folder)`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dicomfs.catalog.codec import encode
from dicomfs.dicom.instance import Instance
from dicomfs.dicom.read import read_instance
from dicomfs.dicom.steps import run_on_bytes
from tests.fixtures.catalogue import CASES
from tests.fixtures.wsm import write_series

_SMALL: Final = {
    "width": 32,
    "height": 16,
    "tile": (16, 16),
    "tiles": None,
    "downsamples": (1,),
    "codecs": None,
    "level_planes": None,
    "icc": False,
}
_LARGEST: Final = 12_000


def write_seeds(target: str, folder: Path) -> None:
    """Write the seeds of a target into a folder, each under a name that follows from it."""
    folder.mkdir(parents=True, exist_ok=True)
    for content in _seeds(target):
        name = hashlib.sha256(content).hexdigest()[:16]
        (folder / name).write_bytes(content)


def _seeds(target: str) -> Iterator[bytes]:
    for data in _files():
        if target in ("instance", "slide"):
            yield data
            continue
        try:
            found = run_on_bytes(read_instance(len(data)), data)
        except Exception:
            continue
        if isinstance(found, Instance):
            yield from _parts(target, data, found)


def _parts(target: str, data: bytes, instance: Instance) -> Iterator[bytes]:
    """What of a file a target is about."""
    layout = instance.layout
    element = layout.pixel_data
    assert element is not None
    kind = bytes([1 if layout.encoding.implicit_vr else 2 * layout.encoding.big_endian])
    if target == "data-set":
        yield kind + b"".join(data[at : at + size] for at, size in layout.header)
    elif target == "per-frame" and layout.per_frame is not None:
        at, size = layout.per_frame
        yield kind + data[at : at + size]
        yield bytes([kind[0] | 128]) + data[at : at + size]
    elif target == "encapsulated" and element.length is None:
        yield bytes([instance.header.number_of_frames - 1, 0]) + data[element.offset :]
    elif target == "deflated":
        yield data[data.find(b"\x08\x00") :] * 2
    elif target == "records":
        yield encode(instance, Instance)[0]
    elif target in ("codestream", "decoding"):
        table = run_on_bytes(instance.frame_table(), data)
        for at, size in table.ranges(0):
            frame = data[at : at + size]
            yield frame if target == "codestream" else bytes([len(frame) % 4]) + frame


def _files() -> Iterator[bytes]:
    """One small file of every case of the catalogue."""
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            spec = dataclasses.replace(case.spec, **_SMALL)  # type: ignore[arg-type]
            try:
                series = write_series(Path(scratch, case.id), spec)
            except (ValueError, KeyError, IndexError, RuntimeError):
                continue  # the case needs another size
            for path in series.paths[:1]:
                content = path.read_bytes()
                if len(content) <= _LARGEST:
                    yield content
