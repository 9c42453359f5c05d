"""Is a TIFF or BigTIFF file sound, judged without any TIFF library.

The one job: name each way in which the directories, the values, and the tiles and strips of a file
break TIFF 6.0 or each other. `problems` gives its findings under a rule name each, so that a test
can say which it allows for and why. Knows no dicomfs.
"""

import itertools
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tests.oracles.frame_decoders import (
    UndecodableFrame,
    jpeg2000_header,
    jpeg_header,
    jpeg_is_ycbcr,
)
from tests.oracles.tiff_directories import (
    BITS,
    COMPRESSION,
    DEFLATE_CODES,
    JPEG2000_CODES,
    JPEG_CODES,
    LENGTH,
    PHOTOMETRIC,
    PLANAR,
    RATIONALS,
    RAW_CODE,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIP_COUNTS,
    STRIP_OFFSETS,
    SUBSAMPLING,
    TILE_COUNTS,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    WIDTH,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    Problem,
    Structure,
    read_at,
    walk,
)

# ------------------------------------------------------------------ the fields


def _check_fields(found: Structure, directory: Directory) -> None:
    where, entries = directory.where, directory.entries
    required = {WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC}
    if directory.tiled:
        required |= {TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS}
        if STRIP_OFFSETS in entries or STRIP_COUNTS in entries:
            found.report("tiles-and-strips", where, "both are given")
    else:
        required |= {STRIP_OFFSETS, STRIP_COUNTS, ROWS_PER_STRIP}
    if directory.integer(PHOTOMETRIC) in (2, 6):
        required.add(SAMPLES)
    for tag in sorted(required - set(entries)):
        found.report("required-tag", where, f"tag {tag} is missing")
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        if tag not in entries:
            found.report("resolution-tag", where, f"tag {tag} is missing")
    for entry in entries.values():
        if entry.kind == 2 and not entry.value.endswith(b"\0"):
            found.report("ascii", where, f"tag {entry.tag} does not end in NUL")
        if entry.kind in RATIONALS:
            parts = np.frombuffer(entry.value, f"{found.order}u4")
            if not parts[1::2].all():
                found.report("rational", where, f"tag {entry.tag} divides by 0")
    samples = directory.integer(SAMPLES, 1)
    if BITS in entries and entries[BITS].count != samples:
        found.report("samples", where, f"{entries[BITS].count} BitsPerSample for {samples}")
    least = {0: 1, 1: 1, 2: 3, 3: 1, 6: 3}.get(directory.integer(PHOTOMETRIC, -1))
    if PHOTOMETRIC in entries and (least is None or samples < least):
        text = f"photometric {directory.integer(PHOTOMETRIC)} with {samples} samples"
        found.report("photometric", where, text)
    if directory.tiled and any(edge % 16 for edge in directory.segment_size):
        found.report("tile-multiple-of-16", where, f"tiles of {directory.segment_size}")


