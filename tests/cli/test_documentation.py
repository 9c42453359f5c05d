"""The pages for those who run dicomfs are true: messages, options, units, links."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomfs.cli.helper import called
from dicomfs.cli.options import as_flags, split

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ("operations.md", "troubleshooting.md", "security.md")

# Other programs' words.
FOREIGN = {"Transport endpoint is not connected", "/bin/sh: 1: dicomfs: not found"}


def sentences() -> Iterator[str]:
    """Every text in the code, with "…" where something is filled in."""
    for path in (ROOT / "dicomfs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                )
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"%[sd]", "…", node.value)


def pattern(message: str) -> re.Pattern[str]:
    """What a text of the code has to look like for the message to be its own."""
    message = message.replace("/dev/fuse", "…")
    return re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)


def messages() -> list[str]:
    """What stands in the first column of the tables of troubleshooting.md as a message."""
    found = []
    for line in (DOCS / "troubleshooting.md").read_text("utf-8").splitlines():
        if line.startswith("| `"):
            found += re.findall(r"`([^`]+)`", line.split(" | ")[0])
    return [message for message in found if message not in FOREIGN]


CODE = [text.replace("`", "") for text in sentences()]


@pytest.mark.parametrize("message", messages())
def test_a_message_is_one_that_the_code_can_write(message: str) -> None:
    # `… cannot be …` alone would be found anywhere.
    assert len(message.replace("…", "").strip()) > 10
    assert any(pattern(message).search(text) for text in CODE)


def test_there_are_messages() -> None:
    assert len(messages()) > 20


@pytest.mark.parametrize("name", ["examples/fstab", "operations.md"])
def test_lines_of_fstab_are_understood(name: str) -> None:
    lines = re.findall(r"^\s*/\S+ /\S+ fuse\.dicomfs (\S+) 0 0$", (DOCS / name).read_text(), re.M)
    assert lines
    for words in lines:
        ours = [word for word in split(words) if not word.startswith("setuid=")]  # mount.fuse3's
        flags = as_flags(ours, called.params, called.tolerated)
        called.make_context("mount", [*flags, "/source", "/mountpoint"])


def test_options_of_units_are_understood() -> None:
    unit = (DOCS / "examples" / "srv-slides.mount").read_text()
    (words,) = re.findall(r"^Options=(.*)$", unit, re.M)
    assert as_flags(split(words), called.params) == ["--allow-other", "--wait=30"]
    service = (DOCS / "examples" / "dicomfs.service").read_text()
    (words,) = re.findall(r"^ExecStart=.* -o (.*)$", service, re.M)
    assert as_flags(split(words), called.params) == ["--allow-other", "--wait=60"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_units_are_valid(tmp_path: Path) -> None:
    program = tmp_path / "dicomfs"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = []
    for name in ("dicomfs.service", "srv-slides.mount", "srv-slides.automount"):
        text = (DOCS / "examples" / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/local/bin/dicomfs", os.fspath(program)))
        units.append(tmp_path / name)
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text)
    assert links
    for name, heading in links:
        target = DOCS / (name or page)
        assert target.exists(), name
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            assert heading in {
                re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings
            }


def test_flags_that_the_pages_name_are_there() -> None:
    flags = {flag for parameter in called.params for flag in parameter.opts}
    flags |= {flag for parameter in called.params for flag in parameter.secondary_opts}
    theirs = {"--device", "--cap-add", "--security-opt", "--mount", "--rm", "--lazy", "--system",
              "--no-create-home", "--suffix"}  # fmt: skip
    for page in PAGES:
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (DOCS / page).read_text()))
        assert named - theirs <= flags, named - theirs - flags
