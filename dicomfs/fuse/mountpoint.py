"""Where a mount may go: refusals, each with a sentence on what to do instead.

Must not know what is mounted.
"""

from __future__ import annotations

import errno
import logging
import os
import shlex
from pathlib import Path

from dicomfs.errors import MountError
from dicomfs.fuse.unmount import locate, unmount
from dicomfs.source.mount_table import mount_at
from dicomfs.source.own_mounts import KIND

log = logging.getLogger(__name__)

# What a request gets whose FUSE process was killed, or whose connection was cut.
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)


def check_source(source: Path) -> Path:
    """The absolute path of a directory that can be listed; MountError otherwise."""
    resolved = Path(os.path.realpath(source))
    try:
        with os.scandir(resolved):
            pass
        os.stat(resolved / ".")
    except FileNotFoundError:
        raise MountError(f"the source {source} does not exist") from None
    except NotADirectoryError:
        raise MountError(
            f"the source {source} is not a directory; give the directory that holds the slides"
        ) from None
    except PermissionError:
        raise MountError(f"the source {source} cannot be read: permission denied") from None
    except OSError as error:
        raise MountError(f"the source {source} cannot be read: {error.strerror}") from error
    return resolved


def prepare_mountpoint(mountpoint: Path, source: Path, nonempty: bool = False) -> Path:
    """The absolute path of an existing empty directory that is not entangled with the source.

    A mount of dicomfs that a crash has left dead at that place is removed first.

    source : as `check_source` returned it.
    nonempty : whether what is in the directory, or mounted there, may be hidden.

    Raises MountError.
    """
    place = locate(mountpoint)
    while _is_dead(place):
        _clean(place)
    try:
        with os.scandir(place) as entries:
            empty = next(entries, None) is None
        same = os.path.samefile(place, source)
    except FileNotFoundError:
        raise MountError(
            f"the mountpoint {mountpoint} does not exist: create it with "
            f"`mkdir -p {shlex.quote(os.fspath(mountpoint))}`"
        ) from None
    except NotADirectoryError:
        raise MountError(f"the mountpoint {mountpoint} is not a directory") from None
    except OSError as error:
        raise MountError(f"the mountpoint {mountpoint} cannot be used: {error.strerror}") from error
    if same:
        raise MountError("the mountpoint is the source itself: mount at another, empty directory")
    if place.is_relative_to(source):
        raise MountError(
            f"the mountpoint {mountpoint} lies inside the source {source}: "
            "mount at a directory outside of it"
        )
    if source.is_relative_to(place):
        raise MountError(
            f"the source {source} lies inside the mountpoint {mountpoint} and would be hidden: "
            "mount at another, empty directory"
        )
    _check_free(place, mountpoint, nonempty)
    if not empty and not nonempty:
        raise MountError(
            f"the mountpoint {mountpoint} is not empty: mount at an empty directory, "
            "or hide what is in it with `-o nonempty`"
        )
    return place


def _check_free(place: Path, mountpoint: Path, nonempty: bool) -> None:
    mount = mount_at(place)
    if mount is None:
        return
    if mount.kind == KIND:
        raise MountError(
            f"{mountpoint} already shows {mount.source}: "
            f"end that with `dicomfs unmount {shlex.quote(os.fspath(mountpoint))}`"
        )
    if not nonempty:
        raise MountError(
            f"{mountpoint} is already a mount of {mount.kind}: mount at another directory, "
            "or hide it with `-o nonempty`"
        )


def _is_dead(place: Path) -> bool:
    try:
        os.statvfs(place)  # `stat` may be answered from the kernel's cache long after the crash
    except OSError as error:
        return error.errno in _DEAD
    return False


def _clean(place: Path) -> None:
    mount = mount_at(place)
    if mount is None or mount.kind != KIND:
        kind = mount.kind if mount else "an unknown filesystem"
        raise MountError(
            f"the mountpoint {place} is a dead mount of {kind}: unmount it first with "
            f"`umount {shlex.quote(os.fspath(place))}`"
        )
    log.info("removing the mount of %s that a crash has left at %s", mount.source, place)
    unmount(place, lazy=True)
