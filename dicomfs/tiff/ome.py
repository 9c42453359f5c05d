"""The flavour `ome`: OME-TIFF, for channels, focal planes, grey and 16 bit.

every plane of level 0 with its reduced levels as SubIFDs | label, macro, thumbnail | the reduced
levels of the first plane again, for readers that know no SubIFDs (docs/readers.md)

Planes come in the order XYZCT, which is the order of TILED_FULL (PS3.3 C.7.6.17.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from dicomfs.slide.model import Slide
from dicomfs.tiff.directory import Directory
from dicomfs.tiff.ome_xml import ome_xml
from dicomfs.tiff.picture import Pictures
from dicomfs.tiff.slide_fields import (
    REDUCED,
    associated_directory,
    level_directory,
)

_ASSOCIATED = {"label": "label", "overview": "macro", "thumbnail": "thumbnail"}


def directories(slide: Slide, pictures: Pictures) -> Sequence[Directory]:
    """The chain of directories that shows all planes of a slide."""
    associated = {
        _ASSOCIATED[kind]: pictures.stripped(level) for kind, level in slide.associated.items()
    }
    planes = range(len(slide.levels[0].planes))
    chain = []
    for plane in planes:
        levels = [pictures.tiled(level, plane) for level in slide.levels]
        children = tuple(
            level_directory(slide, level, subfile_type=REDUCED) for level in levels[1:]
        )
        description = ome_xml(slide, levels[0], associated) if plane == 0 else None
        chain.append(
            level_directory(
                slide,
                levels[0],
                subfile_type=0,
                description=description,
                children=children,
                scanner=plane == 0,
            )
        )
    for picture in associated.values():
        chain.append(associated_directory(slide, picture, subfile_type=0))
    for level in slide.levels[1:]:
        chain.append(level_directory(slide, pictures.tiled(level, 0), subfile_type=REDUCED))
    return chain
