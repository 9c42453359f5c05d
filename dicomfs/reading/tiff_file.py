"""A planned TIFF as a virtual file: where its frame tables come from, and who paints its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.steps import Steps
from dicomfs.extents import SlotRun
from dicomfs.limits import Limits
from dicomfs.reading.clean_frames import FrameCleaner, Slots, slots_of
from dicomfs.reading.painter import PicturePainter
from dicomfs.reading.virtual_file import Resolved, VirtualFile
from dicomfs.source.protocol import SourceObject
from dicomfs.tiff.plan import TiffPlan


@dataclass(frozen=True, slots=True, eq=False)
class TiffResolver:
    """Resolves a `TiffPlan`; see `dicomfs.reading.virtual_file.Resolver`.

    clean : show of frames no more than their pixels need
    """

    plan: TiffPlan
    limits: Limits
    clean: bool = False

    @property
    def files(self) -> Sequence[int]:
        """Every member of the plan."""
        return range(len(self.plan.members))

    def frames(self, file: int) -> Steps[FrameTable]:
        """The parser of a member's frame table."""
        return self.plan.slide.instances[self.plan.members[file]].frame_table(self.limits)

    def resolve(self, tables: Mapping[int, FrameTable]) -> Resolved:
        """The plan with all frame tables in place."""
        slots = self._slots(tables) if self.clean else {}
        runs = {file: (one.start, SlotRun(file, one.starts)) for file, one in slots.items()}
        table = self.plan.resolve(tables, runs)
        painter = self._painter(tables) if self.plan.runs else None
        held = table.nbytes + (painter.nbytes if painter is not None else 0)
        if not slots:
            return Resolved(table, painter, held)
        cleaner = FrameCleaner(self.plan.slide, self.plan.members, tables, slots, painter)
        return Resolved(table, cleaner, held + cleaner.nbytes)

    def _slots(self, tables: Mapping[int, FrameTable]) -> dict[int, Slots]:
        """The frames of encapsulated pixel data that the TIFF shows as they are."""
        found: dict[int, Slots] = {}
        for span in self.plan.spans.values():
            file = self.plan.members.index(span.member)
            if self.plan.slide.instances[span.member].encapsulated:
                slots = slots_of(tables[file], span.at + span.size)
                if slots is not None:
                    found[file] = slots
        return found

    def _painter(self, tables: Mapping[int, FrameTable]) -> PicturePainter:
        pictures = [run.picture for run in self.plan.runs.values()]
        return PicturePainter(
            self.plan.slide,
            pictures,
            self.plan.members,
            tables,
            self.limits,
            blank_damaged=self.plan.blank_damaged,
        )


def tiff_file(
    plan: TiffPlan, objects: Sequence[SourceObject], limits: Limits, *, clean: bool = False
) -> VirtualFile:
    """The virtual file of a plan.

    objects : the source objects of `plan.slide.instances`, in their order
    clean : show of frames no more than their pixels need
    """
    members = tuple(objects[member] for member in plan.members)
    return VirtualFile(plan.table, members, TiffResolver(plan, limits, clean))
