"""The cache keeps its bound and drops what was not used for longest."""

from __future__ import annotations

import random

from dicomfs.reading.cache import ByteCache


def test_the_least_recently_used_is_dropped_first() -> None:
    cache: ByteCache[str, bytes] = ByteCache(30, len)
    for key in "abc":
        cache.put(key, bytes(10))
    assert cache.get("a") is not None
    cache.put("d", bytes(10))
    assert cache.get("b") is None
    assert [key for key in "acd" if cache.get(key)] == ["a", "c", "d"]
    assert cache.stats()[:2] == (3, 30)


def test_a_value_that_is_replaced_is_counted_once() -> None:
    cache: ByteCache[str, bytes] = ByteCache(30, len)
    cache.put("a", bytes(20))
    cache.put("a", bytes(10))
    assert cache.stats()[:2] == (1, 10)
    assert cache.get("a") == bytes(10)


def test_a_value_larger_than_the_bound_stays_alone_until_the_next_comes() -> None:
    cache: ByteCache[str, bytes] = ByteCache(30, len)
    cache.put("a", bytes(10))
    cache.put("big", bytes(31))
    assert cache.stats()[:2] == (1, 31)
    assert cache.get("big") is not None
    cache.put("b", bytes(10))
    assert cache.stats()[:2] == (1, 10)


def test_the_count_is_right_after_any_history() -> None:
    rng = random.Random(4)
    cache: ByteCache[int, bytes] = ByteCache(1000, len)
    for _ in range(2000):
        key = rng.randrange(30)
        if rng.random() < 0.5:
            cache.put(key, bytes(rng.randrange(200)))
        else:
            cache.get(key)
        held = [value for i in range(30) if (value := cache._entries.get(i)) is not None]
        assert cache.stats()[:2] == (len(held), sum(map(len, held)))
        assert cache.stats().nbytes <= 1000


def test_what_was_asked_for_is_counted() -> None:
    cache: ByteCache[int, bytes] = ByteCache(100, len)
    assert cache.get(1) is None
    assert cache.peek(1) is None
    cache.put(1, b"x" * 10)
    assert cache.get(1) == cache.get(1) == cache.peek(1)
    assert cache.stats() == (1, 10, 2, 1)


def test_what_is_gone_is_dropped_and_no_longer_counted() -> None:
    cache: ByteCache[int, bytes] = ByteCache(100, len)
    for key in range(6):
        cache.put(key, bytes(10))
    cache.drop(lambda key: key % 2 == 0)
    assert cache.stats()[:2] == (3, 30)
    assert [key for key in range(6) if cache.peek(key)] == [1, 3, 5]