def _check_segments(found: Structure, directory: Directory) -> None:
    where = directory.where
    offsets, counts = directory.segments()
    (width, height), (across, down) = directory.size, directory.segment_size
    if not (width and height and across and down):
        found.report("size", where, f"{width} x {height} in pieces of {across} x {down}")
        return
    expected = -(-width // across) * -(-height // down)
    if directory.integer(PLANAR, 1) == 2:
        expected *= directory.integer(SAMPLES, 1)
    if not offsets.size == counts.size == expected:
        text = f"{offsets.size} offsets and {counts.size} byte counts for {expected}"
        found.report("segment-count", where, text)
        return
    for index in np.flatnonzero((offsets == 0) | (counts == 0))[:10]:
        found.report("missing-segment", where, f"segment {index} is empty")
    for index in np.flatnonzero((offsets < 0) | (offsets + counts > found.length))[:10]:
        text = f"segment {index}: {offsets[index]}+{counts[index]} of {found.length}"
        found.report("segment-outside", where, text)


def _check_stream(found: Structure, directory: Directory, data: bytes, rows: int) -> None:
    """One tile or strip against the fields that describe it."""
    where, code = directory.where, directory.integer(COMPRESSION)
    width, samples = directory.segment_size[0], directory.integer(SAMPLES, 1)
    if code in (JPEG_CODES | JPEG2000_CODES):
        size: Any
        if code in JPEG_CODES:
            jpeg = jpeg_header(data)
            size, components = (jpeg.columns, jpeg.rows), len(jpeg.component_ids)
            factors = tuple(directory.integers(SUBSAMPLING).tolist())
            ycbcr_tag = directory.integer(PHOTOMETRIC) == 6
            if ycbcr_tag and factors and factors != jpeg.sampling[0]:
                text = f"YCbCrSubSampling {factors} for a stream of {jpeg.sampling[0]}"
                found.report("subsampling", where, text)
            ycbcr = {jpeg_is_ycbcr(jpeg, claim) for claim in ("RGB", "YBR_FULL")}
            if components == 3 and ycbcr_tag not in ycbcr:
                text = f"photometric {directory.integer(PHOTOMETRIC)} against the stream's markers"
                found.report("stream-colour", where, text)
        else:
            jpeg2000 = jpeg2000_header(data)
            size, components = (jpeg2000.columns, jpeg2000.rows), jpeg2000.components
        if size != (width, rows) or components != samples:
            text = f"{size} of {components} components for {(width, rows)} of {samples}"
            found.report("stream-size", where, text)
        return
    if directory.integer(PLANAR, 1) == 2 or code not in {RAW_CODE} | DEFLATE_CODES:
        return
    if directory.integer(PHOTOMETRIC) == 6:
        found.report("stream-colour", where, f"YCbCr under compression {code}")
        return
    bits = int(directory.integers(BITS).sum())
    expected = rows * -(-width * bits // 8)
    actual = len(data) if code == RAW_CODE else len(zlib.decompress(data))
    if actual != expected:
        found.report("stream-size", where, f"{actual} bytes of pixels for {expected}")


def _check_streams(found: Structure, file: BinaryIO, directory: Directory) -> None:
    """The first and the last segment; the others are of the same make."""
    offsets, counts = directory.segments()
    height, rows = directory.size[1], directory.segment_size[1]
    for index in sorted({0, offsets.size - 1}):
        last = rows if directory.tiled else (height - index * rows) or rows
        data = read_at(file, int(offsets[index]), int(counts[index]))
        try:
            _check_stream(found, directory, data, min(rows, last))
        except (UndecodableFrame, zlib.error, struct.error, IndexError) as error:
            found.report("stream", directory.where, f"segment {index}: {error}")


# ------------------------------------------------------------------ the whole file


def _metadata_extents(found: Structure) -> Iterator[tuple[int, int, str]]:
    yield 0, 16 if found.big else 8, "the header"
    for directory in found.directories:
        yield directory.offset, directory.end, directory.where
        for entry in directory.entries.values():
            if not entry.inline:
                name = f"{directory.where} tag {entry.tag}"
                yield entry.at, entry.at + len(entry.value), name


def _check_overlaps(found: Structure) -> None:
    """Nothing may lie on anything else, except the very same bytes used twice."""
    metadata = {(start, end): name for start, end, name in _metadata_extents(found)}
    ordered = sorted(metadata)
    for (start, end), following in itertools.pairwise(ordered):
        if following[0] < end:
            text = f"{metadata[start, end]} runs into {metadata[following]}"
            found.report("overlap", "file", text)
    parts = [np.stack(one.segments(), axis=1) for one in found.directories if _consistent(one)]
    if not parts:
        return
    segments = np.unique(np.concatenate(parts), axis=0)
    segments = segments[segments[:, 1] > 0]
    starts, ends = segments[:, 0], segments[:, 0] + segments[:, 1]
    for index in np.flatnonzero(ends[:-1] > starts[1:])[:10]:
        text = f"segments at {starts[index]} and {starts[index + 1]} overlap"
        found.report("overlap", "file", text)
    first, last = (np.array([extent[side] for extent in ordered], np.int64) for side in (0, 1))
    nearest = np.searchsorted(first, ends, side="left") - 1
    hit = (nearest >= 0) & (last[np.maximum(nearest, 0)] > starts)
    for index in np.flatnonzero(hit)[:10]:
        text = f"segment at {starts[index]} lies on {metadata[ordered[nearest[index]]]}"
        found.report("overlap", "file", text)


def _consistent(directory: Directory) -> bool:
    offsets, counts = directory.segments()
    return bool(offsets.size) and offsets.size == counts.size


def problems(path: Path, *, allowed: Collection[str] = ()) -> list[Problem]:
    """All that is wrong with a file, but for the rules in `allowed`; empty for a sound one."""
    found = walk(path)
    with open(path, "rb") as file:
        for directory in found.directories:
            _check_fields(found, directory)
            before = len(found.problems)
            _check_segments(found, directory)
            if len(found.problems) == before and _consistent(directory):
                _check_streams(found, file, directory)
    _check_overlaps(found)
    return [problem for problem in found.problems if problem.rule not in allowed]
