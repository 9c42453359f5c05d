"""The words of `-o`: which are flags, which are for others, which are errors."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dicomfs.cli import main
from dicomfs.cli.helper import called, is_call
from dicomfs.cli.helper import main as mount_dicomfs
from dicomfs.cli.mount import mount
from dicomfs.cli.options import as_flags, split
from dicomfs.errors import MountError


def flags(words: str, tolerated: frozenset[str] = frozenset()) -> list[str]:
    return as_flags(split(words), mount.params, tolerated)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", []),
        ("ro", ["ro"]),
        (",ro,,index=a,", ["ro", "index=a"]),
        (r"index=a\,b,ro", ["index=a,b", "ro"]),
        (r"index=a\\,ro", ["index=a\\", "ro"]),
        ("index=Müller µm", ["index=Müller µm"]),
    ],
)
def test_lists(value: str, words: list[str]) -> None:
    assert split(value) == words


@pytest.mark.parametrize(
    "words",
    [
        "defaults,auto,noauto,user,users,nofail,_netdev,user=root,uhelper=x,comment=a b",
        "dev,nodev,suid,nosuid,exec,noexec,ro",
        "atime,noatime,diratime,nodiratime,relatime,norelatime,strictatime,lazytime",
        "x-systemd.automount,x-systemd.requires=a.mount,X-mount.mkdir=0755,x-gvfs-show",
    ],
)
def test_words_for_others_have_no_effect(words: str) -> None:
    assert flags(words) == []


def test_every_long_flag_is_a_word() -> None:
    options = [one for one in mount.params if isinstance(one, click.Option)]
    longs = [flag for one in options for flag in one.opts + one.secondary_opts if flag[:2] == "--"]
    assert {"--flavour", "--rescan", "--no-watch", "--auto-unmount"} <= set(longs)
    takes = {flag for one in options for flag in one.opts if not one.is_flag and not one.count}
    for flag in longs:
        word = flag[2:].replace("-", "_")
        if flag in takes:
            assert flags(f"{word}=1") == [f"{flag}=1"]
            assert flags(f"{flag[2:]}=1=2") == [f"{flag}=1=2"]
        else:
            assert flags(word) == [flag]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("ro,flavor=svs", "unknown option: flavor=svs; there are .*allow_other.*flavour=…"),
        ("kernel_cache,ro,big_writes", "unknown option: kernel_cache, big_writes; there are "),
        ("options=x", "unknown option: options=x"),
        ("rw", "rw: dicomfs is read-only"),
        ("remount,ro", "remount: .* cannot be altered"),
        ("rescan", "rescan needs a value: rescan=…"),
        ("allow_other=1", "allow_other takes no value"),
    ],
)
def test_wrong_words(words: str, sentence: str) -> None:
    with pytest.raises(MountError, match=sentence):
        flags(words)
    done = CliRunner().invoke(main, ["mount", "a", "b", "-o", words])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")


def test_all_wrong_words_are_named_at_once() -> None:
    with pytest.raises(MountError, match=r"rw: .*; rescan needs .*; unknown option: nonsense"):
        flags("rw,rescan,nonsense")


def test_words_and_flags_are_added_up_and_flags_win() -> None:
    context = mount.make_context(
        "mount", ["a", "b", "--wait", "3", "-o", "wait=5,flavour=svs", "-o", "flavour=ome"]
    )
    assert context.params["wait"] == 3
    assert context.params["flavours"] == ("svs", "ome")


def test_rw_is_what_mount_8_says_where_nobody_said_anything() -> None:
    context = called.make_context("mount", ["a", "b", "-o", "rw,dev,suid,rescan=60"])
    assert context.params["rescan"] == 60
    with pytest.raises(MountError, match="rw"):
        mount.make_context("mount", ["a", "b", "-o", "rw"])


def test_wrong_values_are_exit_code_1_for_mount_8() -> None:
    done = CliRunner().invoke(main, ["/a", "/b", "-o", "rescan=soon"])
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: Invalid value for '--rescan': 'soon' is not a valid float range.\n"
    )


def test_a_mount_that_mount_fuse3_has_made_already() -> None:
    done = CliRunner().invoke(main, ["/slides", "/dev/fd/3", "-o", "ro"])
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: drop_privileges is not supported: setuid=USER mounts as a user\n",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/slides", "/mnt", "-o", "ro"], True),
        (["./slides", "mnt"], True),
        (["mount", "/mnt"], False),
        (["frobnicate", "/mnt"], False),
        (["/slides"], False),
        ([], False),
    ],
)
def test_a_call_of_mount_8_is_told_from_a_command(arguments: list[str], expected: bool) -> None:
    assert is_call(arguments, ["mount", "unmount"]) is expected


def test_no_command_of_that_name() -> None:
    done = CliRunner().invoke(main, ["frobnicate", "/mnt"])
    assert done.exit_code == 2
    assert "No such command 'frobnicate'" in done.stderr


def test_the_helper_in_sbin() -> None:
    # As mount(8) calls it: SOURCE DIRECTORY [-sfnv] [-N NS] [-o WORDS] [-t TYPE]
    called_so = ["/missing", "/mnt", "-n", "-v", "-t", "fuse.dicomfs", "-o", "rw,noexec,nonsense"]
    done = CliRunner().invoke(mount_dicomfs, called_so)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: unknown option: nonsense; there are ")
    called_so[-1] = "rw,noexec"
    done = CliRunner().invoke(mount_dicomfs, called_so)
    assert (done.exit_code, done.stderr) == (1, "Error: the source /missing does not exist\n")
    done = CliRunner().invoke(mount_dicomfs, ["/missing", "/mnt", "-f"])
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicomfs"],
        env={**os.environ, "_DICOMFS_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Bash version" in done.stderr:
        pytest.skip("completion needs Bash 4.4")
    assert done.returncode == 0, done.stderr
    assert "_DICOMFS_COMPLETE" in done.stdout
