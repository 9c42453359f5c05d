"""Data sets as DICOM JSON. The oracles: dcmtk's dcm2json, and pydicom, which reads it back."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from dicomfs.dicom.dataset import read_elements
from dicomfs.dicom.elements import Layout, read_file_meta, read_layout
from dicomfs.dicom.encoding import Encoding
from dicomfs.dicom.json_model import (
    DEEPEST,
    MOST_ELEMENTS,
    BulkData,
    JsonSize,
    instance_json,
    measure_json,
)
from dicomfs.dicom.json_parts import LONGEST_PER_FRAME, json_bulk, json_dataset, json_ranges
from dicomfs.dicom.steps import run_on_bytes
from dicomfs.limits import DEFAULT_LIMITS
from tests.conftest import WrittenSeries
from tests.dicom.objects import Writer, front
from tests.fixtures.catalogue import CASES
from tests.fixtures.series import Series

DATA = Path(os.environ.get("DICOMFS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
URI = "file:///slides/a.dcm"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"

little = Encoding(implicit_vr=False, big_endian=False)
writer = Writer()


def sample_files() -> list[str]:
    """The DICOM objects of the sample slides, by their path there."""
    if not DATA.is_dir():
        return []
    paths = sorted(path for path in DATA.rglob("*") if path.is_file())
    return [str(path.relative_to(DATA)) for path in paths if is_dicom(path)]


def is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or head[:8] == b"\x08\x00\x05\x00CS\x0a\x00"


def plain(data: bytes) -> bytes:
    """The bytes of a file with its data set inflated."""
    start, _, transfer_syntax = run_on_bytes(read_file_meta(len(data)), data)
    if transfer_syntax != DEFLATED:
        return data
    return front(EXPLICIT) + zlib.decompress(data[start:], wbits=-15)


def first_file(series: Series) -> bytes:
    return series.files[0].path.read_bytes()


def parts_of(data: bytes) -> tuple[Layout, dict[str, Any]]:
    """The layout of a file, and its JSON."""
    layout = run_on_bytes(read_layout(len(data), DEFAULT_LIMITS), data)
    chunks = [data[offset : offset + size] for offset, size in json_ranges(layout)]
    dataset, bulk = json_dataset(layout, chunks), json_bulk(layout)
    text = instance_json(dataset, bulk, URI)
    assert measure_json(dataset, bulk).with_uri(URI) == len(text)
    assert measure_json(dataset, bulk).with_uri("") == len(instance_json(dataset, bulk))
    found: dict[str, Any] = json.loads(text)
    assert list(found) == sorted(found)
    return layout, found


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom warns of what real files do."""
    with warnings.catch_warnings(action="ignore"):
        yield


# ---------------------------------------------------------------- dcm2json


