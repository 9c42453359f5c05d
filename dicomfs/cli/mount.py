"""`dicomfs mount`."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomfs.cli import logs, serving
from dicomfs.cli.daemon import in_background
from dicomfs.cli.options import TakesWords
from dicomfs.cli.progress import scanning
from dicomfs.cli.showing import index_option, showing_options
from dicomfs.errors import MountError
from dicomfs.fuse import prerequisites
from dicomfs.fuse.mountpoint import check_source, prepare_mountpoint
from dicomfs.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from dicomfs.vfs.options import LayoutOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Attaching:
    """How the mount is made; see the options of the command."""

    allow_other: bool
    auto_unmount: bool


@dataclass(frozen=True, slots=True)
class _Following:
    """How the source is followed; see the options of the command."""

    index: Path | None
    wait: float
    watch: bool
    rescan: float | None
    read_deadline: float


@click.command(
    cls=TakesWords,
    epilog="Unmount with `dicomfs unmount MOUNTPOINT`. Exit codes: 0 the mount answers, 1 it could "
    "not be made (the reason is on standard error), 2 wrong usage.",
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("-f", "--foreground", is_flag=True, help="Stay in the terminal; Ctrl-C unmounts.")
@click.option(
    "--allow-other",
    is_flag=True,
    help="Let other users read the mount, Samba and NFS servers among them.",
)
@click.option(
    "--auto-unmount",
    is_flag=True,
    help="Have the mount removed when its process ends in whatever way; needs fusermount3.",
)
@click.option("--nonempty", is_flag=True, help="Hide what MOUNTPOINT holds.")
@showing_options
@index_option
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for all slides to be found before the command returns.",
)
@click.option(
    "--watch/--no-watch",
    default=True,
    show_default=True,
    help="Notice changes of SOURCE as the system tells of them.",
)
@click.option(
    "--rescan",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Also look at all of SOURCE that often, for network file systems, which tell of nothing.",
)
@click.option(
    "--read-deadline",
    type=click.FloatRange(min=0.1),
    default=DEFAULT_LIMITS.read_deadline,
    show_default=True,
    metavar="SECONDS",
    help="How long a read waits for a source that does not answer before it fails.",
)
@click.option(
    "--log-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where messages go that the terminal does not get. Default: a file for each mountpoint in "
    "$XDG_STATE_HOME/dicomfs (~/.local/state/dicomfs); with --foreground: the terminal.",
)
@click.option(
    "--log-format",
    type=click.Choice([form.value for form in logs.Form]),
    help="text with the time, JSON lines, or the form of systemd's journal. Default: text; journal "
    "where standard error goes there.",
)
@click.option(
    "-o",
    "options",
    metavar="OPT[,OPT...]",
    multiple=True,
    help="Mount options: all that is above, as in `-o allow_other,flavour=ome,rescan=60`; those of "
    "mount(8) have no effect.",
)
@click.option("-v", "--verbose", count=True, help="Say more; twice: everything.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def mount(
    verbosity: int,
    source: Path,
    mountpoint: Path,
    foreground: bool,
    allow_other: bool,
    auto_unmount: bool,
    nonempty: bool,
    log_file: Path | None,
    log_format: str | None,
    options: tuple[str, ...],
    index: Path | None,
    wait: float,
    watch: bool,
    rescan: float | None,
    read_deadline: float,
    showing: LayoutOptions,
    verbose: int,
    quiet: bool,
    silent: bool = False,
) -> None:
    """Show every whole slide image below SOURCE as TIFF files at MOUNTPOINT, an empty directory.

    Returns when all slides can be read, or after --wait seconds: then the others appear as they
    are found. The mount goes on in the background, read-only, until it is unmounted or its process
    gets SIGTERM. It follows its source: slides come, change and go with their files.
    """
    serving.start()
    if verbose or quiet:
        verbosity = -1 if quiet else verbose
    following = _Following(index, wait, watch, rescan, read_deadline)
    attaching = _Attaching(allow_other, auto_unmount)
    form = logs.Form(log_format) if log_format else None
    terminal = logs.terminal(verbosity, form)
    logs.log_to(terminal)
    resolved = check_source(source)
    prerequisites.check(allow_other, auto_unmount)
    place = prepare_mountpoint(mountpoint, resolved, nonempty)

    def work(ready: Callable[[], None]) -> None:
        _show(resolved, place, showing, attaching, following, ready)

    if foreground:
        how_to_end = "Ctrl-C unmounts" if sys.stdin.isatty() else "SIGTERM unmounts"
        if log_file:
            logs.log_to(_log_file(log_file.absolute(), verbosity, form))
        work(lambda: _say(verbosity, f"{source} is shown at {mountpoint}; {how_to_end}."))
        return

    output = log_file.absolute() if log_file else logs.default_file(place)
    in_journal = log_file is None and logs.in_journal()

    def detached(ready: Callable[[], None]) -> None:
        if in_journal:
            lasting = terminal
        else:
            lasting = _log_file(output, verbosity, form, needed=log_file is not None)
            logs.log_to(terminal, lasting)

        def leave_terminal() -> None:
            logs.log_to(lasting)
            shown = "a source without identities" if showing.profile else resolved
            log.info("%s is shown at %s by process %d", shown, place, os.getpid())
            ready()

        work(leave_terminal)
        log.info("%s is unmounted", place)

    in_background(detached, None if in_journal else output)
    if not silent:
        _say(
            verbosity,
            f"{source} is shown at {mountpoint}. "
            f"Unmount with: dicomfs unmount {shlex.quote(os.fspath(mountpoint))}",
        )


def _say(verbosity: int, sentence: str) -> None:
    if verbosity >= 0:
        with contextlib.suppress(OSError):  # nobody has to listen
            click.echo(sentence, err=True)


def _log_file(
    path: Path, verbosity: int, form: logs.Form | None, needed: bool = True
) -> logging.Handler:
    try:
        return logs.file(path, verbosity, form)
    except OSError as error:
        sentence = f"the log file {path} cannot be written: {error.strerror}"
        if needed:
            raise MountError(sentence) from error
        log.warning("%s; messages will be lost", sentence)
        return logging.NullHandler()


def _show(
    source: Path,
    mountpoint: Path,
    showing: LayoutOptions,
    attaching: _Attaching,
    following: _Following,
    ready: Callable[[], None],
) -> None:
    from dicomfs.archive import Archive
    from dicomfs.fuse.mount import mount

    archive = Archive.remembered(
        source,
        showing,
        exclude=mountpoint,
        index=following.index,
        limits=replace(DEFAULT_LIMITS, read_deadline=following.read_deadline),
    )
    serving.get_ready_to_serve()
    with contextlib.closing(archive), scanning() as progress:

        def complete() -> None:
            # Not earlier: the mount answers before anybody looks at its source.
            follower = archive.follow(
                watch=following.watch, rescan=following.rescan, progress=progress
            )
            follower.scanned.wait(following.wait)
            progress.end()
            if follower.failure is not None:
                raise follower.failure

        mount(
            lambda: archive.tree,
            archive.reader,
            mountpoint,
            os.fspath(source) if showing.profile is None else "dicomfs",
            allow_other=attaching.allow_other,
            options=("auto_unmount",) if attaching.auto_unmount else (),
            ready=ready,
            complete=complete,
            changing=archive.deliver_changes,
            observed=archive.observe,
        )
