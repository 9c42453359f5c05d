"""`dicomfs mount`."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from dicomfs.cli import logs
from dicomfs.cli.daemon import in_background
from dicomfs.cli.progress import scanning
from dicomfs.cli.showing import Showing, index_option, showing_options
from dicomfs.errors import MountError
from dicomfs.fuse import prerequisites
from dicomfs.fuse.mountpoint import check_source, prepare_mountpoint

log = logging.getLogger(__name__)

# Always so, therefore accepted without effect; mount(8) passes most of them.
_IMPLIED = {"ro", "nosuid", "nodev", "noexec", "default_permissions", "noatime", "relatime"}

# Words of fstab(5) that are meant for others.
_FOR_OTHERS = {"defaults", "auto", "noauto", "user", "users", "nouser", "nofail", "_netdev"}


@dataclass(frozen=True, slots=True)
class _Options:
    """What the comma-separated words of -o ask for."""

    allow_other: bool = False
    nonempty: bool = False


@dataclass(frozen=True, slots=True)
class _Following:
    """How the source is followed; see the options of the command."""

    index: Path | None
    wait: float
    watch: bool
    rescan: float | None


def _parse_options(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> _Options:
    words = {word for value in values for word in value.split(",") if word}
    unknown = sorted(
        word
        for word in words - _IMPLIED - _FOR_OTHERS - {"allow_other", "nonempty"}
        if not word.startswith(("x-", "comment="))
    )
    if unknown:
        raise click.BadParameter(
            f"{', '.join(unknown)}: not known, or contrary to a mount that is always read-only; "
            "there are allow_other and nonempty",
            ctx,
            parameter,
        )
    return _Options("allow_other" in words, "nonempty" in words)


@click.command(epilog="Unmount with `dicomfs unmount MOUNTPOINT`.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("-f", "--foreground", is_flag=True, help="Stay in the terminal; Ctrl-C unmounts.")
@click.option(
    "--allow-other",
    is_flag=True,
    help="Let other users read the mount, Samba and NFS servers among them.",
)
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
    "--log-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where messages go that the terminal does not get. Default: a file for each mountpoint in "
    "$XDG_STATE_HOME/dicomfs (~/.local/state/dicomfs); with --foreground: the terminal.",
)
@click.option(
    "-o",
    "options",
    metavar="OPT[,OPT...]",
    multiple=True,
    callback=_parse_options,
    help="Mount options: allow_other; nonempty hides what MOUNTPOINT holds.",
)
@click.pass_obj
def mount(
    verbosity: int,
    source: Path,
    mountpoint: Path,
    foreground: bool,
    allow_other: bool,
    log_file: Path | None,
    options: _Options,
    index: Path | None,
    wait: float,
    watch: bool,
    rescan: float | None,
    showing: Showing,
) -> None:
    """Show every whole slide image below SOURCE as TIFF files at MOUNTPOINT, an empty directory.

    Returns when all slides can be read, or after --wait seconds: then the others appear as they
    are found. The mount goes on in the background, read-only, until it is unmounted or its process
    gets SIGTERM. It follows its source: slides come, change and go with their files.
    """
    following = _Following(index, wait, watch, rescan)
    allow_other = allow_other or options.allow_other
    resolved = check_source(source)
    prerequisites.check(allow_other)
    place = prepare_mountpoint(mountpoint, resolved, options.nonempty)
    terminal = logs.terminal(verbosity)

    def work(ready: Callable[[], None]) -> None:
        _show(resolved, place, showing, allow_other, following, ready)

    if foreground:
        logs.log_to(_log_file(log_file.absolute(), verbosity) if log_file else terminal)
        work(lambda: _say(verbosity, f"{source} is shown at {mountpoint}; Ctrl-C unmounts."))
        return

    output = log_file.absolute() if log_file else logs.default_file(place)

    def detached(ready: Callable[[], None]) -> None:
        file = _log_file(output, verbosity, needed=log_file is not None)
        logs.log_to(terminal, file)

        def leave_terminal() -> None:
            logs.log_to(file)
            log.info("%s is shown at %s by process %d", resolved, place, os.getpid())
            ready()

        work(leave_terminal)
        log.info("%s is unmounted", place)

    in_background(detached, output)
    _say(
        verbosity,
        f"{source} is shown at {mountpoint}. "
        f"Unmount with: dicomfs unmount {shlex.quote(os.fspath(mountpoint))}",
    )


def _say(verbosity: int, sentence: str) -> None:
    if verbosity >= 0:
        with contextlib.suppress(OSError):  # nobody has to listen
            click.echo(sentence, err=True)


def _log_file(path: Path, verbosity: int, needed: bool = True) -> logging.Handler:
    try:
        return logs.file(path, verbosity)
    except OSError as error:
        sentence = f"the log file {path} cannot be written: {error.strerror}"
        if needed:
            raise MountError(sentence) from error
        log.warning("%s; messages will be lost", sentence)
        return logging.NullHandler()


def _show(
    source: Path,
    mountpoint: Path,
    showing: Showing,
    allow_other: bool,
    following: _Following,
    ready: Callable[[], None],
) -> None:
    from dicomfs.archive import Archive
    from dicomfs.fuse.mount import mount

    archive = Archive.remembered(
        source, **showing.keywords(), exclude=mountpoint, index=following.index
    )
    with contextlib.closing(archive), scanning() as progress:

        def complete() -> None:
            follower.scanned.wait(following.wait)
            progress.end()
            if follower.failure is not None:
                raise follower.failure

        follower = archive.follow(watch=following.watch, rescan=following.rescan, progress=progress)
        mount(
            lambda: archive.tree,
            archive.reader,
            mountpoint,
            os.fspath(source),
            allow_other=allow_other,
            ready=ready,
            complete=complete,
            changing=archive.deliver_changes,
        )
