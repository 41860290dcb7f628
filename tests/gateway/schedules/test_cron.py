"""Cron lines: what they mean, in which zone, across changes of the clocks, and which are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.schedules.cron import FLOOR, Cron, CronError, zone, zone_names
from shared.limits import SCHEDULE_CRON_MAX_CHARS


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(line: str, zone_name: str, since: str, count: int) -> list[str]:
    """The next fires after `since`, each kept from the one before, as UTC text."""
    cron, found, last = Cron(line, zone_name), [], None
    moment = at(since)
    for _ in range(count):
        moment = last = cron.next_after(moment, last=last)
        found.append(moment.strftime("%m-%d %H:%M"))
    return found


# ---- what a line means ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 8 * * 1-5", ["01-01 08:00", "01-04 08:00"]),  # 2027-01-01 is a Friday
        ("*/5 * * * *", ["01-01 00:05", "01-01 00:10"]),
        ("0 0 L * *", ["01-31 00:00", "02-28 00:00"]),
        ("0 12 * * FRI#2", ["01-08 12:00", "02-12 12:00"]),
        ("0 12 * * 5L", ["01-29 12:00", "02-26 12:00"]),
        ("30 6 1 JAN,JUL *", ["01-01 06:30", "07-01 06:30"]),
        ("0 0 1 * 1", ["01-04 00:00", "01-11 00:00"]),  # either day is enough when neither begins with a star
        ("0 0 29 2 *", ["02-29 00:00", "02-29 00:00"]),
        ("0 0 * * 7", ["01-03 00:00", "01-10 00:00"]),
    ],
)
def test_a_line_fires_when_its_fields_say(line: str, expected: list[str]) -> None:
    assert fires(line, "UTC", "2027-01-01T00:00:00", 2) == expected


def test_a_fire_time_is_never_the_moment_itself_and_seconds_do_not_matter() -> None:
    cron = Cron("0 * * * *", "UTC")
    assert cron.next_after(at("2027-01-01T10:00:00")) == at("2027-01-01T11:00:00")
    assert cron.next_after(at("2027-01-01T10:59:59.999999")) == at("2027-01-01T11:00:00")


# ---- clocks that change ---------------------------------------------------------------------------------------
# Berlin: 2027-03-28 01:00 UTC 02:00 → 03:00, 2027-10-31 01:00 UTC 03:00 → 02:00.
# New York: 2027-03-14 07:00 UTC 02:00 → 03:00, 2027-11-07 06:00 UTC 02:00 → 01:00.


@pytest.mark.parametrize(
    ("line", "zone_name", "since", "expected"),
    [
        # A time that does not exist fires at the end of the gap, once.
        ("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00", ["03-28 01:00", "03-29 00:30"]),
        ("30 2 * * *", "America/New_York", "2027-03-13T12:00:00", ["03-14 07:00", "03-15 06:30"]),
        ("0,30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00", ["03-28 01:00", "03-29 00:00"]),
        # Those around the gap keep their places.
        ("0 1,3 * * *", "Europe/Berlin", "2027-03-27T12:00:00", ["03-28 00:00", "03-28 01:00", "03-29 23:00"][:2]),
        # A time that exists twice fires the first time only.
        ("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00:00", ["10-31 00:30", "11-01 01:30"]),
        ("30 1 * * *", "America/New_York", "2027-11-06T12:00:00", ["11-07 05:30", "11-08 06:30"]),
        # Also for somebody who looks from within the hour that comes again.
        ("30 2 * * *", "Europe/Berlin", "2027-10-31T01:10:00", ["11-01 01:30"]),
        ("30 1 * * *", "America/New_York", "2027-11-07T06:10:00", ["11-08 06:30"]),
        # By elapsed time where minute or hour begins with a star.
        ("*/30 * * * *", "Europe/Berlin", "2027-03-28T00:15:00", ["03-28 00:30", "03-28 01:00", "03-28 01:30"]),
        ("15 * * * *", "America/New_York", "2027-11-07T05:00:00", ["11-07 05:15", "11-07 06:15", "11-07 07:15"]),
        # Half an hour, at Lord Howe: 2027-04-03 15:00 UTC 02:00 → 01:30.
        ("45 1 * * *", "Australia/Lord_Howe", "2027-04-03T12:00:00", ["04-03 14:45", "04-04 15:15"]),
    ],
)
def test_clocks_that_change(line: str, zone_name: str, since: str, expected: list[str]) -> None:
    assert fires(line, zone_name, since, len(expected)) == expected


def test_what_a_change_of_the_clocks_brings_too_near_is_left_out() -> None:
    line, berlin = "2 2,3 * * *", "Europe/Berlin"
    raw = [Cron(line, berlin).next_after(at("2027-03-28T00:00:00"))]
    raw.append(Cron(line, berlin).next_after(raw[0]))
    assert [one.strftime("%H:%M") for one in raw] == ["01:00", "01:02"]
    assert fires(line, berlin, "2027-03-28T00:00:00", 2) == ["03-28 01:00", "03-29 00:02"]


# ---- nearer than the floor ------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["*/5 * * * *", "0,5 * * * *", "57,2 * * * *", "3-59/5 1 * * *", "58,3 23,0 * * *"])
def test_five_minutes_apart_is_far_enough(line: str) -> None:
    Cron(line, "UTC")


@pytest.mark.parametrize(
    "line",
    [
        "* * * * *",
        "*/4 * * * *",
        "0,4 * * * *",
        "58,2 * * * *",
        "58,2 8-9 * * *",
        "58,2 23,0 * * *",
        "58,2 23,0 1,2 1 *",
        "58,2 23,0 31,1 12,1 *",
        "58,2 23,0 28-29,1 2,3 *",
        "*/59 * * * *",
    ],
)
def test_two_fires_nearer_than_the_floor_are_refused(line: str) -> None:
    with pytest.raises(CronError, match="nearer than 5 minutes"):
        Cron(line, "UTC")


@pytest.mark.parametrize("line", ["58,2 23,0 1 * *", "58,2 8,10 * * *", "58,2 23,0 * * 1,3,5"])
def test_hours_and_days_that_do_not_touch_may_use_any_minutes_at_their_edges(line: str) -> None:
    Cron(line, "UTC")


minute_lists = st.lists(st.integers(0, 59), min_size=1, max_size=4, unique=True)
hour_lists = st.lists(st.integers(0, 23), min_size=1, max_size=4, unique=True)
day_lists = st.one_of(st.just([]), st.lists(st.integers(1, 28), min_size=1, max_size=3, unique=True))


@given(minute_lists, hour_lists, day_lists)
@settings(deadline=None, max_examples=150)
def test_a_line_is_refused_exactly_if_two_of_its_fires_are_too_near(
    minutes: list[int], hours: list[int], days: list[int]
) -> None:
    def field(values: list[int]) -> str:
        return ",".join(map(str, values)) or "*"

    line = f"{field(minutes)} {field(hours)} {field(days)} * *"
    assume(len(line) <= SCHEDULE_CRON_MAX_CHARS)
    begin, times = at("2027-01-01T00:00:00"), []
    for found in CronSim(line, begin):
        if found > begin + timedelta(days=70):
            break
        times.append(found)
    near = any(later - earlier < FLOOR for earlier, later in pairwise(times))
    try:
        Cron(line, "UTC")
    except CronError:
        assert near, line
    else:
        assert not near, line


@given(
    minute_lists,
    hour_lists,
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds it
    st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_fires_rise_and_keep_their_distance_whatever_the_clocks_do(
    minutes: list[int], hours: list[int], zone_name: str, since: datetime, every: bool
) -> None:
    line = f"{','.join(map(str, minutes))} {'*' if every else ','.join(map(str, hours))} * * *"
    try:
        cron = Cron(line, zone_name)
    except CronError:
        assume(False)
    moment, last = since, None
    for _ in range(12):
        found = cron.next_after(moment, last=last)
        assert found > moment
        assert found.tzinfo is UTC
        assert last is None or found - last >= FLOOR
        moment = last = found


# ---- after an outage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "since", "until", "expected"),
    [
        ("0 * * * *", "2027-01-01T01:00:00", "2027-01-01T05:30:00", "2027-01-01T05:00:00"),
        ("0 * * * *", "2027-01-01T01:00:00", "2027-01-01T05:00:00", "2027-01-01T05:00:00"),
        ("0 * * * *", "2027-01-01T01:00:00", "2027-01-01T01:59:59", "2027-01-01T01:00:00"),
        ("*/5 * * * *", "2020-01-01T00:00:00", "2027-01-01T00:04:00", "2027-01-01T00:00:00"),
        ("0 3 * * *", "2026-06-01T03:00:00", "2027-01-01T02:00:00", "2026-12-31T03:00:00"),
        ("0 0 1 1 *", "2020-01-01T00:00:00", "2026-12-31T00:00:00", "2026-01-01T00:00:00"),
        ("0 0 29 2 *", "2020-02-29T00:00:00", "2027-01-01T00:00:00", "2024-02-29T00:00:00"),
        ("*/5 * 1-28 * *", "2027-01-05T00:00:00", "2027-01-31T12:00:00", "2027-01-28T23:55:00"),
        ("*/5 * * 1-6 *", "2020-01-01T00:00:00", "2026-12-31T00:00:00", "2026-06-30T23:55:00"),
        ("0 0 29 2 *", "2024-02-29T00:00:00", "2027-01-01T00:00:00", "2024-02-29T00:00:00"),
    ],
)
def test_the_latest_of_the_missed_fires_is_found(line: str, since: str, until: str, expected: str) -> None:
    assert Cron(line, "UTC").latest(at(since), at(until)) == at(expected)


@given(st.integers(1, 20_000), st.sampled_from(["*/5 * * * *", "0 */7 * * *", "17 3 * * 1", "0 0 1 * *"]))
@settings(deadline=None, max_examples=60)
def test_nothing_fires_between_the_latest_missed_and_now(minutes: int, line: str) -> None:
    cron = Cron(line, "Europe/Berlin")
    since = cron.next_after(at("2027-03-20T00:00:00"))
    until = since + timedelta(minutes=minutes)
    latest = cron.latest(since, until)
    assert since <= latest <= until
    assert cron.next_after(latest) > until


# ---- what is no line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "",
        "@daily",
        "0 8 * *",
        "0 0 8 * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "a * * * *",
        "0 0 30 2 *",
        "*/0 * * * *",
        "5-1 * * * *",
        "-1 * * * *",
        "１ * * * *",
        "0 0 * * 1#6",
    ],
)
def test_what_is_no_line_is_refused_and_told_what_would_be_one(line: str) -> None:
    with pytest.raises(CronError, match=r"must be five fields|never fires"):
        Cron(line, "UTC")


def test_a_line_has_a_longest_length() -> None:
    listed = "0,5,10,15,20,25,30,35,40,45,50,55 "
    fits = listed + "* * * *".rjust(SCHEDULE_CRON_MAX_CHARS - len(listed))
    assert len(fits) == SCHEDULE_CRON_MAX_CHARS
    Cron(fits.replace("    ", "   ", 1), "UTC")
    Cron(fits, "UTC")
    with pytest.raises(CronError):
        Cron(fits + " ", "UTC")


@given(st.text(max_size=40))
@settings(deadline=None, max_examples=300)
def test_any_text_is_a_line_or_a_cron_error(text: str) -> None:
    try:
        Cron(text, "UTC")
    except CronError as error:
        assert str(error)


@given(st.lists(st.text("0123456789*,-/#LWAFINMONRSU", min_size=1, max_size=6), min_size=5, max_size=5))
@settings(deadline=None, max_examples=500)
def test_any_five_fields_are_a_line_or_a_cron_error(fields: list[str]) -> None:
    try:
        Cron(" ".join(fields), "Europe/Berlin").next_after(at("2027-03-28T00:00:00"))
    except CronError as error:
        assert str(error)


# ---- zones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Asia/Calcutta", "Etc/GMT+5"])
def test_iana_names_and_their_aliases_are_zones(name: str) -> None:
    assert zone(name).key == name


@pytest.mark.parametrize(
    "name",
    ["", "europe/berlin", "CEST", "+02:00", "Europe", "../zone", "/etc/localtime", "localtime", "Factory", "x\0"],
)
def test_anything_else_is_not(name: str) -> None:
    with pytest.raises(CronError, match="IANA time zone such as"):
        Cron("0 0 * * *", name)


def test_every_listed_zone_can_be_loaded() -> None:
    assert all(zone(name).key == name for name in zone_names())
