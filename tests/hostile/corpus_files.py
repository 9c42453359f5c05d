"""The corpus: reads the cases below `corpus/` and writes the file of each.

The one job: `CORPUS`, and `write_case(case, written, directory)`.  A case is data: a series of
`tests.fixtures.catalogue` as its base, the edits of `tests.hostile.patches`, and what is expected.
Every case gets a Series Instance UID of its own, so that all of them can lie below one source.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.conftest import WrittenSeries
from tests.hostile.patches import patched

_FOLDER: Final = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class HostileCase:
    """One hostile file.

    base : id of a case of `tests.fixtures.catalogue`; its first file is edited
    edits : see `tests.hostile.patches`
    beside : whether the other files of the base lie beside it
    expect : "opens" where a slide is shown, all of whose bytes can be read; "damaged" where one is
        shown of which some reads fail with EIO; "stranger" where the file is no slide; "no-dicom";
        otherwise the code of the rejection
    """

    id: str
    category: str
    note: str
    base: str
    edits: tuple[dict[str, Any], ...]
    beside: bool
    expect: str


def _load() -> list[HostileCase]:
    cases = []
    for path in sorted(_FOLDER.glob("*.json")):
        for each in json.loads(path.read_text(encoding="utf-8")):
            cases.append(
                HostileCase(
                    each["id"],
                    path.stem,
                    each.get("note", ""),
                    each["base"],
                    tuple(each["edits"]),
                    each.get("beside", False),
                    each["expect"],
                )
            )
    return cases


CORPUS: Final = _load()
"""All cases, by category."""


def write_case(case: HostileCase, written: WrittenSeries, directory: Path) -> None:
    """Write the file of a case, and those beside it, into a directory."""
    series = written(case.base)
    directory.mkdir(parents=True)
    old = series.series_uid.encode()
    digits = str(int(hashlib.sha256(case.id.encode()).hexdigest(), 16))
    new = old[:6] + digits[: len(old) - 6].encode()
    for number, file in enumerate(series.files[: None if case.beside else 1]):
        content = file.path.read_bytes()
        if not number:
            frames = [
                frame.spans[0].start
                for level in (*series.levels, *series.associated.values())
                for frame in level.frames
                if frame.file == 0 and frame.spans
            ]
            content = patched(content, frames, case.edits)
        content = content.replace(old, new)
        (directory / file.path.name).write_bytes(content)
