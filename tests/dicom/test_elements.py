"""The walk to Pixel Data, on objects written byte by byte: it finds what was put where."""

from __future__ import annotations

import itertools

import pytest

from dicomfs.dicom.elements import Layout, read_layout
from dicomfs.errors import DicomError, LimitExceededError, MalformedDicomError, NotDicomError
from dicomfs.limits import DEFAULT_LIMITS, Limits
from tests.dicom.objects import ENCODINGS, LONG, SHORT, UNDEFINED, WSM, Writer, drive, front, meta
from tests.fixtures.oddities import PIXEL_DATA_BAIT

PIXEL_DATA = 0x7FE00010
PER_FRAME = 0x52009230

encodings = pytest.mark.parametrize("writer", ENCODINGS.values(), ids=ENCODINGS)


def layout_of(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Layout:
    return drive(read_layout(len(data), limits), data)


def header_of(layout: Layout, data: bytes) -> bytes:
    return b"".join(data[offset : offset + size] for offset, size in layout.header)


def check(writer: Writer, before: bytes, *, vr: str = "OW") -> None:
    """A data set of `before` and Pixel Data: both are found where they are."""
    pixels = bytes(range(100))
    start = front(writer.transfer_syntax)
    sop = writer.element(0x00080016, "UI", WSM)
    data = start + sop + before + writer.element(PIXEL_DATA, vr, pixels)
    layout = layout_of(data)
    assert layout.pixel_data is not None
    assert data[layout.pixel_data.offset :] == pixels
    assert layout.pixel_data.length == len(pixels)
    assert layout.pixel_data.tag == PIXEL_DATA
    assert header_of(layout, data) == sop + before
    assert layout.transfer_syntax == writer.transfer_syntax
    assert layout.encoding.implicit_vr == writer.implicit
    assert layout.encoding.big_endian == (writer.order == ">")
    assert layout.object_size == len(data)


@encodings
@pytest.mark.parametrize("vr", [*LONG, *SHORT])
@pytest.mark.parametrize("size", [0, 2, 500])
def test_every_value_representation_is_passed(writer: Writer, vr: str, size: int) -> None:
    check(writer, writer.head(0x00091010, vr, size) + PIXEL_DATA_BAIT.ljust(size, b"x")[:size])


@encodings
@pytest.mark.parametrize("undefined", list(itertools.product([False, True], repeat=4)))
def test_sequences_within_sequences(
    writer: Writer, undefined: tuple[bool, bool, bool, bool]
) -> None:
    inner = writer.element(0x00091010, "OB", PIXEL_DATA_BAIT)
    one = writer.sequence(0x00091011, [writer.item(inner, undefined=undefined[0])] * 2,
                          undefined=undefined[1])  # fmt: skip
    items = [writer.item(one, undefined=undefined[2]), writer.item(b"")]
    both = writer.sequence(0x00091012, items, undefined=undefined[3])
    check(writer, both + writer.element(0x00280002, "US", writer.pack("H", 3)))


@encodings
def test_empty_sequences(writer: Writer) -> None:
    for undefined in (False, True):
        check(writer, writer.sequence(0x00091012, [], undefined=undefined))


@pytest.mark.parametrize("order", ["<", ">"])
def test_unknown_of_undefined_length_is_implicit_little_endian_inside(order: str) -> None:
    """PS3.5 6.2.2 note 2."""
    inside = Writer(implicit=True)
    content = inside.element(0x00091013, "", PIXEL_DATA_BAIT)
    nested = inside.sequence(0x00091014, [inside.item(content, undefined=True)], undefined=True)
    value = inside.item(nested + content, undefined=True) + inside.item(content)
    writer = Writer(order=order)
    head = writer.head(0x00091015, "UN", UNDEFINED)
    check(writer, head + value + inside.head(0xFFFEE0DD, "", 0))


@encodings
def test_group_lengths_are_elements_like_others(writer: Writer) -> None:
    body = writer.element(0x00280010, "US", writer.pack("H", 7))
    check(writer, writer.element(0x00280000, "UL", writer.pack("I", len(body))) + body)


def test_what_needs_no_preamble() -> None:
    writer = Writer()
    body = writer.element(0x00080016, "UI", WSM) + writer.element(PIXEL_DATA, "OB", bytes(50))
    for start in (b"DICM" + meta(writer.transfer_syntax), meta(writer.transfer_syntax), b""):
        layout = layout_of(start + body)
        assert layout.pixel_data is not None
        assert layout.pixel_data.offset == len(start + body) - 50


@encodings
def test_a_bare_data_set_shows_its_own_encoding(writer: Writer) -> None:
    body = writer.element(0x00080016, "UI", WSM) + writer.element(0x00080060, "CS", "SM")
    data = body + writer.element(PIXEL_DATA, "OW", bytes(50))
    layout = layout_of(data)
    assert layout.pixel_data is not None
    assert layout.pixel_data.offset == len(data) - 50
    assert header_of(layout, data) == body
    assert layout.transfer_syntax == ""


def test_the_data_set_shows_its_encoding_where_the_transfer_syntax_lies() -> None:
    explicit, implicit = Writer(), Writer(implicit=True)
    for writer, said in ((explicit, implicit), (implicit, explicit)):
        body = writer.element(0x00080016, "UI", WSM)
        data = front(said.transfer_syntax) + body + writer.element(PIXEL_DATA, "OW", bytes(50))
        layout = layout_of(data)
        assert layout.encoding.implicit_vr == writer.implicit
        assert header_of(layout, data) == body


@pytest.mark.parametrize("tag", [0x7FE00008, 0x7FE00009, PIXEL_DATA])
def test_float_pixel_data_ends_the_walk_too(tag: int) -> None:
    writer = Writer()
    data = front(writer.transfer_syntax) + writer.element(tag, "OF", bytes(8))
    layout = layout_of(data + writer.element(0xFFFCFFFC, "OB", b"behind"))
    assert layout.pixel_data is not None
    assert (layout.pixel_data.tag, layout.pixel_data.vr) == (tag, b"OF")


def test_encapsulated_pixel_data_has_no_length() -> None:
    data = front("1.2.840.10008.1.2.4.50") + Writer().head(PIXEL_DATA, "OB", UNDEFINED)
    layout = layout_of(data + Writer().item(b""))
    assert layout.pixel_data is not None
    assert (layout.pixel_data.offset, layout.pixel_data.length) == (len(data), None)


def test_no_pixel_data() -> None:
    data = front("1.2.840.10008.1.2.1") + Writer().element(0x00080016, "UI", WSM)
    assert layout_of(data).pixel_data is None
    assert layout_of(front("1.2.840.10008.1.2.1")).pixel_data is None


@encodings
@pytest.mark.parametrize("undefined", [False, True])
def test_what_grows_with_the_frames_is_no_part_of_the_header(
    writer: Writer, undefined: bool
) -> None:
    position = writer.element(0x0048021E, "SL", writer.pack("i", 1))
    groups = writer.sequence(0x0048021A, [writer.item(position)])
    items = [writer.item(groups, undefined=undefined) for _ in range(40)]
    before = writer.element(0x00080016, "UI", WSM)
    per_frame = writer.sequence(PER_FRAME, items, undefined=undefined)
    between = writer.element(0x54000110, "LO", "between")
    tables = [writer.element(tag, "OV", bytes([n]) * 320) for n, tag in
              enumerate((0x7FE00001, 0x7FE00002))]  # fmt: skip
    start = front(writer.transfer_syntax)
    data = start + before + per_frame + between + b"".join(tables)
    data += writer.element(PIXEL_DATA, "OB", bytes(64))
    layout = layout_of(data)
    assert header_of(layout, data) == before + between
    head = len(writer.head(PER_FRAME, "SQ", 0))
    assert layout.per_frame == (len(start + before) + head, len(per_frame) - head)
    for span, table in zip((layout.extended_offsets, layout.extended_lengths), tables, strict=True):
        assert span is not None
        assert data[span.offset : span.offset + span.size] == table[-320:]
    assert (layout.frame_items is not None) == undefined


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"DICM",
        b"\0" * 5000,
        b"II*\0" + bytes(4000),
        bytes(128) + b"DICN" + bytes(200),
        b"# a text that goes on for a while\n" * 40,
        b"\x89PNG\r\n\x1a\n" + bytes(300),
    ],
)
def test_other_files_are_no_dicom(data: bytes) -> None:
    if data == b"DICM":
        assert layout_of(data).pixel_data is None
        return
    with pytest.raises(NotDicomError):
        layout_of(data)


