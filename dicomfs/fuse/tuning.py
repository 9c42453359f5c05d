"""Kernel settings of a mount that make sequential and parallel reads fast.

Both are root's to change; where they cannot be changed the mount works as well, only slower.
"""

from __future__ import annotations

from pathlib import Path

# At the kernel's 128 KiB a sequential read is half as fast.
_READ_AHEAD_KB = 1024

# At the kernel's 12 a dozen stalled read-aheads stop all the others.
_MAX_BACKGROUND = 64
_CONGESTION_THRESHOLD = 48


def tune(device: tuple[int, int], sys: Path = Path("/sys")) -> list[str]:
    """Raise the settings of the FUSE mount with that device number; never lower one.

    Returns a line for each setting: what it is now, or why it could not be changed.
    """
    major, minor = device
    connection = sys / "fs/fuse/connections" / str(minor)
    return [
        _raise(sys / f"class/bdi/{major}:{minor}/read_ahead_kb", _READ_AHEAD_KB),
        _raise(connection / "max_background", _MAX_BACKGROUND),
        _raise(connection / "congestion_threshold", _CONGESTION_THRESHOLD),
    ]


def _raise(setting: Path, value: int) -> str:
    try:
        current = int(setting.read_text())
        if current >= value:
            return f"{setting.name} is {current}"
        setting.write_text(f"{value}\n")
    except (OSError, ValueError) as error:
        return f"{setting.name} was left alone: {error}"
    return f"{setting.name} raised from {current} to {value}"
