"""An instance: what is known of one DICOM object that holds frames of a slide.

Only facts; `dicomfs.dicom.read` finds them out.
"""

from __future__ import annotations

from dataclasses import dataclass

from dicomfs.dicom.codestream import CodeStream
from dicomfs.dicom.elements import Layout
from dicomfs.dicom.frame_table import FrameTable
from dicomfs.dicom.frames import read_frame_table
from dicomfs.dicom.header import Header
from dicomfs.dicom.json_model import JsonSize
from dicomfs.dicom.per_frame import FrameItems
from dicomfs.dicom.steps import Steps
from dicomfs.limits import DEFAULT_LIMITS, Limits

_UNMEASURED = JsonSize(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Instance:
    """Facts of one instance.

    items : positions of the frames; None where the instance has no per-frame functional groups
    code_stream : facts of the first frame; None for native pixel data, and where the first frame
        is of no known kind
    edge_stream : facts of a frame at the right or lower edge of the slide; None where it was not
        looked at
    single_frame : the frame table of an instance of one frame; None for any other
    problems : what is wrong with the pixel data, in sentences for people
    missing_frames : 0-based numbers of frames that are not there, a few hundred at most
    json : how large the instance is as DICOM JSON
    """

    header: Header
    layout: Layout
    items: FrameItems | None
    code_stream: CodeStream | None
    edge_stream: CodeStream | None = None
    single_frame: FrameTable | None = None
    problems: tuple[str, ...] = ()
    missing_frames: tuple[int, ...] = ()
    json: JsonSize = _UNMEASURED

    @property
    def lost_at_end(self) -> int:
        """How many frames at the end are missing; 0 where others are missing too."""
        missing = self.missing_frames
        if not missing or missing[0] != self.header.number_of_frames - len(missing):
            return 0
        return len(missing)

    @property
    def encapsulated(self) -> bool:
        """Whether Pixel Data has an undefined length, which decides, not the transfer syntax."""
        return self.layout.pixel_data is not None and self.layout.pixel_data.length is None

    def frame_table(self, limits: Limits = DEFAULT_LIMITS) -> Steps[FrameTable]:
        """Read the frame table, see `dicomfs.dicom.frames.read_frame_table`."""
        return read_frame_table(self.layout, self.header.number_of_frames, self.frame_bytes, limits)

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame.

        YBR_FULL_422 has two samples a pixel (PS3.3 C.7.6.3.1.2), but not where a writer only kept
        the name when it decompressed; the length of the pixel data tells.
        """
        size = self.header.frame_bytes
        return size * 2 // 3 if self.subsampled else size

    @property
    def subsampled(self) -> bool:
        """Whether native samples are stored as YBR_FULL_422 prescribes."""
        header, element = self.header, self.layout.pixel_data
        if header.photometric_interpretation != "YBR_FULL_422" or header.samples_per_pixel != 3:
            return False
        if element is None or element.length is None:
            return False
        return element.length < header.number_of_frames * header.frame_bytes - 1


@dataclass(frozen=True, slots=True)
class Stranger:
    """A DICOM object that is no slide: its header, for whoever wants to say that it is there."""

    header: Header
