"""What this system gives to a FUSE mount, as findings for `dicomfs doctor`.

Asks and changes nothing but what it says.  Must not know what is mounted.
"""

from __future__ import annotations

import importlib
import os
import stat
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dicomfs.fuse.prerequisites import fusermount, others_allowed

_DEVICE = Path("/dev/fuse")
_OLDEST_KERNEL = (4, 20)  # `max_pages` of FUSE, reads of more than 128 KiB


class State(StrEnum):
    """How bad it is: FAIL means that nothing can be mounted or read."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    name : stable, for programs
    found : what is there, a phrase
    advice : what to do, a sentence; "" where nothing has to be done
    """

    name: str
    state: State
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Findings about the kernel and the packages of FUSE."""
    return [_kernel(), _device(), _fusermount(), _others(), _pyfuse3()]


def _kernel() -> Finding:
    release = os.uname().release
    numbers = release.replace("-", ".").split(".")[:2]
    version = tuple(int(number) for number in numbers if number.isdigit())
    if version < _OLDEST_KERNEL:
        return Finding("kernel", State.WARN, f"Linux {release}", "4.20 or newer reads faster.")
    return Finding("kernel", State.OK, f"Linux {release}")


def _device() -> Finding:
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        advice = (
            "Load the kernel module with `sudo modprobe fuse`; start a container with "
            "`--device /dev/fuse --cap-add SYS_ADMIN`."
        )
        return Finding("device", State.FAIL, f"{_DEVICE} is missing", advice)
    except OSError as error:
        found = f"{_DEVICE} cannot be opened: {error.strerror}"
        advice = (
            f"Give users the right to read and write it: `sudo chmod 666 {_DEVICE}`; in a "
            "container its device rules have to allow it (`--device /dev/fuse`)."
        )
        return Finding("device", State.FAIL, found, advice)
    return Finding("device", State.OK, f"{_DEVICE} can be opened")


def _setuid(program: str | None) -> bool:
    try:
        return program is not None and bool(os.stat(program).st_mode & stat.S_ISUID)
    except OSError:
        return False


def _fusermount() -> Finding:
    program = fusermount()
    root = os.geteuid() == 0
    if program is None:
        advice = "Install the system package fuse3 (`sudo apt install fuse3`)."
        if root:
            advice += " Root needs it for `auto_unmount` and for lines of fstab only."
        return Finding(
            "fusermount3", State.WARN if root else State.FAIL, "fusermount3 is missing", advice
        )
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    version = done.stdout.strip().rpartition(" ")[2] or "of unknown version"
    if root or _setuid(program):
        return Finding("fusermount3", State.OK, f"{program} {version}")
    return Finding(
        "fusermount3",
        State.WARN,
        f"{program} {version} is not setuid root",
        f"Unless this is a user namespace, mounting needs `sudo chmod u+s {program}`.",
    )


def _others() -> Finding:
    if os.geteuid() == 0:
        return Finding("allow_other", State.OK, "root may use --allow-other")
    if others_allowed():
        return Finding("allow_other", State.OK, "/etc/fuse.conf has user_allow_other")
    return Finding(
        "allow_other",
        State.WARN,
        "/etc/fuse.conf has no user_allow_other",
        "Add that line if other users, Samba or NFS are to read your mounts.",
    )


def _pyfuse3() -> Finding:
    try:
        importlib.import_module("pyfuse3")
    except ImportError as error:
        return Finding(
            "pyfuse3",
            State.FAIL,
            f"pyfuse3 cannot be loaded: {error}",
            "Install the system packages fuse3 and libfuse3-3, then `pip install pyfuse3`.",
        )
    from importlib import metadata  # here, because it takes as long as many a command

    return Finding("pyfuse3", State.OK, f"pyfuse3 {metadata.version('pyfuse3')}")
