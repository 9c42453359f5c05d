"""A mount of an empty directory, made for a moment by `dicomfs doctor`: only that tells whether a
container, its security profile and the kernel let users mount, and what they may set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from dicomfs.fuse import tuning
from dicomfs.fuse.system import Finding, State

_PATIENCE = 60.0  # seconds for each command

_SETTINGS = {
    "read_ahead_kb": "Long reads are half as fast; root may raise it, or a rule of udev.",
    "max_background": "A dozen stalled reads can stop all the others. The mounting user may raise "
    "it where fusectl is mounted: `sudo mount -t fusectl fusectl /sys/fs/fuse/connections`.",
}


def mount() -> list[Finding]:
    """Mount an empty directory in a process of its own, and look at what the kernel makes of it."""
    folder = Path(tempfile.mkdtemp(prefix="dicomfs-doctor-"))
    empty, point = folder / "empty", folder / "mountpoint"
    try:
        empty.mkdir()
        point.mkdir()
        mount = ["-q", "mount", "--no-watch", "--log-file", os.fspath(folder / "log")]
        mount += ["--index", os.fspath(folder / "index"), os.fspath(empty), os.fspath(point)]
        failure = _run(mount)
        if failure:
            advice = "The lines above and docs/troubleshooting.md may tell why."
            return [Finding("mount", State.FAIL, failure, advice)]
        try:
            status = point.stat()
            settings = tuning.settings((os.major(status.st_dev), os.minor(status.st_dev)))
        finally:
            failure = _run(["-q", "unmount", "--lazy", os.fspath(point)])
        if failure:
            return [Finding("mount", State.FAIL, failure, f"`umount -l {point}`")]
        return [Finding("mount", State.OK, "an empty directory was mounted"), *judge(settings)]
    finally:
        if not os.path.ismount(point):
            shutil.rmtree(folder, ignore_errors=True)


def judge(settings: dict[str, tuple[int, int]]) -> list[Finding]:
    """Findings about settings of the kernel: what they are, and what they should at least be."""
    findings = []
    for name, advice in _SETTINGS.items():
        if name not in settings:
            findings.append(Finding(name, State.WARN, f"{name} cannot be seen here", advice))
            continue
        value, wanted = settings[name]
        if value < wanted:
            found = f"{name} is {value}, {wanted} is better and is not permitted"
            findings.append(Finding(name, State.WARN, found, advice))
        else:
            findings.append(Finding(name, State.OK, f"{name} is {value}"))
    return findings


def _run(arguments: list[str]) -> str:
    """Run the command; returns why it failed, or ""."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dicomfs", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE:g} s"
    if done.returncode == 0:
        return ""
    reason = done.stderr.strip().removeprefix("Error: ")
    return reason or f"exit code {done.returncode}"
