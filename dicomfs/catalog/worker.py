"""A process that parses: reads orders from standard input, answers on standard output.

    python -m dicomfs.catalog.worker ROOT CACHE

ROOT is the directory of the source, CACHE that of inflated copies.  It ends when its input does,
so it cannot outlive the process that started it.  Orders and answers are JSON with bytes behind
it: what comes out of a hostile file is data on the way through the pipe too.  Knows nothing of the
index.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from dicomfs.catalog.findings import Finding, Inflated, What
from dicomfs.dicom.confidentiality.pseudonyms import Profile
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.source.directory import local_source
from dicomfs.source.protocol import Identity, SourceObject


def send(pipe: IO[bytes], content: object, blobs: Sequence[bytes] = ()) -> None:
    """Write a message: JSON, and bytes behind it."""
    text = json.dumps(content, separators=(",", ":")).encode("ascii")
    pipe.write(struct.pack("<II", len(text), sum(map(len, blobs))))
    pipe.write(text)
    for blob in blobs:
        pipe.write(blob)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[object, memoryview] | None:
    """Read a message; None at the end of the pipe."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    text_size, blob_size = struct.unpack("<II", head)
    text, blobs = pipe.read(text_size), pipe.read(blob_size)
    if len(text) + len(blobs) < text_size + blob_size:
        return None
    return json.loads(text), memoryview(blobs)


def send_profile(pipe: IO[bytes], profile: Profile | None) -> None:
    """Say how to de-identify; the first message, for a key does not belong on a command line."""
    if profile is None:
        send(pipe, None)
    else:
        options = [profile.retain_device_identity, profile.clean_descriptors,
                   profile.drop_structured_content]  # fmt: skip
        send(pipe, options, [profile.key])


def _receive_profile(pipe: IO[bytes]) -> Profile | None:
    content, key = receive(pipe) or (None, memoryview(b""))
    return Profile(bytes(key), *content) if isinstance(content, list) else None


def send_objects(pipe: IO[bytes], objects: Sequence[SourceObject]) -> None:
    """Order objects to be looked at."""
    send(
        pipe,
        [
            [obj.key, [obj.identity.device, obj.identity.inode, obj.identity.size,
                       obj.identity.mtime_ns]]
            for obj in objects
        ],
    )  # fmt: skip


def receive_findings(pipe: IO[bytes]) -> list[Finding] | None:
    """The answer to an order; None where the worker has ended."""
    message = receive(pipe)
    if message is None:
        return None
    content, blobs = message
    findings = []
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        return bytes(blobs[at - size : at])

    assert isinstance(content, list)
    for what, group, size, shared, inflated in content:
        record = take(size)
        beside = tuple((bytes.fromhex(digest), take(length)) for digest, length in shared)
        found = Inflated(*inflated) if inflated else None
        findings.append(Finding(What(what), group, record, beside, found))
    return findings


def _send_findings(pipe: IO[bytes], findings: Sequence[Finding]) -> None:
    content = []
    blobs: list[bytes] = []
    for one in findings:
        shared = [[digest.hex(), len(data)] for digest, data in one.shared]
        inflated = [one.inflated.start, one.inflated.size] if one.inflated else None
        content.append([int(one.what), one.group, len(one.record), shared, inflated])
        blobs += [one.record, *(data for _, data in one.shared)]
    send(pipe, content, blobs)


def main(root: str, cache: str) -> None:
    """Serve until the input ends."""
    from dicomfs.catalog.looking import look_at

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that gives the orders
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    limits = DEFAULT_LIMITS
    profile = _receive_profile(orders)
    source = local_source(Path(root), Path(cache), limits, profile)
    while (message := receive(orders)) is not None:
        content, _ = message
        assert isinstance(content, list)
        objects = [SourceObject(key, Identity(*identity)) for key, identity in content]
        _send_findings(answers, [look_at(source, obj, limits, profile) for obj in objects])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
