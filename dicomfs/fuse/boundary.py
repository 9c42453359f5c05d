"""The catch-all around every request handler, and the log of what it caught.

Whatever but FUSEError leaves a handler of pyfuse3 ends its main loop and with it the whole mount;
here every exception becomes an errno.  Must not know what the handlers do.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import pyfuse3

from dicomfs.errors import DicomfsError, Fault, let_go_of_frames

log = logging.getLogger(__name__)

_LEVELS = {Fault.SOURCE: logging.WARNING, Fault.USER: logging.INFO, Fault.PROGRAM: logging.ERROR}


class Failures:
    """Logs failed requests: each subject and kind of error once in a while, never a flood.

    quiet : seconds in which the same thing is not said again.
    burst : different things that are said in `quiet` seconds; further ones are only counted.
    """

    def __init__(
        self,
        quiet: float = 300.0,
        burst: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet = quiet
        self._burst = burst
        self._clock = clock
        self._said: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._unsaid = 0
        self.count = 0
        """Failed requests so far, said or not."""

    def expected(self, subject: str, error: DicomfsError) -> None:
        """Log an error that dicomfs raised on purpose while it answered for `subject`."""
        self.count += 1
        if self._is_news((subject, type(error).__name__)):
            log.log(_LEVELS[error.fault], "%s: %s", subject, error)

    def unexpected(self, subject: str, operation: str, error: Exception) -> None:
        """Log an error that nobody foresaw, with its traceback, once for the place it came from."""
        self.count += 1
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
        if self._is_news((operation, type(error).__name__, where)):
            log.error("%s: %s failed unexpectedly", subject, operation, exc_info=error)

    def _is_news(self, what: tuple[str, ...]) -> bool:
        now = self._clock()
        while self._said and next(iter(self._said.values())) <= now - self._quiet:
            self._said.popitem(last=False)
        if what in self._said:
            return False
        if len(self._said) >= self._burst:
            self._unsaid += 1
            return False
        if self._unsaid:
            log.warning("%d further failed requests were not logged", self._unsaid)
            self._unsaid = 0
        self._said[what] = now
        return True


class Guarded(Protocol):
    """What a class of handlers gives to the boundary."""

    failures: Failures

    def subject(self, operation: str, first: object) -> str:
        """Name for people what a request is about; `first` is the handler's first argument."""


Handlers = TypeVar("Handlers", bound=type[Guarded])


def guarded(handlers: Handlers) -> Handlers:
    """Class decorator: put the boundary around every public coroutine method of the class.

    FUSEError passes, DicomfsError becomes its errno, any other Exception EIO.  What is no Exception
    (trio.Cancelled, KeyboardInterrupt) passes: it is meant to end the main loop.
    """
    for name, handler in list(vars(handlers).items()):
        if inspect.iscoroutinefunction(handler) and not name.startswith("_"):
            setattr(handlers, name, _guard(name, handler))
    return handlers


def _guard(operation: str, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(handler)
    async def answer(self: Guarded, *args: Any) -> Any:
        try:
            return await handler(self, *args)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            code = _translate(self, operation, args, error)
            let_go_of_frames(error)
        raise pyfuse3.FUSEError(code)

    return answer


def _translate(handlers: Guarded, operation: str, args: tuple[Any, ...], error: Exception) -> int:
    error = _single(error)
    if isinstance(error, pyfuse3.FUSEError):
        return error.errno
    # Not even a log that cannot be written may turn one failed request into a dead mount.
    with contextlib.suppress(Exception):
        subject = handlers.subject(operation, args[0] if args else None)
        if isinstance(error, DicomfsError):
            handlers.failures.expected(subject, error)
        else:
            handlers.failures.unexpected(subject, operation, error)
    if isinstance(error, DicomfsError) and error.errno > 0:
        return error.errno
    return errno.EIO


def _single(error: Exception) -> Exception:
    """The one exception that trio's nurseries have wrapped in groups, if it is one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
