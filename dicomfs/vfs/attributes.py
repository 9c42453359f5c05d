"""The extended attributes of a slide's files: `user.dicomfs.*`, and `user.dicom.<Keyword>`.

The latter are the elements of the data set of the largest level, at its top level and printable;
they are read from the source when somebody asks, and kept for the slides that were asked for last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dicomfs.vfs.listing import ShownSlide

OWN = "user.dicomfs."
KEYWORDS = "user.dicom."

_MOST_NAMES = 60_000
_LONGEST_VALUE = 65_536


class Attributes(Mapping[str, bytes]):
    """The extended attributes of a file, made when they are asked for.

    flavour : of a TIFF, "" for others
    fetch : gives what `bounded` made of the values of the slide; blocks, and may raise DicomfsError

    Those that start with `OWN` are at hand without `fetch`.
    """

    __slots__ = ("_fetch", "_flavour", "_slide")

    def __init__(
        self, slide: ShownSlide, flavour: str, fetch: Callable[[], Mapping[str, bytes]]
    ) -> None:
        self._slide = slide
        self._flavour = flavour
        self._fetch = fetch

    def _own(self) -> dict[str, bytes]:
        values = {
            "series_instance_uid": self._slide.series_instance_uid,
            "warnings": self._slide.warnings,
            "flavour": self._flavour,
        }
        return {
            OWN + key: value.encode("utf-8", "replace") for key, value in values.items() if value
        }

    def __getitem__(self, name: str) -> bytes:
        if not name.startswith(KEYWORDS):
            return self._own()[name]
        return self._fetch()[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._own(), *self._fetch()])

    def __len__(self) -> int:
        return len(list(iter(self)))


def bounded(values: Mapping[str, str]) -> dict[str, bytes]:
    """Values by the names of their attributes, as many as Linux can list.

    The names of all attributes of a file together, and each value, may have 64 KiB (xattr(7)); a
    value that is longer is left out, and so are those whose names come last.
    """
    found: dict[str, bytes] = {}
    room = _MOST_NAMES
    for keyword, value in values.items():
        name, data = KEYWORDS + keyword, value.encode("utf-8", "replace")
        room -= len(name) + 1
        if room < 0:
            break
        if len(data) <= _LONGEST_VALUE:
            found[name] = data
    return found
