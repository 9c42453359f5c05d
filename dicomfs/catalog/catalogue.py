"""The catalogue of a source: its slides, and everything that is not shown with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicomfs.source.protocol import SourceObject, printable

if TYPE_CHECKING:
    from dicomfs.slide.model import Slide


@dataclass(frozen=True, slots=True)
class CataloguedSlide:
    """A slide and where its instances lie.

    pyramid_uid : a UID that tells the slides of one series apart; "" where a series has one slide
    objects : the source objects of `slide.instances`, in their order
    """

    slide: Slide
    pyramid_uid: str
    objects: tuple[SourceObject, ...]

    @property
    def mtime_ns(self) -> int:
        """Modification time of the newest source file, nanoseconds since 1970."""
        return max(obj.identity.mtime_ns for obj in self.objects)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A series or a file that is not shown.

    series_instance_uid : "" where the file could not be read so far
    code : stable, for programs; message : completes the sentence "It …"
    files : keys of the source objects
    """

    series_instance_uid: str
    code: str
    message: str
    files: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As people and programs read it, in JSON."""
        return {
            "series_instance_uid": self.series_instance_uid,
            "code": self.code,
            "message": self.message,
            "files": [printable(key) for key in self.files],
        }


@dataclass(frozen=True, slots=True)
class OtherSeries:
    """A series of another kind than slides, which is left alone."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    sop_class_uid: str
    instances: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a source holds.

    files : regular files that were looked at; not_dicom : how many of them are no DICOM objects
    """

    slides: tuple[CataloguedSlide, ...]
    rejected: tuple[Rejection, ...]
    other_series: tuple[OtherSeries, ...]
    files: int
    not_dicom: int
