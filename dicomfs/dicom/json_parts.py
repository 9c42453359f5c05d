"""Which bytes of a DICOM object its JSON is made of, and what is left out of it as bulk data.

Pixel Data, the offset tables, elements above 16 MiB and long per-frame functional groups are given
by their place in the file.  What stands behind Pixel Data is not looked at: digital signatures and
padding (PS3.5 7.2 puts nothing else there).  Opens no file.
"""

from __future__ import annotations

from collections.abc import Sequence

from dicomfs.dicom.dataset import DataSet, Element, read_elements
from dicomfs.dicom.elements import (
    EXTENDED_OFFSET_TABLE,
    EXTENDED_OFFSET_TABLE_LENGTHS,
    PER_FRAME_GROUPS,
    PIXEL_DATA,
    Layout,
)
from dicomfs.dicom.encoding import KNOWN_VRS
from dicomfs.dicom.json_model import BulkData
from dicomfs.dicom.steps import Range

LONGEST_PER_FRAME = 16 * 1024
"""Per-frame functional groups of so many bytes are written out: about a hundred frames.

They are as many elements as the rest of the header of a slide; it takes about as long to count
their characters while a source is looked through as everything else together.
"""


def json_ranges(layout: Layout) -> tuple[Range, ...]:
    """The ranges of an object that `json_dataset` wants the bytes of."""
    return layout.header + _per_frame(layout)


def json_dataset(layout: Layout, chunks: Sequence[bytes]) -> DataSet:
    """The data set of an object, without what `json_bulk` has.

    chunks : the bytes of `json_ranges`

    Raises MalformedDicomError where they cannot be followed.
    """
    header = b"".join(chunks[: len(layout.header)])
    last = chunks[-1] if chunks else b""
    return with_per_frame(read_elements(header, layout.encoding), layout, last)


def with_per_frame(dataset: DataSet, layout: Layout, last: bytes) -> DataSet:
    """A data set with the per-frame groups too, where they are among `json_ranges`: `last`."""
    if not _per_frame(layout):
        return dataset
    return dataset | {PER_FRAME_GROUPS: Element("SQ", last, layout.encoding)}


def json_bulk(layout: Layout) -> tuple[BulkData, ...]:
    """What is left out of the data set of an object."""
    bulk = [BulkData(one.tag, _name(one.vr), one.offset, one.length) for one in layout.large]
    tables = (
        (EXTENDED_OFFSET_TABLE, layout.extended_offsets),
        (EXTENDED_OFFSET_TABLE_LENGTHS, layout.extended_lengths),
    )
    bulk += [BulkData(tag, "OV", *span) for tag, span in tables if span is not None]
    if layout.per_frame is not None and not _per_frame(layout):
        bulk.append(BulkData(PER_FRAME_GROUPS, "SQ", *layout.per_frame))
    if layout.pixel_data is not None:
        element = layout.pixel_data
        vr = _name(element.vr)
        if element.tag == PIXEL_DATA and (layout.encoding.implicit_vr or element.length is None):
            vr = "OB" if element.length is None else "OW"  # PS3.5 A.1 and A.4
        bulk.append(BulkData(element.tag, vr, element.offset, element.length))
    return tuple(bulk)


def _per_frame(layout: Layout) -> tuple[Range, ...]:
    span = layout.per_frame
    return () if span is None or span.size > LONGEST_PER_FRAME else (span,)


def _name(vr: bytes) -> str:
    return vr.decode("ascii") if vr in KNOWN_VRS else "UN"
