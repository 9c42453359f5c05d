"""A tree that changes is the tree that would be built anew, and says what is no longer so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.extents import literal_table
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs.nodes import Directory, File, Node
from dicomfs.vfs.tree import ROOT_INODE, Entry, Folder, Tree, build

CONTENTS = {size: VirtualFile(literal_table(bytes(size)), (), None) for size in range(4)}
# A name is either a folder's or a file's, so that any two sets of paths can follow each other.
PATHS = st.tuples(st.lists(st.sampled_from("AB"), max_size=3), st.sampled_from("xyz")).map(
    lambda parts: (*parts[0], parts[1])
)
FILES = st.dictionaries(PATHS, st.integers(0, 3), max_size=8)


def entries(files: dict[tuple[str, ...], int]) -> list[Entry]:
    return [Entry(path, CONTENTS[n], 100 + n, str(n)) for path, n in files.items()]


def leaves(files: dict[tuple[str, ...], int], below: tuple[str, ...] = ()) -> list[Entry | Folder]:
    """The same with folders that are looked into later, at every depth."""
    found: list[Entry | Folder] = []
    inside: dict[str, dict[tuple[str, ...], int]] = {}
    for path, n in files.items():
        if len(path) == len(below) + 1:
            found += entries({path: n})
        else:
            inside.setdefault(path[len(below)], {})[path] = n
    for name, those in inside.items():
        path = (*below, name)
        whole = build(entries({p[len(path) :]: n for p, n in those.items()}))
        folder = Folder(
            path,
            whole.root.mtime_ns,
            whole.root.subdirectories,
            len(whole),
            whole.file_bytes,
            lambda those=those, path=path: leaves(those, path),  # type: ignore[misc]
        )
        found.append(folder)
    return found


def flat(tree: Tree) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    waiting: list[Node] = [tree.root]
    while waiting:
        node = waiting.pop()
        path = tree.path(node.inode)
        assert path is not None
        assert tree.find(node.inode) is node
        if isinstance(node, Directory):
            assert list(node.children) == sorted(node.children)
            found[path] = (node.inode, node.mtime_ns, node.subdirectories, tuple(node.children))
            for child in node.children.values():
                assert tree.parent(child.inode) is node
                waiting.append(child)
        else:
            found[path] = (node.inode, node.mtime_ns, node.size)
    return found


@given(FILES, FILES)
def test_it_becomes_what_would_be_built(
    before: dict[tuple[str, ...], int], after: dict[tuple[str, ...], int]
) -> None:
    tree = build(entries(before))
    was = flat(tree)
    changes = tree.replace(before.keys() - after.keys(), entries(after))
    now = flat(tree)
    anew = build(entries(after), tree.root.mtime_ns)
    assert now == flat(anew)
    assert (len(tree), tree.file_bytes) == (len(anew), anew.file_bytes)
    # Whoever remembers the old tree and forgets what he is told to believes nothing wrong.
    told = {(parent, name): number for parent, name, number in changes.names}
    for path, facts in was.items():
        if path == "/" or now.get(path, (None,))[0] == facts[0]:
            continue
        folder, _, name = path.rpartition("/")
        if (folder or "/") in now:
            assert told[(was[folder or "/"][0], name)] == facts[0]  # type: ignore[index]
    for path, facts in now.items():
        if path in was and was[path] != facts and was[path][0] == facts[0] and len(facts) == 4:
            assert facts[0] in changes.inodes


@given(FILES, FILES, st.sets(st.sampled_from("AB")))
def test_folders_show_what_is_in_them_when_somebody_looks(
    before: dict[tuple[str, ...], int], after: dict[tuple[str, ...], int], seen: set[str]
) -> None:
    tree = build(leaves(before))
    eager = build(entries(before))
    assert (len(tree), tree.file_bytes) == (len(eager), eager.file_bytes)
    was = flat(tree) if len(seen) == 2 else {}
    for name in seen:
        if isinstance(node := tree.lookup(ROOT_INODE, name), Directory):
            assert all(child.inode for child in node.children.values())
    tops = [leaf.path for leaf in leaves(after)]
    gone = [leaf.path for leaf in leaves(before) if leaf.path not in tops]
    changes = tree.replace(gone, leaves(after))
    anew = build(entries(after), tree.root.mtime_ns)
    assert (len(tree), tree.file_bytes) == (len(anew), anew.file_bytes)
    now = flat(tree)
    assert now == flat(anew)
    assert len(tree) == len(now)
    # Whoever has seen all of the old tree and forgets what he is told to believes nothing wrong.
    told = {(parent, name): number for parent, name, number in changes.names}
    for path, facts in was.items():
        folder, _, name = path.rpartition("/")
        if path != "/" and (folder or "/") in now and now.get(path, (None,))[0] != facts[0]:
            assert told[(was[folder or "/"][0], name)] == facts[0]  # type: ignore[index]
        if now.get(path, facts) != facts and now[path][0] == facts[0] and len(facts) == 4:
            assert facts[0] in changes.inodes


def test_numbers_from_a_former_mount_are_found_in_folders_that_nobody_has_seen() -> None:
    files = {("A", "B", "x"): 1, ("A", "y"): 2, ("B", "x"): 3}
    wanted = build(entries(files)).lookup(ROOT_INODE, "B")
    assert isinstance(wanted, Directory)
    inode = wanted.children["x"].inode
    tree = build(leaves(files))
    assert tree.find(inode) is None
    node = tree.lookup(inode, ".")
    assert isinstance(node, File)
    assert (node.name, tree.path(inode)) == ("x", "/B/x")
    assert tree.lookup(12345, ".") is None


def test_a_study_that_has_not_changed_keeps_its_nodes() -> None:
    shared = leaves({("A", "B", "x"): 1}, ("A",))

    def patient(*more: Entry) -> Folder:
        return Folder(("A",), 101, 1, 3 + len(more), 1, lambda: [*shared, *more])

    tree = build([patient()])
    folder = tree.lookup(ROOT_INODE, "A")
    assert isinstance(folder, Directory)
    study = folder.children["B"]
    assert isinstance(study, Directory)
    file = study.children["x"]
    tree.replace([], [patient(*entries({("A", "y"): 2}))])
    assert tree.find(study.inode) is study
    assert tree.find(file.inode) is file
    assert tree.path(file.inode) == "/A/B/x"
    # What was taken away can still be looked at, and is not found.
    tree.replace([("A",)], [])
    assert (tree.find(study.inode), tree.find(file.inode)) == (None, None)
    assert len(tree) == 1


def test_what_has_not_changed_keeps_its_nodes() -> None:
    tree = build(entries({("A", "x"): 1, ("B", "x"): 1}))
    same = tree.lookup(ROOT_INODE, "B")
    tree.replace([("A", "x"), ("A", "missing"), ("C", "missing")], entries({("A", "y"): 2}))
    assert tree.lookup(ROOT_INODE, "B") is same
    folder = tree.lookup(ROOT_INODE, "A")
    assert isinstance(folder, Directory)
    assert list(folder.children) == ["y"]


@pytest.mark.parametrize("path", [("A",), ("x", "y"), ("..",), ()])
def test_what_cannot_be_leaves_everything_as_it_is(path: tuple[str, ...]) -> None:
    tree = build(entries({("A", "x"): 1, ("x",): 1}))
    before = flat(tree)
    with pytest.raises(ValueError):
        tree.replace([("x",)], [Entry(path, CONTENTS[1], 0, "")])
    assert flat(tree) == before


def test_a_file_that_is_only_listed_is_fetched_when_it_is_wanted() -> None:
    class Listed:
        size = 3
        fetched = 0

        def fetch(self) -> VirtualFile:
            self.fetched += 1
            return CONTENTS[3]

    listed = Listed()
    file = build([Entry(("x",), listed, 0, "")]).lookup(ROOT_INODE, "x")
    assert isinstance(file, File)
    assert (file.size, listed.fetched) == (3, 0)
    assert file.content is CONTENTS[3]
    assert listed.fetched == 1
