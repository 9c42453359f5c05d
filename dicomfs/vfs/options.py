"""What a user can choose of the way in which slides are shown.  Declarations only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """What a user can choose.

    flavours : of every slide, values of `dicomfs.tiff.storage.Flavour`; empty for the one that fits
        it best
    decode : store all tiles decoded, for readers that lack a codec
    blank_damaged : show missing frames blank; without, reading them is an error
    """

    flavours: tuple[str, ...] = ()
    decode: bool = False
    blank_damaged: bool = False
