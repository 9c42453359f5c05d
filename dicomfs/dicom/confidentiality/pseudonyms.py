"""Keyed stand-ins for what identifies: the same key gives the same ones on every node.

Everything is derived from the key by HMAC-SHA256 (RFC 2104), each kind of value in a domain of its
own, so that nothing depends on an order, on a catalogue or on what else is shown, and nothing can
be turned round, nor guessed and tried, without the key.  Knows no attributes: what is replaced by
what is decided in `dicomfs.dicom.confidentiality.deidentify`.
"""

from __future__ import annotations

import base64
import hmac
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

from dicomfs.dicom.uids import TransferSyntax

SHORTEST_KEY = 16
"""Bytes that a key has at least."""

_WELL_KNOWN = re.compile(r"1\.2\.840\.10008(?:\.\d{1,4}){1,10}", re.ASCII)
_LEAST_DAYS, _MOST_DAYS = 366, 3652
_TRANSFER_SYNTAXES = frozenset(TransferSyntax)


@dataclass(frozen=True, slots=True)
class Profile:
    """How data sets are de-identified.

    key : at least SHORTEST_KEY bytes; whoever has it can tell whose pseudonym one is
    retain_device_identity : PS3.15 E.3.8; clean_descriptors : PS3.15 E.3.5
    drop_structured_content : without the option Clean Structured Content, PS3.15 E.3.4
    lasting : whether the key is kept, so that what was made with it is of use another time
    """

    key: bytes = field(repr=False)
    retain_device_identity: bool = False
    clean_descriptors: bool = False
    drop_structured_content: bool = False
    lasting: bool = True

    @property
    def fingerprint(self) -> str:
        """Changes with the key and the options, and tells nothing of the key."""
        options = (self.retain_device_identity, self.clean_descriptors,
                   self.drop_structured_content)  # fmt: skip
        return keyed(self.key, "fingerprint", repr(options))[:16].hex()


def keyed(key: bytes, kind: str, value: str) -> bytes:
    """32 bytes that follow from a key, a kind of value and a value."""
    message = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, message, "sha256")


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """Stands for an identifier: a letter for its kind and 12 of base 32; fits VR SH."""
    digits = base64.b32encode(keyed(key, f"identifier {kind}", _plain(value))).decode("ascii")
    return f"{kind[0].upper()}-{digits[:12]}"


def _plain(value: str) -> str:
    """An identifier however it was typed: composed characters, single spaces."""
    return unicodedata.normalize("NFC", " ".join(value.split()))


@lru_cache(maxsize=4096)
def new_uid(key: bytes, uid: str) -> str:
    """Stands for a UID: 2.25 and a UUID of version 8 (PS3.5 B.2, RFC 9562).

    UIDs of the standard itself (PS3.6 annex A) stay what they are.
    """
    if is_well_known(uid):
        return uid
    number = int.from_bytes(keyed(key, "uid", uid)[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    return f"2.25.{number}"


def is_well_known(uid: str) -> bool:
    """Whether a UID is one of the standard: below its root, and of parts too short to identify."""
    return uid in _TRANSFER_SYNTAXES or _WELL_KNOWN.fullmatch(uid) is not None


def shift_of(key: bytes, patient: str) -> timedelta:
    """By how much all times of a patient lie earlier than they were: one to ten years."""
    number = int.from_bytes(keyed(key, "shift", _plain(patient))[:16], "big")
    days, rest = divmod(number, 86399)
    span = _MOST_DAYS - _LEAST_DAYS + 1
    return timedelta(days=_LEAST_DAYS + days % span, seconds=1 + rest)
