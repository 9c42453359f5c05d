"""The command line: `dicomfs mount`, `dicomfs unmount` and what else is a command.

Commands parse arguments, call the packages below and say in sentences what came of it.  Exit
codes: 0 done, 1 not done (the reason is on standard error), 2 wrong usage.  Heavy imports happen
inside the commands: a command that forks must do so before any library has started a thread.
`dicomfs SOURCE MOUNTPOINT`, without a command, is how mount(8) asks for a mount.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import click

from dicomfs.cli import logs
from dicomfs.cli.helper import called, is_call
from dicomfs.cli.wording import on_one_line
from dicomfs.errors import DicomfsError
from dicomfs.version import __version__

# Each in a module of its name.
_NAMES = ("mount", "unmount", "index", "inspect", "export", "doctor")


class _Commands(click.Group):
    """A group in which an error that dicomfs raises on purpose is a sentence and exit code 1.

    A command is imported when it is asked for, so that none waits for the others.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _NAMES:
            return None
        command = getattr(import_module(f"dicomfs.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing and is_call(args, self.list_commands(ctx)):
            return called.name, called, args
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DicomfsError as error:
            raise click.ClickException(on_one_line(str(error))) from error


def _print_version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"dicomfs {__version__}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 not done (the reason is on standard error), 2 wrong usage. "
    "`dicomfs SOURCE MOUNTPOINT -o OPT,…` is the form for mount(8) and /etc/fstab.",
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option("-v", "--verbose", count=True, help="Say more; twice: everything.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_context
def main(ctx: click.Context, verbose: int, quiet: bool) -> None:
    """Show DICOM whole slide images as virtual pyramidal TIFF files."""
    # No matrix is multiplied here, nor in the processes that are started.  The threads that numpy's
    # OpenBLAS makes for that when it is imported look for work for 30 ms, on a processor each.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    ctx.obj = -1 if quiet else verbose
    logs.log_to(logs.terminal(ctx.obj))
