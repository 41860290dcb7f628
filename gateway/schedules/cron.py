"""When a schedule fires: five cron fields in an IANA time zone. Pure; every time that goes in or out is aware, out in UTC.

The fields are read by cronsim, which follows Debian's cron:

    field          values         besides * , - /
    minute         0-59
    hour           0-23
    day of month   1-31           L the last day, LW the last working day
    month          1-12, JAN-DEC
    day of week    0-7, SUN-SAT   5L the last Friday, 5#2 the second one; 0 and 7 are Sunday

If neither day field begins with `*`, either of them is enough. Where clocks go forward, a time that does not exist
fires at the end of the gap; where they go back, a time that exists twice fires the first time. Both are about lines
with a fixed hour and minute: one whose minute or hour begins with `*` goes by elapsed time.

No two fires are nearer than `SCHEDULE_FLOOR_S`. A line whose times of day are nearer is refused; what a change of the
clocks brings nearer is left out (`Cron.next_after`).
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from shared.limits import SCHEDULE_CRON_MAX_CHARS, SCHEDULE_FLOOR_S

FLOOR: Final = timedelta(seconds=SCHEDULE_FLOOR_S)

_FLOOR_MINUTES: Final = SCHEDULE_FLOOR_S // 60
_FIELDS: Final = "five fields: minute, hour, day of month, month, day of week; such as 0 8 * * 1-5"
_DAYS_LOOKED_AT: Final = 1_461  # four years: every pair of neighbouring dates there is
_ANY_YEAR: Final = datetime(2027, 1, 1, tzinfo=UTC)


class CronError(ValueError):
    """A cron line or time zone that cannot be used; says what could be."""


class Cron:
    """The fire times of one line.

    Args:
        line: the five fields.
        timezone: IANA name.

    Raises:
        CronError: either is not valid, the line never fires, or its times of day are nearer than the floor.
    """

    def __init__(self, line: str, timezone: str) -> None:
        self._zone = zone(timezone)
        self._line = _checked(line)

    def next_after(self, moment: datetime, *, last: datetime | None = None) -> datetime:
        """The first fire after `moment` that keeps its distance from `last`, the one before.

        Args:
            moment: aware.
            last: aware; none when there was none.

        Raises:
            CronError: there is none in the next fifty years.
        """
        not_before = moment if last is None else max(moment, last + FLOOR)
        found = self._after(moment)
        while found < not_before:
            found = self._after(found)
        return found

    def latest(self, since: datetime, until: datetime) -> datetime:
        """The last fire up to `until`; `since` itself, a fire of this line, when there is none after it."""
        found, end = since, until
        while (following := self._after(found)) <= until:
            # Halves what is left, so that years of a line that fires every five minutes are some twenty questions.
            middle = following + (end - following) / 2
            beyond = self._after(middle)
            if beyond <= until:
                found = beyond
            else:
                found, end = following, middle
        return found

    def _after(self, moment: datetime) -> datetime:
        # Where a time exists twice cronsim goes by the first, so that from within the second it looks back.
        for found in CronSim(self._line, moment.astimezone(self._zone)):
            instant = found.astimezone(UTC)
            if instant > moment:
                return instant
        raise CronError("the cron line has no further fire time")


@functools.lru_cache(maxsize=1024)
def of(line: str, timezone: str) -> Cron:
    """As `Cron`, remembered: a line fires again and again."""
    return Cron(line, timezone)


@functools.cache
def zone_names() -> frozenset[str]:
    """Every IANA name, aliases included, of the time zone data this release comes with."""
    listed = importlib.resources.files("tzdata").joinpath("zones").read_text("ascii")
    return frozenset(name for name in listed.split() if name != "Factory")


def zone(name: str) -> ZoneInfo:
    """The time zone. Raises `CronError`."""
    if name not in zone_names():
        raise CronError("must be an IANA time zone such as Europe/Berlin or UTC")
    return ZoneInfo(name)


def _checked(line: str) -> str:
    if len(line) > SCHEDULE_CRON_MAX_CHARS or not line.isascii() or len(line.split()) != 5:
        raise CronError(f"must be {_FIELDS}; at most {SCHEDULE_CRON_MAX_CHARS} characters")
    try:
        parsed = CronSim(line, _ANY_YEAR)
        next(CronSim(line, _ANY_YEAR))
    except CronSimError as error:
        raise CronError(f"{str(error).lower()}; must be {_FIELDS}") from error
    except StopIteration:
        raise CronError("no date fits the cron line, so that it never fires") from None
    if _too_near(line, parsed):
        raise CronError(f"two fires are nearer than {_FLOOR_MINUTES} minutes; use for instance */{_FLOOR_MINUTES}")
    return line


def _too_near(line: str, parsed: CronSim) -> bool:
    """Whether two times of the line are nearer than the floor, on clocks that nobody changes."""
    minutes, hours = sorted(parsed.minutes), sorted(parsed.hours)
    if any(later - earlier < _FLOOR_MINUTES for earlier, later in pairwise(minutes)):
        return True
    if minutes[0] + 60 - minutes[-1] >= _FLOOR_MINUTES:
        return False
    if any(later - earlier == 1 for earlier, later in pairwise(hours)):
        return True
    return hours[0] == 0 and hours[-1] == 23 and _neighbours(_dates(line))


def _dates(line: str) -> Iterable[datetime]:
    """The dates on which the line fires, from any year on."""
    end = _ANY_YEAR + timedelta(days=_DAYS_LOOKED_AT)
    for date in CronSim(f"0 0 {' '.join(line.split()[2:])}", _ANY_YEAR):
        if date > end:
            return
        yield date


def _neighbours(dates: Iterable[datetime]) -> bool:
    return any(later - earlier == timedelta(days=1) for earlier, later in pairwise(dates))
