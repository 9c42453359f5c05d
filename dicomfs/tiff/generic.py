"""The flavour `tiff`: a plain pyramid that libtiff alone can read.

levels, largest first, NewSubfileType 1 on the reduced ones | label | macro, as strips
"""

from __future__ import annotations

from collections.abc import Sequence

from dicomfs.slide.model import Slide
from dicomfs.tiff.directory import Directory
from dicomfs.tiff.picture import Pictures
from dicomfs.tiff.slide_fields import MACRO, REDUCED, associated_directory, level_directory

_ASSOCIATED = (("label", "label", REDUCED), ("overview", "macro", MACRO))


def directories(slide: Slide, pictures: Pictures, plane: int) -> Sequence[Directory]:
    """The chain of directories that shows one plane of a slide."""
    chain = [
        level_directory(
            slide,
            pictures.tiled(level, plane),
            subfile_type=REDUCED if index else 0,
            scanner=not index,
        )
        for index, level in enumerate(slide.levels)
    ]
    for kind, name, subfile_type in _ASSOCIATED:
        if kind in slide.associated:
            picture = pictures.stripped(slide.associated[kind])
            chain.append(
                associated_directory(slide, picture, subfile_type=subfile_type, description=name)
            )
    return chain