@encodings
@pytest.mark.parametrize("undefined", [False, True])
def test_nesting_has_a_limit_and_costs_no_stack(writer: Writer, undefined: bool) -> None:
    deep = b""
    for _ in range(3000):
        head = writer.head(0x00091012, "SQ", UNDEFINED) + writer.head(0xFFFEE000, "", UNDEFINED)
        deep = head + deep
    if not undefined:
        deep = writer.element(0x00091011, "UN", deep)
    data = front(writer.transfer_syntax) + writer.element(0x00080016, "UI", WSM) + deep
    if undefined:
        with pytest.raises(LimitExceededError, match="deeper"):
            layout_of(data)
    else:  # declared to be a value, it is none of the walk's business
        assert layout_of(data).pixel_data is None


@encodings
@pytest.mark.parametrize("vr", ["OB", "SQ", "LO", "UT"])
def test_a_length_beyond_the_end_is_an_error(writer: Writer, vr: str) -> None:
    length = 0xFFF0 if vr == "LO" else 0xFFFFFFF0
    data = front(writer.transfer_syntax) + writer.head(0x00091010, vr, length) + b"12345678"
    with pytest.raises(MalformedDicomError, match=r"\(0009,1010\)"):
        layout_of(data)


@encodings
def test_a_length_beyond_the_end_inside_a_sequence_is_an_error(writer: Writer) -> None:
    for broken in (
        writer.head(0xFFFEE000, "", 0xFFFFFFF0),
        writer.head(0xFFFEE000, "", UNDEFINED) + writer.head(0x00091011, "OB", 0xFFFFFFF0),
    ):
        data = front(writer.transfer_syntax) + writer.head(0x00091010, "SQ", UNDEFINED) + broken
        with pytest.raises(MalformedDicomError):
            layout_of(data + bytes(30))


