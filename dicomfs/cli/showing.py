"""The options that say how slides are shown, shared by the commands that show them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dicomfs.cli.keys import passing_key, read_key
from dicomfs.errors import UsageError

if TYPE_CHECKING:
    from dicomfs.dicom.confidentiality.pseudonyms import Profile

R = TypeVar("R")


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
    @deidentifying_options
    @wraps(command)
    def with_showing(
        *args: Any,
        flavours: tuple[str, ...],
        tiles: str,
        damaged: str,
        profile: Profile | None,
        **kwargs: Any,
    ) -> R:
        from dicomfs.vfs.options import LayoutOptions

        showing = LayoutOptions(flavours, tiles == "decoded", damaged == "blank", profile)
        return command(*args, showing=showing, **kwargs)

    return with_showing


def deidentifying_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that hide identities to a command, which gets them as `profile`."""

    @click.option(
        "--deidentify",
        is_flag=True,
        help="Show no identities: PS3.15 Basic Application Level Confidentiality Profile. Labels "
        "and overviews are left out; pixels of slides are shown as they are.",
    )
    @click.option(
        "--key",
        "key_file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="With --deidentify: a secret of 16 bytes or more. The same key gives the same "
        "pseudonyms everywhere. Default: a random one for this time.",
    )
    @click.option(
        "--retain-device-identity",
        is_flag=True,
        help="With --deidentify: keep serial numbers and names of devices.",
    )
    @click.option(
        "--clean-descriptors",
        is_flag=True,
        help="With --deidentify: keep the known words of descriptions instead of nothing.",
    )
    @click.option(
        "--drop-structured-content",
        is_flag=True,
        help="With --deidentify: remove how specimens were prepared and stained, too.",
    )
    @wraps(command)
    def with_profile(
        *args: Any,
        deidentify: bool,
        key_file: Path | None,
        retain_device_identity: bool,
        clean_descriptors: bool,
        drop_structured_content: bool,
        **kwargs: Any,
    ) -> R:
        options = {
            "--key": key_file is not None,
            "--retain-device-identity": retain_device_identity,
            "--clean-descriptors": clean_descriptors,
            "--drop-structured-content": drop_structured_content,
        }
        profile = None
        if deidentify:
            from dicomfs.dicom.confidentiality.pseudonyms import Profile

            profile = Profile(
                passing_key() if key_file is None else read_key(key_file),
                retain_device_identity,
                clean_descriptors,
                drop_structured_content,
                lasting=key_file is not None,
            )
        elif any(options.values()):
            given = ", ".join(name for name, value in options.items() if value)
            raise UsageError(f"{given} means something with --deidentify only")
        return command(*args, profile=profile, **kwargs)

    return with_profile


def index_option(command: Callable[..., R]) -> Callable[..., R]:
    """Add the option that chooses the index."""
    return click.option(
        "--index",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Where it is remembered what the files of SOURCE are. Default: a file for each source "
        "in the cache directory ($XDG_CACHE_HOME/dicomfs).",
    )(command)
