"""Keys of pseudonyms: read from a file that the user keeps, or made for once.

Must not know what is done with a key.
"""

from __future__ import annotations

import secrets
import stat
from pathlib import Path

import click

from dicomfs.errors import UsageError

_LONGEST = 64 * 1024


def read_key(path: Path) -> bytes:
    """The bytes of a key file, all of them.  Raises UsageError with what to do instead."""
    from dicomfs.dicom.confidentiality.pseudonyms import SHORTEST_KEY

    make = f"make one with: (umask 077; head -c 32 /dev/urandom > {path})"
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            key = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no key file {path}; {make}") from None
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from error
    if not SHORTEST_KEY <= len(key) <= _LONGEST:
        raise UsageError(
            f"the key file {path} has {len(key)} bytes; a key has {SHORTEST_KEY} or more; {make}"
        )
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        click.echo(
            f"Others may read the key file {path}, and could tell with it whose slides these are;"
            f" chmod 600 {path}",
            err=True,
        )
    return key


def passing_key() -> bytes:
    """A random key that nobody keeps, which is said."""
    click.echo(
        "There is no --key: pseudonyms are made with a random one, and will be others the next"
        " time.",
        err=True,
    )
    return secrets.token_bytes(32)
