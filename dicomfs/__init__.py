"""dicomfs: DICOM whole slide images as virtual pyramidal TIFF files."""

from __future__ import annotations

from dicomfs.archive import Archive, open_archive
from dicomfs.version import __version__

__all__ = ["Archive", "__version__", "open_archive"]
