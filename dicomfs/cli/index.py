"""`dicomfs index`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomfs.cli.progress import scanning
from dicomfs.cli.showing import deidentifying_options, index_option
from dicomfs.errors import UsageError

if TYPE_CHECKING:
    from dicomfs.dicom.confidentiality.pseudonyms import Profile


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@index_option
@deidentifying_options
@click.option("--json", "as_json", is_flag=True, help="Print progress and result as JSON lines.")
@click.pass_obj
def index(
    verbosity: int, source: Path, index: Path | None, as_json: bool, profile: Profile | None
) -> None:
    """Look at every file below SOURCE and remember what it is, so that a mount need not.

    Files that have not changed since the last time are not read again. It can be interrupted at
    any time, and goes on where it was the next time. The exit code is 0 when all of SOURCE was
    looked at.
    """
    from dicomfs.archive import Archive
    from dicomfs.vfs.options import LayoutOptions

    if profile is not None and not profile.lasting:
        raise UsageError("an index of pseudonyms is of use with their key only: give --key")

    begun = time.monotonic()
    with scanning(lines=as_json) as progress:
        options = LayoutOptions(profile=profile)
        archive = Archive.load(source, options, index=index, progress=progress)
    with archive:
        status = archive.status
        path = archive.index.path
    seconds = time.monotonic() - begun
    if as_json:
        result = {"event": "done", **status, "index": None if path is None else str(path),
                  "seconds": round(seconds, 3)}  # fmt: skip
        click.echo(json.dumps(result))
    elif verbosity >= 0:
        click.echo(
            f"{status['slides']} slides, {status['rejected']} not shown, {status['other_series']}"
            f" series of other kinds, {status['not_dicom']} of {status['files']} files are not"
            f" DICOM. The index is {path or 'lost: it could not be written'}."
        )
    if path is None:
        click.get_current_context().exit(1)
