"""Describes the machine that a run was made on, as far as it matters for the figures."""

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

_LIBRARIES = ("pyfuse3", "trio", "numpy", "imagecodecs", "openslide-bin", "tifffile", "pydicom")


def describe(folder: Path) -> dict[str, str]:
    """Words for words, in the order in which they should be shown.

    folder: where the slides are written.
    """
    return {
        "cpu": f"{_cpu()}, {os.cpu_count()} cores",
        "memory": f"{_memory_gib():.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "storage": f"{_file_system(folder)} at {folder}",
        "load": f"{os.getloadavg()[0]:.2f} before the run",
        "python": platform.python_version(),
        "libraries": ", ".join(filter(None, map(_version, _LIBRARIES))),
    }


def _cpu() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _file_system(folder: Path) -> str:
    command = ["stat", "--file-system", "--format=%T", os.fspath(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown file system"
    return done.stdout.strip()


def _version(library: str) -> str:
    try:
        return f"{library} {importlib.metadata.version(library)}"
    except importlib.metadata.PackageNotFoundError:
        return ""
