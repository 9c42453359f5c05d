"""A planned TIFF as a virtual file: where its frame tables come from, and who paints its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.steps import Steps
from dicomfs.limits import Limits
from dicomfs.reading.painter import PicturePainter
from dicomfs.reading.virtual_file import Resolved, VirtualFile
from dicomfs.source.protocol import SourceObject
from dicomfs.tiff.plan import TiffPlan


@dataclass(frozen=True, slots=True, eq=False)
class TiffResolver:
    """Resolves a `TiffPlan`; see `dicomfs.reading.virtual_file.Resolver`."""

    plan: TiffPlan
    limits: Limits

    @property
    def files(self) -> Sequence[int]:
        """Every member of the plan."""
        return range(len(self.plan.members))

    def frames(self, file: int) -> Steps[FrameTable]:
        """The parser of a member's frame table."""
        return self.plan.slide.instances[self.plan.members[file]].frame_table(self.limits)

    def resolve(self, tables: Mapping[int, FrameTable]) -> Resolved:
        """The plan with all frame tables in place."""
        table = self.plan.resolve(tables)
        if not self.plan.runs:
            return Resolved(table, None, table.nbytes)
        pictures = [run.picture for run in self.plan.runs.values()]
        painter = PicturePainter(
            self.plan.slide,
            pictures,
            self.plan.members,
            tables,
            self.limits,
            blank_damaged=self.plan.blank_damaged,
        )
        return Resolved(table, painter, table.nbytes + painter.nbytes)


def tiff_file(plan: TiffPlan, objects: Sequence[SourceObject], limits: Limits) -> VirtualFile:
    """The virtual file of a plan.

    objects : the source objects of `plan.slide.instances`, in their order
    """
    members = tuple(objects[member] for member in plan.members)
    return VirtualFile(plan.table, members, TiffResolver(plan, limits))
