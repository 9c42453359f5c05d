"""Elements and items from bytes: compared with pydicom, and never another error than ours."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from dicomfs.dicom.dataset import DataSet, read_elements, read_items
from dicomfs.dicom.encoding import Encoding
from dicomfs.errors import MalformedDicomError

ENCODINGS = [Encoding(False, False), Encoding(True, False), Encoding(False, True)]
EXPLICIT = ENCODINGS[0]


def written(undefined: bool, encoding: Encoding) -> bytes:
    deepest = Dataset()
    deepest.CodeValue = "deep"
    middle = Dataset()
    middle.ConceptNameCodeSequence = Sequence([deepest, deepest])
    middle.TextValue = "between"
    top = Dataset()
    top.PatientID = "somebody"
    top.Rows = 512
    top.SpecimenDescriptionSequence = Sequence([middle, Dataset(), middle])
    top.ContainerIdentifier = "behind"
    for dataset in (top, middle):
        for element in dataset:
            if element.VR == "SQ":
                element.is_undefined_length = undefined
    for item in (deepest, middle):
        item.is_undefined_length_sequence_item = undefined
    file = DicomBytesIO()
    file.is_implicit_VR = encoding.implicit_vr
    file.is_little_endian = not encoding.big_endian
    write_dataset(file, top)
    return file.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@pytest.mark.parametrize("undefined", [False, True])
def test_nested_sequences(undefined: bool, encoding: Encoding) -> None:
    elements = read_elements(written(undefined, encoding), encoding)
    assert elements[0x00100020].value == b"somebody"
    assert encoding.uint(elements[0x00280010].value) == 512
    assert elements[0x00400512].value == b"behind"
    first, empty, last = read_items(elements[0x00400560])
    assert empty == {}
    assert first == last
    assert first[0x0040A160].value == b"between "
    assert [item[0x00080100].value for item in read_items(first[0x0040A043])] == [b"deep"] * 2


def test_a_sequence_of_unknown_vr_is_implicit() -> None:
    implicit = written(True, ENCODINGS[1])
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(implicit)) + implicit
    data = struct.pack("<HH2sHI", 0x0040, 0x0560, b"UN", 0, len(item)) + item
    (found,) = read_items(read_elements(data, EXPLICIT)[0x00400560])
    assert found[0x00100020].value == b"somebody"


def test_an_item_in_another_encoding_than_its_data_set() -> None:
    implicit = written(False, ENCODINGS[1])
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(implicit)) + implicit
    data = struct.pack("<HH2sHI", 0x0040, 0x0560, b"SQ", 0, len(item)) + item
    (found,) = read_items(read_elements(data, EXPLICIT)[0x00400560])
    assert found[0x00280010].value == b"\x00\x02"


def test_nesting_costs_no_stack() -> None:
    opening = struct.pack("<HH2sHI", 0x0040, 0x0560, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(MalformedDicomError, match="ends inside a sequence"):
        read_elements(opening * 100_000, EXPLICIT)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@given(data=st.data())
def test_damage_is_one_kind_of_error(encoding: Encoding, data: st.DataObject) -> None:
    content = bytearray(written(data.draw(st.booleans()), encoding))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]

    def look(elements: DataSet, depth: int) -> None:
        for element in elements.values():
            if element.vr in ("SQ", "UN") and depth < 5:
                for item in read_items(element):
                    look(item, depth + 1)

    try:
        look(read_elements(bytes(content), encoding), 0)
    except MalformedDicomError:
        return
