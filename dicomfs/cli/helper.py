"""Called by mount(8): for a line of /etc/fstab, for `mount -t fuse.dicomfs SOURCE MOUNTPOINT`.

mount(8) runs `/sbin/mount.fuse3`, which runs `dicomfs SOURCE MOUNTPOINT -o WORDS` through the
shell; or, where they are installed, `/sbin/mount.fuse.dicomfs` or `/sbin/mount.dicomfs`, with
arguments of its own.  Both become `dicomfs mount`.  Must not know what that does.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dicomfs.cli.mount import mount
from dicomfs.cli.options import TakesWords
from dicomfs.errors import MountError


class _Called(TakesWords):
    """`dicomfs mount` as mount(8) calls it: quiet, and with `rw` unless something else is said."""

    tolerated = frozenset({"rw"})

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        # Exit code 2 is "system error" to mount(8), 1 "incorrect invocation".
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise click.ClickException(error.format_message()) from error

    def invoke(self, ctx: click.Context) -> object:
        if os.fspath(ctx.params["mountpoint"]).startswith("/dev/fd/"):
            # mount.fuse3 has mounted already and hands over the device.
            raise MountError("drop_privileges is not supported: setuid=USER mounts as a user")
        _find_home()
        if not ctx.params["verbose"]:
            ctx.params["silent"] = True
        return super().invoke(ctx)


called = _Called("mount", callback=mount.callback, params=mount.params, help=mount.help)
"""The command without a name, `dicomfs SOURCE MOUNTPOINT`."""


def is_call(arguments: Sequence[str], commands: Sequence[str]) -> bool:
    """Whether arguments have the form that mount(8) uses: what is mounted comes first.

    A word without a slash that is no directory is taken for a command that does not exist.
    """
    if len(arguments) < 2 or arguments[0] in commands:
        return False
    return "/" in arguments[0] or os.path.isdir(arguments[0])


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source")
@click.argument("mountpoint")
@click.option("-f", "fake", is_flag=True, help="Do nothing.")
@click.option("-n", "no_table", is_flag=True, help="No effect: there is no table to write to.")
@click.option("-s", "sloppy", is_flag=True, help="No effect: what is unknown stays an error.")
@click.option("-v", "verbose", count=True, help="Say more; twice: everything.")
@click.option("-N", "namespace", metavar="NS", help="No effect: mount(8) has entered it.")
@click.option("-t", "kind", metavar="TYPE", help="No effect.")
@click.option("-o", "options", metavar="OPT[,OPT...]", multiple=True, help="As of dicomfs mount.")
def main(
    source: str,
    mountpoint: str,
    fake: bool,
    no_table: bool,
    sloppy: bool,
    verbose: int,
    namespace: str | None,
    kind: str | None,
    options: tuple[str, ...],
) -> None:
    """Mount SOURCE at MOUNTPOINT, called by mount(8) as /sbin/mount.dicomfs."""
    from dicomfs.cli import main as dicomfs

    if fake:
        return
    words = [argument for value in options for argument in ("-o", value)]
    flags = ["-v"] * verbose
    # An absolute path is no command, whatever its name.
    dicomfs([os.path.abspath(source), mountpoint, *flags, *words], prog_name="mount.dicomfs")


def _find_home() -> None:
    """Point HOME to the directory of the user we are.

    mount.fuse3 with `setuid=` keeps root's, and what starts at boot has none; the index and the log
    belong into the directory of the user.
    """
    try:
        ours = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return
    if not os.access(os.environ.get("HOME", ""), os.W_OK):
        os.environ["HOME"] = os.fspath(ours)
        for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
            os.environ.pop(name, None)
