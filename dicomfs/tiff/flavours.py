"""Which flavours a slide gets, and the plan of each."""

from __future__ import annotations

from collections.abc import Sequence

from dicomfs.slide.model import Slide
from dicomfs.tiff.directory import Directory
from dicomfs.tiff.picture import Pictures
from dicomfs.tiff.plan import TiffPlan, plan_tiff
from dicomfs.tiff.storage import Flavour

_SQUARE = 0.001  # largest relative difference of the two spacings that one MPP can stand for


def default_flavour(slide: Slide) -> Flavour:
    """The flavour that shows all of a slide in most readers.

    `svs` for colour slides of one plane; `ome` for channels, focal planes, grey and 16 bit, and
    where pixels are not square, which the one MPP value of `svs` cannot say.
    """
    base = slide.levels[0]
    several = len(base.planes) > 1
    if several or base.encoding.samples == 1 or base.encoding.bits != 8:
        return Flavour.OME
    if slide.mpp is not None and abs(slide.mpp[0] / slide.mpp[1] - 1) > _SQUARE:
        return Flavour.OME
    return Flavour.SVS


def shown_plane(slide: Slide) -> int:
    """The plane that the flavours of a single plane show: the middle one of the first channel."""
    return (len(slide.focal_planes_um) - 1) // 2


def plan_flavour(
    slide: Slide, flavour: Flavour, *, decode: bool = False, blank_damaged: bool = False
) -> TiffPlan:
    """Plan the virtual TIFF of a slide in a flavour.

    decode : store all tiles decoded, for readers that lack a codec
    blank_damaged : show missing frames blank; without, reading them is an error
    """
    pictures = Pictures(slide, flavour, decode=decode)
    # Each imported when it is wanted: whoever opens a slide waits for one of them.
    if flavour is Flavour.OME:
        from dicomfs.tiff import ome

        chain: Sequence[Directory] = ome.directories(slide, pictures)
    elif flavour is Flavour.SVS:
        from dicomfs.tiff import svs

        chain = svs.directories(slide, pictures, shown_plane(slide))
    else:
        from dicomfs.tiff import generic

        chain = generic.directories(slide, pictures, shown_plane(slide))
    return plan_tiff(slide, chain, pictures.made, blank_damaged=blank_damaged)
