"""`dicomfs doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dicomfs.fuse.system import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
@click.pass_context
def doctor(ctx: click.Context, source: Path | None, as_json: bool) -> None:
    """Look at what a mount needs on this system, and say what to do where something lacks.

    An empty directory is mounted for a moment, to see that it works. With SOURCE its file system
    is looked at, too. The exit code is 1 where something fails.
    """
    from dicomfs.cli import surroundings, trial
    from dicomfs.fuse import system
    from dicomfs.fuse.system import State

    findings = system.examine()
    if not any(finding.state is State.FAIL for finding in findings):
        findings += trial.mount()
    findings += surroundings.examine()
    if source is not None:
        findings += surroundings.examine_source(source)
    failed = any(finding.state is State.FAIL for finding in findings)
    if as_json:
        shown = [
            {"name": one.name, "state": one.state, "found": one.found, "advice": one.advice}
            for one in findings
        ]
        click.echo(json.dumps({"ok": not failed, "findings": shown}, indent=2))
    else:
        _print(findings)
    ctx.exit(1 if failed else 0)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        state = click.style(f"{finding.state:4}", fg=_COLOURS[finding.state])
        click.echo(f"{state}  {finding.name:{width}}  {finding.found}")
        if finding.advice:
            click.echo(f"{'':{width + 8}}{finding.advice}")
