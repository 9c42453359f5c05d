"""The elements of a data set that can be printed in a line, by the keywords of PS3.6."""

from __future__ import annotations

from functools import lru_cache

from dicomfs.dicom import dictionary
from dicomfs.dicom.attributes import Attributes
from dicomfs.dicom.dataset import DataSet

_PRINTABLE = frozenset(
    (
        *("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI"),
        *("UR", "UT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"),
    )
)


def printable_values(dataset: DataSet) -> dict[str, str]:
    """The values of the top level that are text or numbers and not empty, in the order of tags.

    Several values are separated by backslashes, as in DICOM.
    """
    attributes = Attributes(dataset)
    found: dict[str, str] = {}
    for tag in sorted(dataset):
        keyword = _keyword(tag)
        if keyword and dataset[tag].vr in _PRINTABLE:
            value = "\\".join(attributes.texts(keyword))
            if value:
                found[keyword] = value
    return found


@lru_cache(maxsize=4096)
def _keyword(tag: int) -> str:
    """The keyword of an element, "" for private ones, group lengths and repeating groups."""
    if tag & 0xFFFF == 0 or tag >> 16 & 1:
        return ""
    keyword = dictionary.keyword_of(tag)
    return keyword if dictionary.tag_of(keyword) == tag else ""
