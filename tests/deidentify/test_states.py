"""The same key on two machines gives the same mounts, whatever their files are called."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import dicomfs
from dicomfs.archive import Archive, open_index_of
from dicomfs.errors import UsageError
from tests.deidentify.test_sentinel import FLAVOURS, everything, in_index
from tests.fixtures.series import SeriesSpec
from tests.fixtures.wsm import write_series

KEY = b"the key of a project"
PSEUDONYM = re.compile(rb"\b(?:[A-Z]-[A-Z2-7]{12}|2\.25\.\d{30,39})\b")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of a slide of several channels, of one of focal planes, and of a concatenation."""
    root = tmp_path_factory.mktemp("slides")
    every = ("LABEL", "THUMBNAIL")
    specs = [
        SeriesSpec(name="one", codec="jpeg-422-jfif", associated=every, width=300, height=200),
        SeriesSpec(name="two", codec="native-grey16", channels=("A", "B"), by_path=True,
                   width=200, height=200),
        SeriesSpec(name="three", codec="j2k-rct", parts=3, width=300, height=200),
    ]  # fmt: skip
    return [path for spec in specs for path in write_series(root / spec.name, spec).paths]


def node(root: Path, slides: list[Path], *, other: bool) -> Path:
    """A directory with all files: as they are called, or in another order under other names."""
    root.mkdir()
    for number, path in enumerate(reversed(slides) if other else slides):
        shutil.copy(path, root / f"{999 - number if other else number:03}.dcm")
    return root


def shown(archive: Archive) -> dict[str, bytes]:
    return {
        path: data for path, data in everything(archive).items() if not path.startswith(".dicomfs/")
    }


@pytest.mark.parametrize("other", [False, True], ids=["same names", "other names"])
def test_two_states_give_the_same_mount(tmp_path: Path, slides: list[Path], other: bool) -> None:
    found = []
    for name in ("first", "second"):
        root = node(tmp_path / name, slides, other=other and name == "second")
        with dicomfs.open_archive(root, flavours=FLAVOURS, index=tmp_path / f"{name}.index",
                                  deidentify=dicomfs.Profile(KEY)) as archive:  # fmt: skip
            assert archive.status["slides"] == 3
            found.append(shown(archive))
    assert found[0].keys() == found[1].keys()
    for path, data in found[0].items():
        assert data == found[1][path], path


def test_another_key_gives_none_of_the_same_pseudonyms(tmp_path: Path, slides: list[Path]) -> None:
    root = node(tmp_path / "node", slides, other=False)
    found: list[set[bytes]] = []
    for key in (KEY, b"the key of another one"):
        index = tmp_path / f"{len(found)}.index"
        profile = dicomfs.Profile(key)
        with dicomfs.open_archive(root, flavours=FLAVOURS, index=index, deidentify=profile) as it:
            everywhere = b"".join(everything(it).values())
        assert KEY not in index.read_bytes()
        found.append(set(PSEUDONYM.findall(everywhere)))
    assert len(found[0]) == len(found[1]) > 20
    assert not found[0] & found[1]


def test_facts_are_never_shared(tmp_path: Path, slides: list[Path]) -> None:
    """One file for the index of everything: it is made anew for each kind of mount."""
    root, index = node(tmp_path / "node", slides, other=False), tmp_path / "index"
    plain = dicomfs.Profile(KEY)
    for profile in (None, plain, dicomfs.Profile(KEY, clean_descriptors=True), None, plain):
        with dicomfs.open_archive(root, index=index, deidentify=profile) as archive:
            hidden = b"P-one" not in b"".join(everything(archive).values())
        assert hidden == (profile is not None)
    assert in_index(index) == []


def test_the_default_index_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = set()
    profiles = (None, dicomfs.Profile(KEY), dicomfs.Profile(KEY, retain_device_identity=True),
                dicomfs.Profile(b"another key to try"))  # fmt: skip
    for profile in profiles:
        index = open_index_of(tmp_path, None, profile)
        assert index.path is not None
        assert KEY.hex() not in index.path.name
        names.add(index.path)
        index.close()
    assert len(names) == 4
    passing = open_index_of(tmp_path, None, dicomfs.Profile(KEY, lasting=False))
    assert passing.path is None


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="16 bytes"):
        dicomfs.open_archive(tmp_path, deidentify=dicomfs.Profile(b"short"))
