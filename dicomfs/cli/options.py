"""The words of `-o`: a comma-separated list as mount(8), fstab(5) and mount.fuse3 pass it on.

Every long flag of a command is a word as well (`--log-file F` is `log_file=F`), so that a line of
fstab can say what a command line can.  Words that are always true of a mount, or meant for others
than the file system, are taken without effect; any other word is an error.  Must not know what the
flags mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import click

from dicomfs.errors import MountError

IMPLIED = frozenset(
    {
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "default_permissions",
        "noatime",
        "nodiratime",
        "relatime",
        "norelatime",
        "nostrictatime",
        "nolazytime",
        "silent",
    }
)
"""True of every mount."""

FOR_OTHERS = frozenset(
    {
        "defaults",
        "auto",
        "noauto",
        "user",
        "users",
        "nouser",
        "owner",
        "group",
        "nofail",
        "_netdev",
        "dev",
        "suid",
        "exec",
        "async",
        "sync",
        "dirsync",
        "atime",
        "diratime",
        "strictatime",
        "lazytime",
        "iversion",
        "noiversion",
        "mand",
        "nomand",
        "loud",
    }
)
"""What mount(8), systemd or the kernel make of these is not for a file system to judge, and nothing
in a mount of dicomfs depends on it."""

_FOR_OTHERS_WITH_VALUE = re.compile(r"(x-|X-).*|(comment|user|helper|uhelper)=.*", re.DOTALL)

_CONTRARY = {
    "rw": "dicomfs is read-only: leave it out or say `ro`",
    "remount": "a mount of dicomfs cannot be altered: unmount it and mount it anew",
}

_ESCAPED_OR_COMMA = re.compile(r"\\(.)|,", re.DOTALL)


class TakesWords(click.Command):
    """A command whose long flags can be given as words of its option `-o` too.

    tolerated : words that are contrary to what the command does, and taken without effect
    """

    tolerated: frozenset[str] = frozenset()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the flags that the words stand for in front of the arguments, which win.

        Raises MountError for words that nobody knows.
        """
        if not ctx.resilient_parsing:
            found, _, _ = self.make_parser(ctx).parse_args(list(args))
            words = [word for value in found.get("options") or () for word in split(value)]
            args = [*as_flags(words, self.params, self.tolerated), *args]
        return super().parse_args(ctx, args)


def split(value: str) -> list[str]:
    r"""The words of a list.  A comma that belongs to a word is written `\,`, as libfuse has it."""
    words, at = [""], 0
    for found in _ESCAPED_OR_COMMA.finditer(value):
        words[-1] += value[at : found.start()] + (found[1] or "")
        if found[1] is None:
            words.append("")
        at = found.end()
    words[-1] += value[at:]
    return [word for word in words if word]


def as_flags(
    words: Iterable[str],
    parameters: Sequence[click.Parameter],
    tolerated: Iterable[str] = (),
) -> list[str]:
    """The long flags that words stand for.

    Raises MountError with a sentence that names all the words that are wrong.
    """
    flags = _flags(parameters)
    given: list[str] = []
    unknown: list[str] = []
    wrong: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        flag = "--" + name.replace("_", "-")
        if word in IMPLIED or word in FOR_OTHERS or _FOR_OTHERS_WITH_VALUE.fullmatch(word):
            continue
        if word in tolerated:
            continue
        if word in _CONTRARY:
            wrong.append(f"{word}: {_CONTRARY[word]}")
        elif flag not in flags:
            unknown.append(word)
        elif flags[flag] and not equals:
            wrong.append(f"{name} needs a value: {name}=…")
        elif equals and not flags[flag]:
            wrong.append(f"{name} takes no value")
        else:
            given.append(f"{flag}={value}" if equals else flag)
    if unknown:
        known = ", ".join(f"{flag[2:]}=…" if takes else flag[2:] for flag, takes in flags.items())
        wrong.append(
            f"unknown option: {', '.join(unknown)};"
            f" there are {known.replace('-', '_')}, and those of mount(8) that have no effect here"
        )
    if wrong:
        raise MountError("; ".join(wrong))
    return given


def _flags(parameters: Iterable[click.Parameter]) -> dict[str, bool]:
    """The long flags of options, and whether each takes a value."""
    return {
        flag: not (parameter.is_flag or parameter.count)
        for parameter in parameters
        if isinstance(parameter, click.Option)
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--")
    }
