"""File names: what must hold for any text at all, and what people see for the usual ones."""

from __future__ import annotations

import unicodedata
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomfs.vfs.names import LONGEST, Wanted, check, clean, key, unique

# Lone surrogates included: they stand for bytes of a source that are no UTF-8.
ANY = st.text(st.characters(exclude_categories=[]))

# Characters that meet each other badly: case, composition, whitespace, dots, format characters.
NASTY = st.text("aAäÄa\u0308ßẞſKk\u212aıİI.\u200d\u202e -~_/\\\0\t\u2028\u3000\ud800\U0001f52c")

ENDINGS = st.sampled_from(["", ".svs", ".ome.tif", ".dicom.json"])


def is_good(name: str) -> bool:
    """The rules of a good name, written down a second time."""
    return (
        1 <= len(name.encode("utf-8")) <= 255
        and name == unicodedata.normalize("NFC", name)
        and not any(c in '/\\:*?"<>|' for c in name)
        and not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name)
        and not any(c.isspace() and c != " " for c in name)
        and "  " not in name
        and name[0] not in ".- "
        and name[-1] not in ". "
    )


@pytest.mark.promise("S-16")
@given(ANY | NASTY)
def test_any_text_becomes_a_good_name(text: str) -> None:
    name = clean(text)
    assert is_good(name)
    assert clean(name) == name
    check(name)


@given(ANY | NASTY, st.integers(1, 40))
def test_a_limit_in_bytes_is_kept(text: str, limit: int) -> None:
    name = clean(text, limit)
    assert is_good(name)
    assert len(name.encode("utf-8")) <= limit
    assert clean(name, limit) == name


@pytest.mark.promise("S-16")
@given(st.lists(st.builds(Wanted, ANY | NASTY, ANY | NASTY, ENDINGS)))
def test_names_of_one_directory_are_good_and_never_confused(wanted: list[Wanted]) -> None:
    names = unique(wanted)
    assert len(names) == len(wanted)
    assert len({key(name) for name in names}) == len(names)
    assert all(is_good(name) for name in names)
    assert all(
        name.endswith(one.ending) for name, one in zip(names, wanted, strict=True) if one.ending
    )


@pytest.mark.promise("S-16")
@given(st.lists(st.builds(Wanted, NASTY, NASTY, ENDINGS), unique=True), st.randoms())
def test_a_name_depends_neither_on_order_nor_on_neighbours(
    wanted: list[Wanted], chance: Random
) -> None:
    together = dict(zip(wanted, unique(wanted), strict=True))
    shuffled = chance.sample(wanted, len(wanted))
    assert dict(zip(shuffled, unique(shuffled), strict=True)) == together
    for one in wanted:
        if sum(one.token == other.token for other in wanted) == 1:
            assert unique([one]) == [together[one]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TCGA-02-0001", "TCGA-02-0001"),
        ("Müller^Jürgen", "Müller^Jürgen"),
        ("Mu\u0308ller", "Müller"),
        ("S21/1234:A1", "S21_1234_A1"),
        ("..", "_"),
        ("", "_"),
        (" \t\n ", "_"),
        (".hidden", "hidden"),
        ("-rf", "_rf"),
        ("trailing. . ", "trailing"),
        ("two\r\nlines", "two lines"),
        ("nul\0byte", "nul_byte"),
        ("bad\udcffbyte", "bad_byte"),
        ("gpj\u202e.svs", "gpj.svs"),
        ("\ufeffmark", "mark"),
        ("con", "_con"),
        ("Aux.json", "_Aux.json"),
        ("console", "console"),
        ("染色", "染色"),
    ],
)
def test_what_people_see(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_a_long_text_is_cut_between_characters() -> None:
    assert clean("é" * 200) == "é" * 127
    assert clean("COM1x", 4) == "_COM"


def test_the_digits_are_a_hash_of_the_token_alone() -> None:
    first, second = unique([Wanted("A1", "1.2.3", ".svs"), Wanted("B7", "1.2.3", ".json")])
    assert first == "A1-7ee912a8.svs"
    assert second == "B7-7ee912a8.json"


def test_the_same_request_twice_gets_two_names() -> None:
    names = unique([Wanted("A", "1"), Wanted("A", "1"), Wanted("a", "1")])
    assert len({key(name) for name in names}) == 3


def test_an_ending_has_to_leave_room_and_to_be_an_ending() -> None:
    with pytest.raises(ValueError, match="cannot have"):
        unique([Wanted("a", "1", "." + "x" * LONGEST)])
    with pytest.raises(ValueError, match="cannot be the end"):
        unique([Wanted("a", "1", "/x")])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "é" * 128, "\ud800"])
def test_what_the_kernel_cannot_carry(name: str) -> None:
    with pytest.raises(ValueError):
        check(name)


def test_what_the_kernel_can_carry() -> None:
    check(".dicomfs")
    check("é" * 127)
