"""dicomfs: DICOM whole slide images as virtual pyramidal TIFF files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicomfs.version import __version__

if TYPE_CHECKING:
    from dicomfs.archive import Archive, open_archive
    from dicomfs.dicom.confidentiality.pseudonyms import Profile

__all__ = ["Archive", "Profile", "__version__", "open_archive"]


def __getattr__(name: str) -> Any:
    """`Archive`, `Profile` and `open_archive`, imported when they are asked for.

    They bring numpy and pydicom, which `dicomfs unmount` has no use for and which start threads
    that `dicomfs mount` must not have when it forks.
    """
    if name in ("Archive", "open_archive"):
        from dicomfs import archive

        return getattr(archive, name)
    if name == "Profile":
        from dicomfs.dicom.confidentiality.pseudonyms import Profile

        return Profile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
