"""Open files are few, and none is closed under a read."""

from __future__ import annotations

import errno
import os
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from dicomfs.errors import SourceError
from dicomfs.limits import DEFAULT_LIMITS
from dicomfs.source import beneath, local
from dicomfs.source.handles import Handle, HandleTable
from dicomfs.source.local import LocalDirectory
from dicomfs.source.protocol import Identity, SourceObject

pytestmark = pytest.mark.promise("S-8")

FEW = replace(DEFAULT_LIMITS, open_files=8)


def many_files(root: Path, count: int) -> dict[str, bytes]:
    rng = random.Random(5)
    files = {f"{i % 7}/{i:03}.dcm": rng.randbytes(rng.randrange(1, 3000)) for i in range(count)}
    for key, data in files.items():
        (root / key).parent.mkdir(exist_ok=True)
        (root / key).write_bytes(data)
    return files


def open_below(root: Path) -> int:
    """How many descriptors this process has open on files below a folder."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # that of the listing itself
            continue
        count += target.startswith(f"{root}/") and target.endswith(".dcm")
    return count


def test_few_handles_serve_many_files(tmp_path: Path) -> None:
    files = many_files(tmp_path, 200)
    source = LocalDirectory(tmp_path, FEW)
    for _ in range(2):
        for obj in source.objects():
            buffer = bytearray(obj.identity.size)
            source.read_into(obj, 0, memoryview(buffer))
            assert buffer == files[obj.key]
            assert open_below(tmp_path) <= 8
    assert source.stats().open_handles == 8
    assert source.stats().opens == 400
    source.close()
    assert open_below(tmp_path) == 0


def test_the_most_recently_used_stay_open(tmp_path: Path) -> None:
    many_files(tmp_path, 20)
    source = LocalDirectory(tmp_path, FEW)
    objects = list(source.objects())
    byte = memoryview(bytearray(1))
    for obj in objects[1:]:
        source.read_into(objects[0], 0, byte)
        source.read_into(obj, 0, byte)
    assert source.stats().opens == 20


def test_many_threads_on_few_handles_read_the_right_bytes(tmp_path: Path) -> None:
    files = many_files(tmp_path, 60)
    source = LocalDirectory(tmp_path, replace(DEFAULT_LIMITS, open_files=3))
    objects = list(source.objects())
    wrong: list[str] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(400):
            obj = rng.choice(objects)
            offset = rng.randrange(obj.identity.size)
            buffer = memoryview(bytearray(rng.randrange(1, obj.identity.size - offset + 1)))
            if not (rng.random() < 0.5 and source.read_into_nowait(obj, offset, buffer)):
                source.read_into(obj, offset, buffer)
            if buffer != files[obj.key][offset : offset + len(buffer)]:
                wrong.append(obj.key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert open_below(tmp_path) == source.stats().open_handles <= 3
    source.close()
    assert open_below(tmp_path) == 0


def table_of(capacity: int, root: Path) -> tuple[HandleTable, list[SourceObject]]:
    paths = [root / f"{i}.dcm" for i in range(4)]
    for path in paths:
        path.write_bytes(path.name.encode())

    def opener(obj: SourceObject) -> Handle:
        fd = os.open(root / obj.key, os.O_RDONLY)
        return Handle(fd, obj.identity, True, None)

    objects = [SourceObject(path.name, Identity(1, i, 5, 0)) for i, path in enumerate(paths)]
    return HandleTable(capacity, opener), objects


def is_open(fd: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{fd}")


def test_a_borrowed_handle_is_not_closed(tmp_path: Path) -> None:
    table, objects = table_of(1, tmp_path)
    first = table.borrow(objects[0])
    second = table.borrow(objects[1])
    assert os.pread(first.fd, 5, 0) == b"0.dcm"
    assert os.pread(second.fd, 5, 0) == b"1.dcm"
    table.give_back(first)
    assert (is_open(first.fd), is_open(second.fd)) == (False, True)
    table.give_back(second)
    assert is_open(second.fd)
    assert len(table) == 1


def test_a_dropped_handle_is_closed_by_its_last_user(tmp_path: Path) -> None:
    table, objects = table_of(4, tmp_path)
    first = table.borrow(objects[0])
    same = table.borrow_open(objects[0])
    assert same is first
    table.drop(objects[0], first)
    assert table.borrow_open(objects[0]) is None
    fresh = table.borrow(objects[0])
    assert fresh.fd != first.fd
    table.give_back(first)
    assert is_open(first.fd)
    table.give_back(first)
    assert not is_open(first.fd)
    table.drop(objects[0], first)
    assert table.borrow_open(objects[0]) is fresh


def test_another_version_of_an_object_gets_another_handle(tmp_path: Path) -> None:
    table, objects = table_of(4, tmp_path)
    old = table.borrow(objects[0])
    newer = SourceObject(objects[0].key, Identity(1, 77, 5, 0))
    assert table.borrow_open(newer) is None
    new = table.borrow(newer)
    assert new is not old
    table.give_back(old)
    assert not is_open(old.fd)
    assert table.borrow_open(newer) is new


def test_closing_waits_for_reads_under_way(tmp_path: Path) -> None:
    table, objects = table_of(4, tmp_path)
    used, idle = table.borrow(objects[0]), table.borrow(objects[1])
    table.give_back(idle)
    table.close()
    assert (is_open(used.fd), is_open(idle.fd)) == (True, False)
    table.give_back(used)
    assert not is_open(used.fd)
    with pytest.raises(SourceError, match="closed"):
        table.borrow(objects[2])


def test_when_descriptors_run_out_idle_handles_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_files(tmp_path, 5)
    source = LocalDirectory(tmp_path)
    objects = list(source.objects())
    byte = memoryview(bytearray(1))
    for obj in objects[:4]:
        source.read_into(obj, 0, byte)
    real = beneath.open_file

    def scarce(folder: int, name: str) -> int:
        if open_below(tmp_path):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(folder, name)

    monkeypatch.setattr(local, "open_file", scarce)
    source.read_into(objects[4], 0, byte)
    assert source.stats().open_handles == 1

    def none_left(folder: int, name: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(local, "open_file", none_left)
    with pytest.raises(SourceError, match="too many open files"):
        source.read_into(objects[0], 0, byte)
    monkeypatch.setattr(local, "open_file", real)
    source.read_into(objects[0], 0, byte)
    assert source.stats().open_handles == 1
