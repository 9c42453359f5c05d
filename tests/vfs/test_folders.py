"""Folders of patients and studies: made when somebody looks, and with names that differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.catalog.catalogue import OtherSeries, Rejection
from dicomfs.catalog.codec import RecordError
from dicomfs.extents import literal_table
from dicomfs.reading.virtual_file import VirtualFile
from dicomfs.vfs import names
from dicomfs.vfs.folders import Folders, Held, SlidePath, listed
from dicomfs.vfs.listing import (
    ListedFile,
    ListedSeries,
    ListedSlide,
    ShownSlide,
    head_of,
    json_bytes,
    listing_of,
    record_of,
)
from dicomfs.vfs.names import Wanted
from dicomfs.vfs.nodes import Directory, File
from dicomfs.vfs.tree import Entry, Tree, build

CONTENT = VirtualFile(literal_table(b"1234"), (), None)


def slide(series: str, patient: str = "P", study: str = "1.2", text: str = "study") -> ListedSlide:
    return ListedSlide(
        series_instance_uid=series,
        study_instance_uid=study,
        pyramid_uid="",
        patient_id=patient,
        patient_id_issuer="",
        patient_name="",
        patient_birth_date="",
        patient_sex="",
        patient_age="",
        study_id="",
        study_moment="",
        study_description=text,
        accession_number="",
        referring_physician="",
        modality="SM",
        sop_classes="1.2.840.10008.5.1.4.1.1.77.1.6",
        instances=3,
        warnings="",
        patient=names.alone(Wanted(patient, patient)),
        study=names.alone(Wanted(text, study)),
        stem=names.alone(Wanted("slide", series)),
        mtime_ns=int(series),
        version="v",
        files=(ListedFile(".svs", "svs", 4), ListedFile(".json", "", 4)),
    )


def held(*slides: ListedSlide) -> Held:
    record = record_of(ListedSeries(slides, ()))
    return Held(b"", record, head_of(record))


def slide_files(series: str, one: ShownSlide, path: SlidePath) -> Iterator[Entry]:
    for file in one.files:
        where = (path[0], path[1], path[2] + file.ending)
        yield Entry(where, CONTENT, one.mtime_ns, one.version)


class Shown:
    """Folders, and the tree that shows them."""

    def __init__(self) -> None:
        self.folders = Folders(slide_files)
        self.tree: Tree = build([])

    def change(self, series: dict[str, Held | None]) -> None:
        self.tree.replace(*self.folders.change(series))

    def paths(self) -> list[str]:
        found = []
        waiting = [("", self.tree.root)]
        while waiting:
            prefix, directory = waiting.pop()
            for name, node in directory.children.items():
                if isinstance(node, Directory):
                    waiting.append((f"{prefix}{name}/", node))
                else:
                    found.append(prefix + name)
        assert len(self.tree) == 1 + len(found) + len({p.rpartition("/")[0] for p in found}) + len(
            {p.split("/")[0] for p in found}
        )
        assert self.tree.file_bytes == 4 * len(found)
        return sorted(found)


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_a_listing_comes_back_whole_and_in_part() -> None:
    rejection = Rejection("9", "code", "is odd", ("a", "b"))
    listing = ListedSeries((slide("1"), slide("2", study="1.3")), (rejection,))
    record = record_of(listing)
    assert listing_of(record) == listing
    head = head_of(record)
    assert head.troubled
    assert [(one.study_instance_uid, one.files, one.size) for one in head.slides] == [
        ("1.2", 2, 8),
        ("1.3", 2, 8),
    ]
    for at in range(len(record)):
        damaged = record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]
        with pytest.raises(RecordError):
            head_of(damaged)
        with pytest.raises(RecordError):
            head_of(record[:at])


def documents(
    listings: dict[str, ListedSeries], others: tuple[OtherSeries, ...]
) -> list[tuple[int, bytes]]:
    """Inode numbers and contents of all `study.json` that are shown."""
    folders = Folders(slide_files, lambda study: others)
    records = {series: record_of(listing) for series, listing in listings.items()}
    tree: Tree = build([])
    tree.replace(*folders.change({one: Held(b"", r, head_of(r)) for one, r in records.items()}))
    found = []
    for patient in tree.root.children.values():
        assert isinstance(patient, Directory)
        for study in patient.children.values():
            if isinstance(study, Directory):
                node = study.children["study.json"]
                assert isinstance(node, File)
                (data,) = node.content.table.literals
                assert node.size == len(data)
                found.append((node.inode, data))
    return found


OTHER = OtherSeries("7", "1.2", "SR", "1.2.840.10008.5.1.4.1.1.88.33", 1)


@pytest.mark.parametrize(
    ("series", "others"),
    [
        ({"1": [slide("1")]}, ()),
        ({"1": [slide("1"), slide("1")._replace(pyramid_uid="1.1")]}, ()),
        ({"1": [slide("1")]}, (OTHER,)),
        ({"1": [slide("1")], "2": [slide("2")]}, ()),
        ({"1": [slide("1"), slide("1", patient="Q")]}, ()),
    ],
    ids=["alone", "two of a name", "with others", "two series", "of two patients"],
)
def test_what_a_listing_says_of_a_document_is_so(
    series: dict[str, list[ListedSlide]], others: tuple[OtherSeries, ...]
) -> None:
    with_weights = {one: listed(one, slides, ()) for one, slides in series.items()}
    without = {one: replace(listing, study=None) for one, listing in with_weights.items()}
    assert documents(with_weights, others) == documents(without, others) != []


def test_a_listing_knows_the_document_of_a_study_that_it_is_all_of() -> None:
    assert listed("1", [slide("1")], ()).study is not None
    assert listed("1", [slide("1"), slide("1", study="1.3")], ()).study is None
    assert listed("1", [], ()).study is None


def test_series_of_a_study_share_its_folder(shown: Shown) -> None:
    shown.change({"1": held(slide("1")), "2": held(slide("2", text="a study"))})
    folders = {path.rpartition("/")[0] for path in shown.paths()}
    (folder,) = folders
    assert "/a study-" in folder  # of two texts the one that sorts first
    assert len(shown.paths()) == 4
    shown.change({"2": None})
    (folder,) = {path.rpartition("/")[0] for path in shown.paths()}
    assert "/study-" in folder
    shown.change({"1": None})
    assert shown.paths() == []


def test_what_comes_and_goes_leaves_others_alone(shown: Shown) -> None:
    shown.change({"1": held(slide("1")), "2": held(slide("2", "Q"))})
    before = shown.paths()
    shown.change({"3": held(slide("3", "R")), "4": held(slide("4", "Q", "1.3"))})
    assert set(before) < set(shown.paths())
    shown.change({"3": None, "4": None})
    assert shown.paths() == before
    shown.change({"1": held(slide("1", "S"))})
    assert len(shown.paths()) == len(before)
    assert not any(path.startswith("P-") for path in shown.paths())


def test_names_that_would_be_confused_have_all_digits(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_DIGITS", (0, 16, 32, 64))  # so that short names say nothing
    shown.change({"1": held(slide("1", "P"))})
    (first,) = {path.split("/")[0] for path in shown.paths()}
    shown.change({"2": held(slide("2", "p")), "3": held(slide("3", "P", "1.3"))})
    patients = {path.split("/")[0] for path in shown.paths()}
    assert len(patients) == 2
    assert first not in patients
    studies = {tuple(path.split("/")[:2]) for path in shown.paths()}
    assert len(studies) == 3
    assert sorted(place[2] for place in shown.folders.places()) == sorted(
        (*path.split("/")[:2], path.split("/")[2].removesuffix(".svs"))
        for path in shown.paths()
        if path.endswith(".svs")
    )
    shown.change({"2": None, "3": None})
    assert {path.split("/")[0] for path in shown.paths()} == {first}


def test_two_slides_of_a_series_may_lie_apart(shown: Shown) -> None:
    shown.change({"1": held(slide("1"), slide("1", "Q"))})
    assert len({path.split("/")[0] for path in shown.paths()}) == 2
    shown.change({"1": held(slide("1"))})
    assert len(shown.paths()) == 2


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_is_indented_as_json_does_it(content: object) -> None:
    expected = json.dumps(content, ensure_ascii=False, indent=2).encode("utf-8", "replace")
    assert json_bytes(content) == expected + b"\n"