def without_nul(value: Any) -> Any:
    """dcm2json hands on the NUL bytes with which a writer padded text, against PS3.5 6.2."""
    if isinstance(value, dict):
        return {key: without_nul(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_nul(one) for one in value]
    if isinstance(value, str) and value.endswith("\0"):
        stripped = value.rstrip("\0")
        return int(stripped) if stripped.isdecimal() else stripped
    return value


def single_precision(dataset: Any) -> dict[str, Any]:
    """A JSON object with the bytes of its FL values, however many digits they are written with."""
    found: dict[str, Any] = {}
    for tag, attribute in dataset.items():
        values = attribute.get("Value", [])
        if attribute["vr"] == "FL":
            values = [struct.pack("f", value) for value in values]
        elif attribute["vr"] == "SQ":
            values = [single_precision(item) for item in values]
        found[tag] = attribute | {"Value": values}
    return found


def compare_with_dcm2json(data: bytes, folder: Path) -> None:
    data = plain(data)
    layout, ours = parts_of(data)
    start = len(data)
    if layout.pixel_data is not None:
        element = layout.pixel_data
        long = not layout.encoding.implicit_vr
        start = element.offset - (12 if long else 8)
        del ours[f"{element.tag:08X}"]
    for table, span in (
        ("7FE00001", layout.extended_offsets),
        ("7FE00002", layout.extended_lengths),
    ):
        if span is not None:
            start = min(start, span.offset - 12)
            del ours[table]
    (folder / "header.dcm").write_bytes(data[:start])
    done = subprocess.run(
        ["dcm2json", "--quiet", "--compact-code", folder / "header.dcm"],
        capture_output=True,
        check=True,
    )
    theirs = without_nul(json.loads(done.stdout))
    if layout.per_frame is not None and layout.per_frame.size > LONGEST_PER_FRAME:
        offset, size = layout.per_frame
        uri = f"{URI}?offset={offset}&length={size}"
        assert ours.pop("52009230") == {"vr": "SQ", "BulkDataURI": uri}
        del theirs["52009230"]
    assert single_precision(ours) == single_precision(theirs)


needs_dcm2json = pytest.mark.skipif(
    shutil.which("dcm2json") is None, reason="dcm2json of dcmtk is not installed"
)


@needs_dcm2json
@pytest.mark.parametrize("name", sample_files())
def test_a_sample_is_what_dcm2json_makes_of_it(name: str, tmp_path: Path) -> None:
    compare_with_dcm2json((DATA / name).read_bytes(), tmp_path)


@needs_dcm2json
@pytest.mark.parametrize("case_id", [case.id for case in CASES])
def test_a_case_is_what_dcm2json_makes_of_it(
    case_id: str, written: WrittenSeries, tmp_path: Path
) -> None:
    compare_with_dcm2json(first_file(written(case_id)), tmp_path)


# ---------------------------------------------------------------- pydicom


def content(dataset: Dataset, bulk: set[int]) -> dict[int, Any]:
    """What pydicom has of a data set, without what JSON has not or says in another way."""
    found: dict[int, Any] = {}
    for element in dataset:
        if element.tag.element == 0 or element.tag in bulk | {0x00080005}:
            continue
        values: list[Any]
        if element.VR == "SQ":
            values = [content(item, set()) for item in element.value]
        elif element.is_empty:
            values = []
        else:
            values = list(element.value) if element.VM > 1 else [element.value]
            values = [str(one) if element.VR in ("PN", "UI") else one for one in values]
            values = [struct.pack("f", one) if element.VR == "FL" else one for one in values]
            values = [] if element.VR == "PN" and set(values) <= {"^^^^"} else values
        found[int(element.tag)] = element.VR, values
    return found


def compare_with_pydicom(data: bytes) -> None:
    data = plain(data)
    layout, ours = parts_of(data)
    bulk = {one.tag for one in json_bulk(layout)}
    for tag in bulk:
        assert ours[f"{tag:08X}"]["BulkDataURI"].startswith(f"{URI}?offset=")
    with quiet():
        back = Dataset.from_json(ours, lambda tag, vr, uri: None)
        there = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
        assert content(back, bulk) == content(there, bulk)


@pytest.mark.parametrize("name", sample_files())
def test_pydicom_reads_back_what_a_sample_has(name: str) -> None:
    compare_with_pydicom((DATA / name).read_bytes())


@pytest.mark.parametrize("case_id", [case.id for case in CASES])
def test_pydicom_reads_back_what_a_case_has(case_id: str, written: WrittenSeries) -> None:
    compare_with_pydicom(first_file(written(case_id)))


# ---------------------------------------------------------------- single elements


def attribute(element: bytes, encoding: Encoding = little) -> Any:
    """What the only element of a data set looks like."""
    dataset = read_elements(element, encoding)
    text = instance_json(dataset)
    assert measure_json(dataset) == JsonSize(len(text), 0, 0)
    (found,) = json.loads(text, parse_constant=pytest.fail).values()
    return found


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("LO", b"", None),
        ("LO", b" a \\b\\\\ ", ["a", "b", None, None]),
        ("LO", b'"\\\x01', ['"', "\x01"]),
        ("UI", b"1.2.3\0", ["1.2.3"]),
        ("LT", b"  a\\b\r\n ", ["  a\\b\r\n"]),
        ("DS", b"1.50\\+.5\\-5.\\007\\1e2 ", [1.5, 0.5, -5, 7, 100.0]),
        ("DS", b"12,5\\nan\\inf\\1e999\\-\\.\\1", [None] * 6 + [1]),
        ("DS", b"junk", None),
        ("IS", b"+3\\-007\\ 0\\", [3, -7, 0, None]),
        ("IS", b"1.5\\2", [None, 2]),
        ("IS", b"9" * 5000, None),
        ("PN", b"A^B=C=D\\\\^^\\=E", [
            {"Alphabetic": "A^B", "Ideographic": "C", "Phonetic": "D"}, None, None,
            {"Ideographic": "E"},
        ]),
        ("AT", b"\x10\x00\x20\x00\xff\xfe\xfd\xfc\x01", ["00100020", "FEFFFCFD"]),
        ("US", b"\x01\x02\x03\x04\x05\x06", [513, 1027, 1541]),
        ("SS", b"\xff\xff", [-1]),
        ("UL", b"\x01\x02\x03\x04\x05\x06", [67305985]),
        ("SL", b"\xff\xff", None),
        ("FL", b"\x00\x00\x80\x3f\x00\x00\xc0\x7f", [1.0, None]),
        ("FD", b"\x00\x00\x00\x00\x00\x00\xf0\x7f", None),
        ("UV", b"\xff" * 8 + b"\x01" + b"\0" * 7, ["18446744073709551615", 1]),
        ("SV", b"\xff" * 8, [-1]),
    ],
)  # fmt: skip
def test_values(vr: str, value: bytes, expected: list[Any] | None) -> None:
    found = attribute(writer.element(0x00091001, vr, value))
    assert found == {"vr": vr} | ({} if expected is None else {"Value": expected})


