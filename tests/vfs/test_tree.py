"""The directory tree: what is found where, and numbers that stay the same."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.extents import literal_table
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs import tree as tree_module
from dicomfs.vfs.nodes import Directory, File
from dicomfs.vfs.tree import ROOT_INODE, Entry, build

PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c1", "µ"]), min_size=1, max_size=4).map(tuple),
    unique=True,
).map(lambda paths: [p for p in paths if not any(o[: len(p)] == p and o != p for o in paths)])
"""Sets of paths in which no file is the directory of another."""


def entry(*path: str, token: str = "", data: bytes = b"x", mtime_ns: int = 5) -> Entry:
    return Entry(path, VirtualFile(literal_table(data), (), None), mtime_ns, token)


def test_nothing_is_an_empty_root() -> None:
    tree = build([], mtime_ns=7)
    assert tree.root.inode == ROOT_INODE
    assert dict(tree.root.children) == {}
    assert tree.root.mtime_ns == 7
    assert (len(tree), tree.file_bytes) == (1, 0)
    assert tree.parent(ROOT_INODE) is tree.root


def test_what_is_found_where() -> None:
    deep = entry("p", "s", "slide.svs", data=b"12345", mtime_ns=9)
    tree = build([entry("p", "patient.json"), deep, entry("about")])
    folder = tree.lookup(ROOT_INODE, "p")
    assert isinstance(folder, Directory)
    assert (folder.name, folder.mtime_ns, folder.subdirectories) == ("p", 9, 1)
    study = tree.lookup(folder.inode, "s")
    assert isinstance(study, Directory)
    slide = tree.lookup(study.inode, "slide.svs")
    assert isinstance(slide, File)
    assert slide.content is deep.content
    assert tree.find(slide.inode) is slide
    assert tree.parent(slide.inode) is study
    assert tree.path(slide.inode) == "/p/s/slide.svs"
    assert tree.path(ROOT_INODE) == "/"
    assert (len(tree), tree.file_bytes) == (6, 7)
    assert tree.lookup(study.inode, ".") is study
    assert tree.lookup(study.inode, "..") is folder
    assert tree.lookup(ROOT_INODE, "..") is tree.root
    assert tree.lookup(slide.inode, "x") is None
    assert tree.lookup(ROOT_INODE, "x") is None
    assert tree.find(12345) is tree.lookup(12345, "x") is tree.parent(12345) is None
    assert tree.path(12345) is None


@given(PATHS, st.randoms())
def test_the_order_of_the_entries_does_not_matter(
    paths: list[tuple[str, ...]], chance: Random
) -> None:
    first = build(entry(*path) for path in paths)
    second = build(entry(*path) for path in chance.sample(paths, len(paths)))
    waiting = [(first.root, second.root)]
    files = 0
    while waiting:
        one, other = waiting.pop()
        assert (one.name, one.inode, list(one.children)) == (
            other.name,
            other.inode,
            list(other.children),
        )
        assert list(one.children) == sorted(one.children)
        for name, child in one.children.items():
            same = other.children[name]
            assert child.inode == same.inode
            assert ROOT_INODE < child.inode < 2**63
            assert first.path(child.inode) == (first.path(one.inode) or "").rstrip("/") + "/" + name
            if isinstance(child, Directory) and isinstance(same, Directory):
                waiting.append((child, same))
            else:
                files += 1
    assert files == len(paths)


def test_a_number_changes_with_the_content_and_with_nothing_else() -> None:
    def numbers(*entries: Entry) -> dict[str, int]:
        tree = build(entries)
        folder = tree.root.children["d"]
        assert isinstance(folder, Directory)
        return {"d": folder.inode, **{n: node.inode for n, node in folder.children.items()}}

    before = numbers(entry("d", "a", token="1"), entry("d", "b", token="1"))
    after = numbers(entry("d", "a", token="2"), entry("d", "b", token="1"), entry("d", "c"))
    assert after["a"] != before["a"]
    assert (after["b"], after["d"]) == (before["b"], before["d"])
    # A mount made by another version of the program is still the same mount to NFS clients.
    assert before == {
        "d": 3765797374639893167,
        "a": 7318017971621282987,
        "b": 1808561853422415428,
    }


def test_numbers_that_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tiny:
        """A hash of two bits, so that everything collides, and so do the reserved numbers."""

        def __init__(self, data: bytes, digest_size: int) -> None:
            self._sum = sum(data)

        def digest(self) -> bytes:
            return (self._sum % 8 << 1).to_bytes(8, "big")

    monkeypatch.setattr(tree_module, "blake2b", Tiny)
    entries = [entry(name) for name in "abcdef"]
    tree = build(entries)
    numbers = {name: node.inode for name, node in tree.root.children.items()}
    assert sorted(numbers.values()) == [2, 3, 4, 5, 6, 7]
    again = build(reversed(entries))
    assert {name: node.inode for name, node in again.root.children.items()} == numbers


def test_a_tree_deeper_than_the_stack() -> None:
    tree = build([entry(*["d"] * 3000, "file")])
    assert len(tree) == 3002


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([()], "the root cannot be a file"),
        ([("a", "b"), ("a", "b")], "two files are called 'a/b'"),
        ([("a",), ("a", "b")], "confused"),
        ([("d", "Slide"), ("d", "slide")], "'slide' and 'Slide' in 'd' are confused"),
        ([("M\u00fc", "x"), ("Mu\u0308", "x")], "confused"),
        ([("a", "..", "b")], "cannot be a file name"),
        ([("a/b",)], "cannot be a file name"),
        ([("é" * 128,)], "longer than 255 bytes"),
        ([("\udcff",)], "surrogates not allowed"),
    ],
)
def test_what_cannot_be_a_tree(paths: list[tuple[str, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(entry(*path) for path in paths)
