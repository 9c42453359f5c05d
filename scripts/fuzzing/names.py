"""The names of the targets, without what these import: that has to be instrumented first."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "instance",
    "slide",
    "deflated",
    "codestream",
    "per-frame",
    "data-set",
    "encapsulated",
    "decoding",
    "records",
    "frames",
)
