"""The pool of buffers that reads are answered from."""

from __future__ import annotations

from dicomfs.fuse.buffers import LARGEST, BufferPool

_LONG = 5000  # reads after which the pool has been looked through several times


def _read(pool: BufferPool, at_once: int) -> list[int]:
    buffers = [pool.take(4096) for _ in range(at_once)]
    for buffer in buffers:
        pool.give_back(buffer)
    return [id(buffer) for buffer in buffers]


def test_one_read_after_the_other_has_the_same_buffer() -> None:
    pool = BufferPool()
    assert len({*_read(pool, 1), *_read(pool, 1), *_read(pool, 1)}) == 1
    assert len(pool) == 1


def test_buffers_are_as_large_as_was_asked_for() -> None:
    pool = BufferPool()
    assert len(pool.take(1)) == LARGEST
    assert len(pool.take(LARGEST)) == LARGEST
    large = pool.take(3 * LARGEST)
    assert len(large) == 3 * LARGEST
    pool.give_back(large)
    assert len(pool) == 0


def test_after_many_reads_at_once_few_buffers_are_kept() -> None:
    pool = BufferPool()
    _read(pool, 100)
    assert len(pool) <= 16


def test_what_nobody_needs_any_more_is_freed() -> None:
    pool = BufferPool()
    _read(pool, 10)
    for _ in range(_LONG):
        _read(pool, 1)
    assert len(pool) == 1


def test_what_is_needed_again_and_again_is_kept() -> None:
    pool = BufferPool()
    first = _read(pool, 3)
    for _ in range(_LONG):
        again = _read(pool, 3)
    assert set(again) == set(first)


def test_what_is_needed_once_in_a_while_is_kept() -> None:
    pool = BufferPool()
    first = _read(pool, 3)
    for _ in range(50):
        for _ in range(500):
            _read(pool, 1)
        again = _read(pool, 3)
    assert set(again) == set(first)
