"""Settings of the process that serves a mount from now on.

They are the process's, not the mount's: whoever uses dicomfs as a library keeps their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

_SWITCH_SECONDS = 0.0005

# malloc.h of glibc
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# More than a tile of 256 × 256 pixels: that each of those had pages of its own was measured, too,
# and took a third off the speed of codecs that are quick.
_LARGE = 512 * 1024


def start() -> None:
    """Make what stays, modules above all, without looking for garbage among it.

    Ends with `get_ready_to_serve`.
    """
    gc.disable()


def get_ready_to_serve() -> None:
    """Have the process not stop for long for anything but requests, nor grow with its threads.

    To be called before it has threads.
    """
    # What was remembered stays. To go through all of it for garbage takes a tenth of a second at
    # every hundredth folder that somebody looks into. What is new takes a millisecond.
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
    gc.enable()
    # Whoever looks for changes lets go of the interpreter sooner than after 5 ms.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # glibc gives each thread a heap of its own, and what one has freed is of no use to another:
    # after four minutes of reads and changes 95 MiB were in use with two heaps, 89 with one.
    # What is large gets pages of its own, which go back when it is freed. Left alone, glibc puts
    # more and more of that into the heap, which then stays as large as it ever was.
    with contextlib.suppress(OSError, AttributeError):  # a C library that knows nothing of it
        tune = ctypes.CDLL(None).mallopt
        tune(_M_ARENA_MAX, 1)
        tune(_M_MMAP_THRESHOLD, _LARGE)
