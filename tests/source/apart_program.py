"""What `test_apart` has other processes do."""

from __future__ import annotations

import sys
import time


def main(what: str) -> None:
    """Write much, fail, or go on for very long."""
    sys.stdout.write("x" * 3_000_000)
    sys.stdout.flush()
    if what == "fail":
        sys.exit(3)
    if what == "go on":
        time.sleep(1000)
