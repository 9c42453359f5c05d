"""`dicomfs inspect`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicomfs.cli.progress import scanning
from dicomfs.cli.showing import deidentifying_options
from dicomfs.cli.wording import counted, on_one_line
from dicomfs.source.protocol import printable

if TYPE_CHECKING:
    from dicomfs.archive import Archive
    from dicomfs.dicom.confidentiality.pseudonyms import Profile
    from dicomfs.vfs.layout import SlideFiles


_WIDE = 160


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts instead of tables.")
@deidentifying_options
@click.pass_context
def inspect(ctx: click.Context, source: Path, as_json: bool, profile: Profile | None) -> None:
    """List the slides below SOURCE: how they are encoded and how they would be shown.

    What would not be shown is listed with the reason. The exit code is 1 where no slide was found.
    """
    from dicomfs.archive import Archive
    from dicomfs.vfs.options import LayoutOptions

    with scanning() as progress:
        archive = Archive.load(source, LayoutOptions(profile=profile), progress=progress)
    with archive:
        if as_json:
            click.echo(json.dumps(_document(archive), ensure_ascii=False, indent=2))
        else:
            _print_tables(archive)
        if not archive.slides:
            ctx.exit(1)


def _document(archive: Archive) -> dict[str, Any]:
    catalogue = archive.catalogue
    return {
        "source": archive.source.name,
        "files": catalogue.files,
        "not_dicom": catalogue.not_dicom,
        "slides": [
            slide.summary | {"folder": "/".join(slide.folder), "sources": _sources(slide)}
            for slide in archive.slides
        ],
        "rejected": [one.document() for one in catalogue.rejected],
        "other_series": [
            {
                "series_instance_uid": one.series_instance_uid,
                "study_instance_uid": one.study_instance_uid,
                "modality": one.modality,
                "sop_class_uid": one.sop_class_uid,
                "instances": one.instances,
            }
            for one in catalogue.other_series
        ],
    }


def _sources(slide: SlideFiles) -> list[str]:
    return [printable(obj.key) for obj in slide.entry.objects]


def _print_tables(archive: Archive) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # Nobody reads a table of folded words; a file or a pipe has no width anyway.
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    catalogue = archive.catalogue
    if archive.slides:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("Slide", "Size", "Levels", "Planes", "Encoding", "Tiles", "Flavour"):
            table.add_column(heading, no_wrap=heading != "Slide", overflow="fold")
        for slide in archive.slides:
            table.add_row(*_row(slide))
        console.print(table)
    for slide in archive.slides:
        for note in slide.entry.slide.notes:
            console.print(
                on_one_line(f"{_name(slide)}: {note.message}"),
                style="yellow",
                markup=False,
                highlight=False,
            )
    for one in catalogue.rejected:
        where = on_one_line(printable(one.files[0])) + (" …" if len(one.files) > 1 else "")
        console.print(f"Not shown: {where}", style="red", markup=False, highlight=False)
        console.print(
            f"    It {on_one_line(one.message)} [{one.code}].", markup=False, highlight=False
        )
    counts = [
        counted(len(archive.slides), "slide"),
        f"{len(catalogue.rejected)} not shown",
        f"{len(catalogue.other_series)} series of other kinds",
        f"{catalogue.not_dicom} of {catalogue.files} files are not DICOM",
    ]
    console.print(", ".join(counts) + ".", highlight=False)


def _name(slide: SlideFiles) -> str:
    return next(iter(slide.plans))


def _row(slide: SlideFiles) -> list[str]:
    facts = slide.entry.slide
    base = facts.levels[0]
    ways = list(dict.fromkeys(level["tiles"] for level in slide.summary["levels"]))
    encodings = list(dict.fromkeys(level.encoding.short_name for level in facts.levels))
    return [
        _name(slide),
        f"{base.width} x {base.height}",
        str(len(facts.levels)),
        str(len(base.planes)),
        ", ".join(encodings),
        "both" if len(ways) > 1 else ways[0],
        ", ".join(flavour.value for flavour, _ in slide.plans.values()),
    ]
