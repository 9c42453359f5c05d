"""Shifts dates and times as DICOM writes them: VRs DA, TM and DT of PS3.5 6.2.

A date and the time that goes with it are shifted as one moment, so intervals stay what they were.
What cannot be read as a date or time is left out.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})", re.ASCII)
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?", re.ASCII)
_DATETIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?"
    r"(?:[+-]\d{4})?",
    re.ASCII,
)
_NOON = 12 * 3600


def shift_pair(date: str, time: str, shift: timedelta) -> tuple[str, str]:
    """A date (DA) and its time (TM), either of which may be "", made earlier by `shift`.

    A date without a time is taken for noon of that day; a time without a date goes round the clock.
    """
    day = _DATE.fullmatch(date.strip())
    clock = _TIME.fullmatch(time.strip())
    try:
        moment = datetime(2000, 6, 1)
        if day:
            moment = datetime(*map(int, day.groups()))  # type: ignore[arg-type]
        if clock:
            hour, minute, second, fraction = clock.groups(default="0")
            moment += timedelta(hours=int(hour), minutes=int(minute), seconds=int(second))
            moment += timedelta(microseconds=int(fraction.ljust(6, "0")))
            if int(hour) > 23 or int(minute) > 59 or int(second) > 60:
                return "", ""
        else:
            moment += timedelta(seconds=_NOON)
        moment -= shift
    except (ValueError, OverflowError):
        return "", ""
    return (
        f"{moment:%Y%m%d}".rjust(8, "0") if day else "",
        _cut(moment, clock, "{0:%H}", "{0:%M}", "{0:%S}") if clock else "",
    )


def shift_datetime(text: str, shift: timedelta) -> str:
    """A date and time (DT) made earlier by `shift`, as exact as it was, without its time zone."""
    found = _DATETIME.fullmatch(text.strip())
    if not found:
        return ""
    parts = found.groups()
    try:
        year, month, day = int(parts[0]), int(parts[1] or 1), int(parts[2] or 1)
        hour, minute, second = (int(part or 0) for part in parts[3:6])
        moment = datetime(year, month, day, hour, minute, min(second, 59))
        moment += timedelta(microseconds=int((parts[6] or "0").ljust(6, "0")))
        moment -= shift
    except (ValueError, OverflowError):
        return ""
    whole = [f"{moment.year:04d}", f"{moment:%m}", f"{moment:%d}", f"{moment:%H}", f"{moment:%M}",
             f"{moment:%S}"]  # fmt: skip
    known = sum(part is not None for part in parts[:6])
    return "".join(whole[:known]) + _fraction(moment, parts[6])


def _cut(moment: datetime, clock: re.Match[str], *formats: str) -> str:
    """The time of day, as exact as the one that was read."""
    known = sum(part is not None for part in clock.groups()[:3])
    text = "".join(form.format(moment) for form in formats[:known])
    return text + _fraction(moment, clock.group(4))


def _fraction(moment: datetime, written: str | None) -> str:
    return "" if written is None else f".{moment.microsecond:06d}"[: 1 + len(written)]
