"""What a user can choose of the way in which slides are shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from dicomfs.dicom.confidentiality.pseudonyms import Profile, shift_of


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """What a user can choose.

    flavours : of every slide, values of `dicomfs.tiff.storage.Flavour`; empty for the one that fits
        it best
    decode : store all tiles decoded, for readers that lack a codec
    blank_damaged : show missing frames blank; without, reading them is an error
    profile : how the slides are de-identified; None for not at all
    """

    flavours: tuple[str, ...] = ()
    decode: bool = False
    blank_damaged: bool = False
    profile: Profile | None = field(default=None, repr=False)

    def shown_time(self, mtime_ns: int) -> int:
        """The modification time that a virtual file has, for one of its source files.

        When a slide was scanned is not to be told by its files either: all are made earlier by the
        same span, which follows from the key.
        """
        if self.profile is None:
            return mtime_ns
        shift = shift_of(self.profile.key, "\0files")
        return max(0, mtime_ns - int(shift.total_seconds()) * 10**9)
