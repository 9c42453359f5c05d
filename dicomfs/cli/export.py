"""`dicomfs export`."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dicomfs.cli.progress import copying, scanning
from dicomfs.cli.showing import showing_options
from dicomfs.cli.wording import counted
from dicomfs.errors import DamagedFrameError, UsageError

if TYPE_CHECKING:
    from dicomfs.archive import Archive
    from dicomfs.vfs.layout import SlideFiles
    from dicomfs.vfs.options import LayoutOptions

_CHUNK = 4 * 1024 * 1024


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@click.option(
    "--series",
    "series",
    multiple=True,
    metavar="UID",
    help="Only the series of this Series Instance UID; can be given several times.",
)
@showing_options
@click.option("--overwrite", is_flag=True, help="Replace files that exist at DEST.")
@click.pass_context
def export(
    ctx: click.Context,
    source: Path,
    dest: Path,
    series: tuple[str, ...],
    overwrite: bool,
    showing: LayoutOptions,
) -> None:
    """Copy the virtual files of the slides below SOURCE to the directory DEST, as real files.

    The files and folders are those that a mount shows. A file appears under its name only when it
    is complete. The exit code is 1 where a file could not be written.
    """
    from dicomfs.archive import Archive

    with scanning() as progress:
        archive = Archive.load(source, showing, exclude=dest, progress=progress)
    with archive:
        slides = _chosen(archive, series)
        wanted = [("/".join((*slide.folder, name)), name) for slide in slides
                  for name in slide.files]  # fmt: skip
        if not series:
            wanted += _about_folders(slides)
        if not overwrite:
            _refuse_existing(dest, [path for path, _ in wanted])
        total = sum(_size(archive, path) for path, _ in wanted)
        failed = 0
        with copying(total) as progress_of:
            for path, name in wanted:
                try:
                    _copy(archive, path, dest / path, partial(progress_of, name))
                except OSError as error:
                    failed += 1
                    click.echo(f"{path}: {error.strerror}", err=True)
                    if isinstance(error.__cause__, DamagedFrameError):
                        click.echo("    --damaged blank exports it with blank tiles.", err=True)
        done = counted(len(wanted) - failed, "file")
        click.echo(f"{done} of {counted(len(slides), 'slide')} in {dest}.", err=True)
        if failed:
            click.echo(f"{counted(failed, 'file')} could not be written.", err=True)
            ctx.exit(1)


def _chosen(archive: Archive, series: Sequence[str]) -> list[SlideFiles]:
    if not series:
        if not archive.slides:
            raise UsageError(f"there are no slides in {archive.source.name}; see dicomfs inspect")
        return list(archive.slides)
    chosen = [s for s in archive.slides if s.entry.slide.series_instance_uid in series]
    missing = set(series) - {s.entry.slide.series_instance_uid for s in chosen}
    if missing:
        raise UsageError(
            f"no slide has the Series Instance UID {', '.join(sorted(missing))};"
            " dicomfs inspect lists them"
        )
    return chosen


def _about_folders(slides: Sequence[SlideFiles]) -> list[tuple[str, str]]:
    """Paths and names of the files that tell of patients and studies."""
    from dicomfs.vfs.about import PATIENT_FILE, STUDY_FILE

    patients = dict.fromkeys(slide.folder[0] for slide in slides)
    studies = dict.fromkeys("/".join(slide.folder) for slide in slides)
    return [(f"{folder}/{PATIENT_FILE}", PATIENT_FILE) for folder in patients] + [
        (f"{folder}/{STUDY_FILE}", STUDY_FILE) for folder in studies
    ]


def _size(archive: Archive, path: str) -> int:
    from dicomfs.vfs.nodes import File

    node = archive.find(path)
    return node.size if isinstance(node, File) else 0


def _refuse_existing(dest: Path, paths: Sequence[str]) -> None:
    existing = [path for path in paths if os.path.lexists(dest / path)]
    if existing:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UsageError(f"{dest / existing[0]} exists{more}; --overwrite replaces files")


def _copy(archive: Archive, path: str, target: Path, progress: Callable[[int], None]) -> None:
    """Copy one file: to a temporary name beside it, then renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.partial")
    try:
        with archive.open(path) as file, temporary.open("xb") as out:
            while chunk := file.read(_CHUNK):
                out.write(chunk)
                progress(len(chunk))
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
