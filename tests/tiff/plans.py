"""Plans of written series, and the frame tables that resolve them.

The one job: from a series of the fixture factory to a plan, and from a plan to its complete table.
"""

from __future__ import annotations

from collections.abc import Sequence

from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.instance import Instance
from dicomfs.extents import ExtentTable, Kind, plan_read
from dicomfs.tiff.plan import TiffPlan
from tests.dicom.objects import drive


def frame_tables(
    plan: TiffPlan, contents: Sequence[bytes], instances: Sequence[Instance]
) -> dict[int, FrameTable]:
    """The frame tables of the plan's members; contents: of the files, in the instances' order."""
    return {
        file: drive(instances[member].frame_table(), contents[member])
        for file, member in enumerate(plan.members)
    }


def bytes_of(
    table: ExtentTable, plan: TiffPlan, contents: Sequence[bytes], *, unknown: bytes = b"?"
) -> bytes:
    """The file that a table describes; `unknown` for each byte that is deferred, made or faulty."""
    parts = []
    for piece in plan_read(table, 0, table.size):
        if piece.kind is Kind.LITERAL:
            parts.append(table.literals[piece.ref][piece.at : piece.at + piece.size])
        elif piece.kind is Kind.SOURCE:
            content = contents[plan.members[piece.ref]]
            parts.append(content[piece.at : piece.at + piece.size])
            assert len(parts[-1]) == piece.size, "an extent reaches behind the end of its file"
        else:
            parts.append((b"\0" if piece.kind is Kind.ZERO else unknown) * piece.size)
    return b"".join(parts)