@encodings
@pytest.mark.parametrize(
    "wrong",
    [
        (0xFFFEE00D, 0),  # the end of an item that nobody began
        (0x00080016, 4),  # an element where an item belongs
    ],
)
def test_misplaced_parts_of_a_sequence_are_errors(writer: Writer, wrong: tuple[int, int]) -> None:
    body = writer.head(0x00091010, "SQ", UNDEFINED) + writer.head(wrong[0], "UI", wrong[1])
    data = front(writer.transfer_syntax) + body + bytes(64)
    with pytest.raises(MalformedDicomError):
        layout_of(data)


def test_every_limit_holds() -> None:
    writer = Writer()
    start = front(writer.transfer_syntax)
    many = b"".join(writer.element(0x00090000 + n, "UN", b"ab") for n in range(100))
    limits = Limits(elements=50)
    with pytest.raises(LimitExceededError, match="50 data elements"):
        layout_of(start + many, limits)
    large = b"".join(writer.element(0x00090000 + n, "UN", bytes(1000)) for n in range(10))
    with pytest.raises(LimitExceededError, match="header"):
        layout_of(start + large, Limits(header_bytes=5000))
    assert layout_of(start + large, Limits(header_bytes=20_000)).pixel_data is None


def test_a_damaged_meta_information_is_an_error() -> None:
    broken = bytes(128) + b"DICM" + Writer().head(0x00020000, "OB", 1 << 30) + bytes(20)
    with pytest.raises(DicomError):
        layout_of(broken)
