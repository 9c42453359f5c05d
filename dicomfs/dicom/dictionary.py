"""The data dictionary of PS3.6, as pydicom has it.

pydicom takes a fifth of a second to import, so that is left to the first question: a slide that the
index knows is opened and read without.
"""

from __future__ import annotations

from functools import cache, lru_cache

_REMEMBERED = 4096  # tags come from files, so there may be any number of them


@lru_cache(maxsize=_REMEMBERED)
def vr_of(tag: int) -> str:
    """The VR of a tag, or several as in "US or SS"; "" for one that the dictionary does not have,
    such as a private one."""
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


@lru_cache(maxsize=_REMEMBERED)
def is_known(tag: int) -> bool:
    """Whether the dictionary has this very tag, not only a repeating group (PS3.5 7.6) for it."""
    from pydicom.datadict import dictionary_has_tag

    return dictionary_has_tag(tag)


@lru_cache(maxsize=_REMEMBERED)
def keyword_of(tag: int) -> str:
    """The keyword of a tag, "" where there is none."""
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag)


@cache
def tag_of(keyword: str) -> int | None:
    """The tag of a keyword, as 0xGGGGEEEE."""
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(keyword)


@cache
def character_sets() -> dict[str, str]:
    """The Python encodings of the defined terms of Specific Character Set (PS3.3 C.12.1.1.2)."""
    from pydicom.charset import python_encoding

    return dict(python_encoding)


def decode_escaped(value: bytes, encodings: list[str], delimiters: set[int]) -> str:
    """The text of a value that switches between character sets, PS3.5 6.1.2.5.

    Raises LookupError, UnicodeError, ValueError.
    """
    from pydicom.charset import decode_bytes

    return decode_bytes(value, encodings, delimiters)
