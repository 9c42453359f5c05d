"""Decodes mutated frames of every codec in processes of their own, and counts what these die of.

The one job: `fuzz_frames(seconds, prefix, findings)`. The codecs are compiled, so a damaged frame
may end the process that decodes it; here that is a finding and not the end. Frames go through
`decode_frame`, with its checks, as those of a slide do. Mutations are structured little: most hit
the markers at the start.
"""

from __future__ import annotations

import mmap
import os
import random
import resource
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dicomfs.dicom.instance import Instance
from dicomfs.dicom.read import read_instance
from dicomfs.dicom.steps import run_on_bytes
from dicomfs.errors import DamagedFrameError
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.reading.decode import decode_frame
from dicomfs.slide.encoding import PixelEncoding, decide_encoding
from tests.fixtures.catalogue import BY_ID
from tests.fixtures.codecs import CODECS
from tests.fixtures.wsm import write_series

_BATCH: Final = 400
_TILE: Final = 128
_ADDRESS_SPACE: Final = 6 << 30
_BYTES: Final = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255)
_WORDS: Final = (b"\0\0", b"\xff\xff", b"\0\1", b"\x7f\xff", b"\x80\0")
_LONGS: Final = (bytes(4), b"\xff" * 4, b"\0\0\0\1", b"\x7f\xff\xff\xff", b"\x80\0\0\0")


@dataclass(slots=True)
class Outcome:
    """frames : that were decoded or refused; deaths : of processes, by codec and signal;
    unexpected : other errors than the one that is allowed; slow : seconds of the slowest;
    memory : bytes that a process had at most."""

    frames: int = 0
    deaths: Counter[tuple[str, int]] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    slow: float = 0.0
    memory: int = 0

    def __str__(self) -> str:
        return (
            f"{self.frames:,} frames; deaths {dict(self.deaths)}; unexpected"
            f" {dict(self.unexpected)}; slowest {self.slow:.2f} s; memory {self.memory >> 20} MiB"
        )


Frame = tuple[str, bytes, PixelEncoding]


def fuzz_frames(seconds: float, prefix: str, findings: Path, seed: int) -> Outcome:
    """Mutate frames of all codecs whose names start with `prefix`; findings are kept as files."""
    rng = random.Random(seed)
    frames = _frames(prefix)
    outcome = Outcome()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        batch = [
            (name, _mutated(data, frames, rng), encoding)
            for name, data, encoding in rng.choices(frames, k=_BATCH)
        ]
        start = 0
        while start < len(batch):
            start = _decode(batch, start, findings, outcome)
    return outcome


def _frames(prefix: str) -> list[Frame]:
    found: list[Frame] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in CODECS:
            if name not in BY_ID or not name.startswith(prefix):
                continue
            series = write_series(Path(scratch, name), BY_ID[name].spec)
            data = series.paths[0].read_bytes()
            instance = run_on_bytes(read_instance(len(data)), data)
            if isinstance(instance, Instance):
                encoding = decide_encoding(instance)
                by_size = sorted({frame.data for frame in series.levels[0].frames}, key=len)
                found += [(name, each, encoding) for each in (by_size[0], by_size[-1])]
    return found


def _mutated(data: bytes, frames: list[Frame], rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 10))):
        if not changed:
            break
        at = rng.randrange(min(400, len(changed)) if rng.random() < 0.6 else len(changed))
        match rng.randrange(9):
            case 0 | 1 | 2:
                changed[at] = rng.choice((*_BYTES, rng.randrange(256)))
            case 3:
                changed[at] ^= 1 << rng.randrange(8)
            case 4:
                changed[at : at + 2] = rng.choice(_WORDS)
            case 5:
                changed[at : at + 4] = rng.choice(_LONGS)
            case 6:
                del changed[at : at + rng.choice((1, 2, 4, 16, 100, len(changed)))]
            case 7:
                source = rng.randrange(len(changed))
                changed[at:at] = changed[source : source + rng.choice((1, 2, 4, 16, 64))]
            case _:
                other = rng.choice(frames)[1]
                source = rng.randrange(len(other))
                size = rng.randrange(1, 200)
                changed[at : at + size] = other[source : source + size]
    return bytes(changed)


def _decode(batch: list[Frame], start: int, findings: Path, outcome: Outcome) -> int:
    """Decode frames from number `start` on in a process; returns the first that is still to do."""
    progress = mmap.mmap(-1, mmap.PAGESIZE)  # noqa: TID251 - anonymous
    child = os.fork()
    if not child:
        _child(batch, start, progress)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    reached = int.from_bytes(progress[:4], "little")
    outcome.slow = max(outcome.slow, int.from_bytes(progress[4:8], "little") / 1000)
    outcome.memory = max(outcome.memory, int.from_bytes(progress[8:16], "little"))
    said = progress[16:].rstrip(b"\0").decode("utf-8", "replace")
    progress.close()
    if code == 0 and not said:
        outcome.frames += len(batch) - start
        return len(batch)
    name, data, _ = batch[reached]
    if said:
        outcome.unexpected[f"{name}: {said}"] += 1
    else:
        outcome.deaths[(name, -code)] += 1
    findings.mkdir(parents=True, exist_ok=True)
    (findings / f"{name}-{-code}-{abs(hash(data)):x}").write_bytes(data)
    outcome.frames += reached - start + 1
    return reached + 1


def _child(batch: list[Frame], start: int, progress: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    slowest = 0.0
    for number in range(start, len(batch)):
        progress[:4] = number.to_bytes(4, "little")
        _, data, encoding = batch[number]
        signal.alarm(30)
        began = time.process_time()
        try:
            decode_frame(data, encoding, _TILE, _TILE, DEFAULT_LIMITS)
        except DamagedFrameError:
            pass
        except BaseException as error:
            said = repr(error).encode()[:200]
            progress[16 : 16 + len(said)] = said
            os._exit(1)
        slowest = max(slowest, time.process_time() - began)
        progress[4:8] = int(slowest * 1000).to_bytes(4, "little")
        progress[8:16] = _memory().to_bytes(8, "little")
    os._exit(0)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
