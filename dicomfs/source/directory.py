"""A directory as the source of a catalogue: with its names as they are, or sealed."""

from __future__ import annotations

from pathlib import Path

from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.limits import Limits
from dicomfs.source.inflating import InflatingSource
from dicomfs.source.local import LocalDirectory
from dicomfs.source.sealed import SealedDirectory


def local_source(
    root: Path,
    cache: Path,
    limits: Limits,
    profile: Profile | None = None,
    *,
    exclude: Path | None = None,
) -> InflatingSource:
    """The source of a directory.

    cache : where inflated copies go
    profile : of a de-identified mount, for which the names are sealed
    exclude : a directory below it that is left out

    Raises UsageError where the root is no directory.
    """
    plain = LocalDirectory(root, limits, exclude=exclude)
    if profile is None:
        return InflatingSource(plain, cache, limits)
    return InflatingSource(SealedDirectory(plain, profile.key), cache, limits)
