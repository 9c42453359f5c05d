"""`dicomfs unmount`."""

from __future__ import annotations

from pathlib import Path

import click

from dicomfs.fuse.unmount import end


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option(
    "-z",
    "--lazy",
    is_flag=True,
    help="Detach the mount even if files are open; these can be read until they are closed.",
)
@click.pass_obj
def unmount(verbosity: int, mountpoint: Path, lazy: bool) -> None:
    """Unmount what dicomfs shows at MOUNTPOINT and wait until its process has ended."""
    process = end(mountpoint, lazy, seconds=1.0 if lazy else 10.0)
    if process is not None and verbosity >= 0:
        click.echo(
            f"{mountpoint} is detached; process {process.pid} ends when the last open file is "
            "closed.",
            err=True,
        )