@pytest.mark.parametrize("vr", ["OB", "OW", "OF", "OL", "OD", "OV", "UN", "ZZ"])
def test_bytes_are_little_endian(vr: str) -> None:
    value = bytes(range(8))
    swapped = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}.get(vr, 1)
    words = b"".join(value[at : at + swapped][::-1] for at in range(0, 8, swapped))
    big = Writer(order=">")
    assert attribute(writer.element(0x00091001, vr, value)) == {
        "vr": "UN" if vr == "ZZ" else vr,
        "InlineBinary": "AAECAwQFBgc=",
    }
    if vr != "ZZ":
        found = attribute(big.element(0x00091001, vr, words), Encoding(False, True))
        assert found == {"vr": vr, "InlineBinary": "AAECAwQFBgc="}


def test_digits_of_a_decimal_string_are_kept() -> None:
    dataset = read_elements(writer.element(0x00180088, "DS", "0.000500\\1.10e-04"), little)
    assert b"[0.000500,1.10e-04]" in instance_json(dataset)


def test_text_is_utf_8_and_says_so() -> None:
    inner = writer.element(0x00080005, "CS", "ISO_IR 144") + writer.element(
        0x00081030, "LO", "Пётр".encode("iso8859_5")
    )
    data = (
        writer.element(0x00080005, "CS", "ISO_IR 100")
        + writer.element(0x00081030, "LO", "Kölliker".encode("latin-1"))
        + writer.element(0x00091001, "SQ", writer.item(inner))
    )
    character_set = {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert json.loads(instance_json(read_elements(data, little)).decode("utf-8")) == {
        "00080005": character_set,
        "00081030": {"vr": "LO", "Value": ["Kölliker"]},
        "00091001": {
            "vr": "SQ",
            "Value": [{"00080005": character_set, "00081030": {"vr": "LO", "Value": ["Пётр"]}}],
        },
    }


def test_implicit_elements_have_the_vr_that_goes_with_the_pixels() -> None:
    implicit = Writer(implicit=True)
    encoding = Encoding(implicit_vr=True, big_endian=False)
    smallest = implicit.element(0x00280106, "US", b"\xff\xff")
    for signed, expected in ((0, 65535), (1, -1)):
        data = implicit.element(0x00280103, "US", bytes([signed, 0])) + smallest
        found = json.loads(instance_json(read_elements(data, encoding)))
        assert found["00280106"] == {"vr": "SS" if signed else "US", "Value": [expected]}
    table = implicit.element(0x00281201, "OW", b"\x01\x02")
    assert attribute(table, encoding) == {"vr": "OW", "InlineBinary": "AQI="}


def test_groups_that_do_not_belong_into_json_are_left_out() -> None:
    data = (
        writer.element(0x00020010, "UI", "1.2")
        + writer.element(0x00080000, "UL", b"\0\0\0\0")
        + writer.element(0x00080060, "CS", "SM")
    )
    assert instance_json(read_elements(data, little)) == b'{"00080060":{"vr":"CS","Value":["SM"]}}'


# ---------------------------------------------------------------- sequences


def test_sequences_and_their_items() -> None:
    name = writer.element(0x00080104, "LO", "x")
    several = writer.item(name) + writer.item(b"")
    expected = {"vr": "SQ", "Value": [{"00080104": {"vr": "LO", "Value": ["x"]}}, {}]}
    assert attribute(writer.element(0x00091001, "SQ", several)) == expected
    assert attribute(writer.element(0x00091001, "SQ", b"")) == {"vr": "SQ"}


@pytest.mark.parametrize("filling", [0, 5000])
def test_a_damaged_sequence_is_left_out(filling: int) -> None:
    item = writer.item(writer.element(0x00080104, "LO", "x" * filling))
    damaged = item + b"\xfe\xff\x00\xe0\xff\x00\x00\x00short"
    assert attribute(writer.element(0x00091001, "SQ", damaged)) == {"vr": "SQ"}


def nested(depth: int, filling: bytes) -> bytes:
    data = filling
    for _ in range(depth):
        data = writer.element(0x00091001, "SQ", writer.item(data))
    return data


def depth_of(found: dict[str, Any]) -> int:
    depth = 0
    while found:
        depth += 1
        found = next((one for one in found.get("Value", [{}])[0].values()), {})
    return depth


@pytest.mark.parametrize("filling", [10, 5000])
def test_nesting_is_bounded(filling: int) -> None:
    deepest = nested(DEEPEST, writer.element(0x00080104, "LO", "x" * filling))
    assert "x" * filling in json.dumps(attribute(deepest))
    found = attribute(nested(2000, writer.element(0x00080104, "LO", "x" * filling)))
    assert DEEPEST <= depth_of(found) <= 2 * DEEPEST + 2


@pytest.mark.parametrize("size", [1, 1000])
def test_the_number_of_elements_is_bounded(size: int) -> None:
    item = writer.item(writer.element(0x00080104, "LO", "xy"))
    sequence = item * size
    count = 3 * MOST_ELEMENTS // size
    inner = b"".join(writer.item(writer.element(0x00091001, "SQ", sequence)) for _ in range(count))
    dataset = read_elements(writer.element(0x00091001, "SQ", inner), little)
    text = instance_json(dataset)
    assert MOST_ELEMENTS // 3 <= text.count(b'"vr":"LO"') <= MOST_ELEMENTS + 1000
    assert measure_json(dataset) == JsonSize(len(text), 0, 0)


def test_what_was_seen_before_changes_nothing() -> None:
    """Small sequences are remembered; character set and signedness are not theirs."""
    implicit = Writer(implicit=True)
    encoding = Encoding(implicit_vr=True, big_endian=False)
    item = implicit.element(0x00280106, "US", b"\xff\xff") + implicit.element(
        0x00081030, "LO", b"\xe4"
    )
    sequence = implicit.element(0x00081140, "SQ", implicit.item(item))
    found = []
    for name, signed in (("ISO_IR 100", 0), ("ISO_IR 144", 0), ("ISO_IR 100", 1)):
        data = (
            implicit.element(0x00080005, "CS", name)
            + sequence
            + implicit.element(0x00280103, "US", bytes([signed, 0]))
        )
        (one,) = json.loads(instance_json(read_elements(data, encoding)))["00081140"]["Value"]
        found.append((one["00081030"]["Value"], one["00280106"]["Value"]))
    assert found == [(["ä"], [65535]), (["ф"], [65535]), (["ä"], [-1])]


# ---------------------------------------------------------------- bulk data


def test_bulk_data_is_given_by_its_place() -> None:
    dataset = read_elements(writer.element(0x00280010, "US", b"\1\0"), little)
    bulk = [BulkData(0x7FE00010, "OB", 4096, None), BulkData(0x00091001, "OW", 512, 20)]
    text = instance_json(dataset, bulk, URI)
    assert json.loads(text) == {
        "00091001": {"vr": "OW", "BulkDataURI": f"{URI}?offset=512&length=20"},
        "00280010": {"vr": "US", "Value": [1]},
        "7FE00010": {"vr": "OB", "BulkDataURI": f"{URI}?offset=4096&length=undefined"},
    }
    size = measure_json(dataset, bulk)
    assert size.with_uri(URI) == len(text)
    assert size.with_uri("") == len(instance_json(dataset, bulk)) == len(instance_json(dataset))
    assert measure_json({}, bulk).with_uri(URI) == len(instance_json({}, bulk, URI))


def test_a_range_holds_the_value(written: WrittenSeries) -> None:
    data = first_file(written("native-rgb8"))
    _, ours = parts_of(data)
    query = ours["7FE00010"]["BulkDataURI"].partition("?")[2]
    place = dict(part.split("=") for part in query.split("&"))
    offset, length = int(place["offset"]), int(place["length"])
    there = pydicom.dcmread(io.BytesIO(data))
    assert data[offset : offset + length] == there.PixelData


def test_very_large_elements_are_bulk_data(written: WrittenSeries) -> None:
    dataset = pydicom.dcmread(io.BytesIO(first_file(written("native-rgb8"))))
    dataset.add_new(0x00091001, "OB", bytes(17 << 20))
    dataset.private_block(0x0009, "DICOMFS", create=True)
    out = io.BytesIO()
    dataset.save_as(out)
    _, ours = parts_of(out.getvalue())
    assert ours["00091001"]["vr"] == "OB"
    assert ours["00091001"]["BulkDataURI"].endswith(f"&length={17 << 20}")
