"""The boundary: whatever a handler raises, the main loop sees FUSEError, or is meant to end."""

from __future__ import annotations

import errno
import gc
import inspect
import logging
import weakref

import pyfuse3
import pytest
import trio

from dicomfs.errors import DamagedFrameError, DicomfsError, Fault, SourceChangedError
from dicomfs.fuse.boundary import Failures, guarded
from dicomfs.fuse.operations import Operations

LOGGER = "dicomfs.fuse.boundary"


@guarded
class Handlers:
    """One handler, which raises what it is given."""

    def __init__(self) -> None:
        self.failures = Failures()

    def subject(self, operation: str, first: object) -> str:
        return f"{operation} of {first}"

    async def read(self, handle: int, error: BaseException | None) -> int:
        if error is not None:
            raise error
        return handle


def answer(error: BaseException | None, handlers: Handlers | None = None) -> int:
    """What the main loop gets: a result, or the errno as a negative number."""
    try:
        return trio.run((handlers or Handlers()).read, 7, error)
    except pyfuse3.FUSEError as caught:
        return -caught.errno


class _Unset(DicomfsError):
    errno = 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, -7),
        (pyfuse3.FUSEError(errno.ENOENT), errno.ENOENT),
        (SourceChangedError("changed"), errno.ESTALE),
        (DamagedFrameError("damaged"), errno.EIO),
        (_Unset("an errno of 0 would be success"), errno.EIO),
        (RuntimeError("bug"), errno.EIO),
        (OSError(errno.ENOSPC, "not ours"), errno.EIO),
        (FileNotFoundError(errno.ENOENT, "not ours"), errno.EIO),
        (MemoryError(), errno.EIO),
        (RecursionError(), errno.EIO),
        (StopAsyncIteration(), errno.EIO),
        (trio.TooSlowError(), errno.EIO),
        (ExceptionGroup("g", [SourceChangedError("changed")]), errno.ESTALE),
        (ExceptionGroup("g", [ExceptionGroup("h", [pyfuse3.FUSEError(errno.ENOENT)])]), 2),
        (ExceptionGroup("g", [SourceChangedError("a"), DamagedFrameError("b")]), errno.EIO),
    ],
)
def test_what_the_main_loop_gets(error: Exception | None, code: int) -> None:
    assert answer(error) == -code


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_is_meant_to_end_the_main_loop(error: BaseException) -> None:
    with pytest.raises(type(error)):
        answer(error)


class Held:
    """Stands for what was read on the way to an error."""


def test_what_was_read_on_the_way_to_an_error_is_let_go() -> None:
    held: list[weakref.ref[Held]] = []

    def fail() -> None:
        here = Held()
        held.append(weakref.ref(here))
        try:
            raise OSError(errno.EIO, "the medium")
        except OSError as error:
            raise SourceChangedError("changed") from error

    @guarded
    class Opening(Handlers):
        async def open(self) -> None:
            async with trio.open_nursery():
                await trio.to_thread.run_sync(fail)

    gc.disable()  # memory must not depend on when somebody looks for garbage
    try:
        with pytest.raises(pyfuse3.FUSEError) as caught:
            trio.run(Opening().open)
        assert caught.value.errno == errno.ESTALE
        assert held[0]() is None
    finally:
        gc.enable()


def test_cancellation_passes() -> None:
    @guarded
    class Waiting(Handlers):
        async def open(self) -> None:
            await trio.sleep_forever()

    async def run() -> bool:
        with trio.move_on_after(0) as scope:
            await Waiting().open()
        return scope.cancelled_caught

    assert trio.run(run)


def test_a_log_that_fails_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = Handlers()

    def broken(operation: str, first: object) -> str:
        raise OSError(errno.ENOSPC, "the log is full")

    monkeypatch.setattr(handlers, "subject", broken)
    assert answer(RuntimeError("bug"), handlers) == -errno.EIO
    assert answer(SourceChangedError("changed"), handlers) == -errno.ESTALE


def test_wrong_arguments_are_an_error_of_one_request() -> None:
    with pytest.raises(pyfuse3.FUSEError) as caught:
        trio.run(Handlers().read, 7)  # type: ignore[arg-type]
    assert caught.value.errno == errno.EIO


def test_no_handler_is_outside() -> None:
    for name, default in inspect.getmembers(pyfuse3.Operations, inspect.iscoroutinefunction):
        handler = getattr(Operations, name)
        assert handler is default or hasattr(handler, "__wrapped__"), name


def test_every_change_has_an_answer_of_ours() -> None:
    changes = (
        "create link mkdir mknod removexattr rename rmdir setattr setxattr symlink unlink write"
    )
    for name in changes.split():
        with pytest.raises(pyfuse3.FUSEError) as caught:
            trio.run(getattr(Operations, name), None, 1, b"name", None)
        assert caught.value.errno == errno.EROFS


# ---------------------------------------------------------------- the log


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_and_reason_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    failures = Failures(quiet=60, clock=clock)
    for _ in range(5):
        failures.expected("/a", DamagedFrameError("frame 1"))
        failures.expected("/b", DamagedFrameError("frame 1"))
        failures.expected("/a", SourceChangedError("changed"))
        clock.now += 10
    assert [record.getMessage() for record in caplog.records] == [
        "/a: frame 1",
        "/b: frame 1",
        "/a: changed",
    ]
    clock.now = 60
    failures.expected("/a", DamagedFrameError("frame 2"))
    assert caplog.records[-1].getMessage() == "/a: frame 2"


def test_a_flood_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    failures = Failures(quiet=60, burst=3, clock=clock)
    for number in range(10):
        failures.expected(f"/{number}", DamagedFrameError("damaged"))
    assert len(caplog.records) == 3
    clock.now = 61
    failures.expected("/x", DamagedFrameError("damaged"))
    assert [record.getMessage() for record in caplog.records[3:]] == [
        "7 further failed requests were not logged",
        "/x: damaged",
    ]


def test_a_bug_is_said_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    handlers = Handlers()
    for _ in range(3):
        answer(RuntimeError("bug"), handlers)
    (record,) = caplog.records
    assert record.getMessage() == "read of 7: read failed unexpectedly"
    assert record.levelno == logging.ERROR
    assert "RuntimeError: bug" in caplog.text


def test_whose_fault_decides_how_loud_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Ours(DicomfsError):
        fault = Fault.PROGRAM

    class Theirs(DicomfsError):
        fault = Fault.USER

    caplog.set_level(logging.DEBUG, LOGGER)
    failures = Failures()
    for error in (Ours("a"), DamagedFrameError("b"), Theirs("c")):
        failures.expected("/", error)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "INFO"]
