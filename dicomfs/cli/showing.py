"""The options that say how slides are shown, shared by the commands that show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Showing:
    """How slides are to be shown.

    flavours : kinds of TIFF, empty for the one that fits each slide
    decode : store all tiles decoded
    blank_damaged : show missing frames blank instead of failing
    """

    flavours: tuple[str, ...] = ()
    decode: bool = False
    blank_damaged: bool = False

    def keywords(self) -> dict[str, Any]:
        """As `dicomfs.archive.Archive.load` takes them."""
        return {
            "flavours": self.flavours,
            "decode": self.decode,
            "blank_damaged": self.blank_damaged,
        }


def showing_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options to a command, which gets them as one argument `showing`."""

    @click.option(
        "--flavour",
        "flavours",
        type=click.Choice(["svs", "ome", "tiff"]),
        multiple=True,
        help="Kind of TIFF; can be given several times. Default: the one that fits each slide.",
    )
    @click.option(
        "--tiles",
        type=click.Choice(["auto", "decoded"]),
        default="auto",
        show_default=True,
        help="auto: frames as they are where the readers of a flavour decode them; decoded: all "
        "tiles uncompressed, for programs that lack a codec (larger, slower).",
    )
    @click.option(
        "--damaged",
        type=click.Choice(["error", "blank"]),
        default="error",
        show_default=True,
        help="What reading a missing or damaged frame gives: an input/output error, or a blank "
        "tile.",
    )
    @wraps(command)
    def with_showing(
        *args: Any, flavours: tuple[str, ...], tiles: str, damaged: str, **kwargs: Any
    ) -> R:
        showing = Showing(flavours, tiles == "decoded", damaged == "blank")
        return command(*args, showing=showing, **kwargs)

    return with_showing


def index_option(command: Callable[..., R]) -> Callable[..., R]:
    """Add the option that chooses the index."""
    return click.option(
        "--index",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Where it is remembered what the files of SOURCE are. Default: a file for each source "
        "in the cache directory ($XDG_CACHE_HOME/dicomfs).",
    )(command)
