#!/usr/bin/env python3
"""Makes schedules.tsv, the table that `schedules.rs` checks the host's due times against.

    python3 -m venv v && v/bin/pip install croniter==7.0.0 tzdata && v/bin/python make_schedules.py > schedules.tsv

Which times of a wall clock an expression names comes from croniter, which is asked about a calendar without zones;
which instants these are comes from Python's zoneinfo. Neither shares code with the host.

croniter itself is not asked about zones: in the hour that daylight saving skips or repeats it moves fixed times, and runs
some twice. The rule is that of Vixie cron instead (crontab(5) and its source):

* An expression whose second, minute or hour begins with `*` follows the clock: each instant at which the clock shows a
  time that it names, so none for a time that is skipped and two for one that comes twice.
* All others name fixed times: the first instant that shows the time; for one that is skipped, the instant at which the
  clock goes on after the gap. Several at one instant are one.

croniter is told to treat a day field that begins with `*` as unrestricted, as Vixie cron does.

A line is: expression, zone, start, then seconds from the start to the first due time, from there to the second, and so on.
"""

import datetime as dt
from zoneinfo import ZoneInfo

from croniter import croniter

COUNT = 6
UTC = dt.timezone.utc
SECOND = dt.timedelta(seconds=1)

EXPRESSIONS = """
30 2 * * *
0 2 * * *
0 3 * * *
15,45 2 * * *
30 1 * * *
59 1 * * *
0 0 * * *
30 0 * * *
5 0 * * *
0-59/20 0-4 * * *
0 1-3 * * *
0 0-23 * * *
*/5 * * * *
*/20 2 * * *
* 2 * * *
0 * * * *
30 * * * *
30 */2 * * *
@hourly
@daily
@weekly
@monthly
@yearly
0 12 * * 0
0 12 * * 7
0 12 * * sun
15 2 * * 0,6
15 2 * * sat-sun
0 4 * * mon-fri
0 4 * * 5-7
0 4 * * */2
0 4 * * 1/2
0 6 1,15 * 5
0 6 */10 * 1
0 6 13 * fri
30 2 31 * *
30 2 29-31 3,10 *
0 22 * jan-mar,oct-dec mon
23 0-20/2 * * *
10-20/3,50 1,2 * * *
30 30 2 * * *
0,30 59 1 * * *
*/15 30 2 * * *
0 */30 * * * *
""".strip().splitlines()

# A zone, and instants shortly before its clock does something.
MOMENTS = [
    ("UTC", "2026-03-28T22:00:00"),
    ("Europe/Berlin", "2026-03-28T12:00:00"),
    ("Europe/Berlin", "2026-10-24T12:00:00"),
    ("Europe/Berlin", "2026-10-25T00:20:10"),
    ("Europe/Berlin", "2026-10-25T01:20:10"),
    ("America/New_York", "2026-03-07T20:00:00"),
    ("America/New_York", "2026-11-01T02:30:00"),
    ("America/Sao_Paulo", "2018-11-03T12:00:00"),
    ("America/Sao_Paulo", "2018-02-17T12:00:00"),
    ("Australia/Lord_Howe", "2026-10-03T09:00:00"),
    ("Australia/Lord_Howe", "2026-04-04T09:00:00"),
    ("Africa/Casablanca", "2024-03-09T20:00:00"),
    ("Africa/Casablanca", "2024-04-13T20:00:00"),
    ("Africa/Cairo", "2024-04-25T12:00:00"),
    ("Antarctica/Troll", "2024-03-30T20:00:00"),
    ("Antarctica/Troll", "2024-10-26T20:00:00"),
    ("America/St_Johns", "2010-11-06T20:00:00"),
    ("Asia/Kathmandu", "2026-02-27T20:00:00"),
    ("Pacific/Apia", "2011-12-29T20:00:00"),
    ("Europe/London", "2027-12-31T23:00:00"),
]

RARE = [
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00"),
    ("0 0 29 2 *", "Europe/Berlin", "2095-01-01T00:00:00"),
    ("30 2 29 2 *", "America/New_York", "1999-01-01T00:00:00"),
    ("0 0 29 2 */7", "UTC", "2026-01-01T00:00:00"),
    ("0 0 29 2 1", "UTC", "2026-01-01T00:00:00"),
    ("0 0 31 * *", "Asia/Kathmandu", "2026-01-31T00:00:00"),
    ("0 0 30 4,6,9,11 *", "UTC", "2026-01-31T00:00:00"),
    ("59 59 23 31 12 *", "Europe/London", "2026-01-31T00:00:00"),
    ("0 0 1 1 */7", "UTC", "2026-01-31T00:00:00"),
]


def is_free(field):
    return field.startswith(("*", "?"))


def follows_the_clock(expression):
    if expression.startswith("@"):
        return expression == "@hourly"
    fields = expression.split()
    return any(map(is_free, fields[: len(fields) - 3]))


def instants(local, zone, free):
    """The instants of a time on the wall clock, by the rule above."""
    read = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = sorted({at for at in read if at.astimezone(zone).replace(tzinfo=None) == local})
    if free:
        return shown
    if shown:
        return shown[:1]
    low, high = min(read), max(read)
    while high - low > SECOND:
        middle = low + (high - low) // 2 // SECOND * SECOND
        if middle.astimezone(zone).replace(tzinfo=None) > local:
            high = middle
        else:
            low = middle
    return [high]


def due_times(expression, name, start):
    zone = ZoneInfo(name)
    free = follows_the_clock(expression)
    margin = dt.timedelta(hours=25 if name == "Pacific/Apia" else 3)
    local = start.astimezone(zone).replace(tzinfo=None) - margin
    walk = croniter(expression, local, implement_cron_bug=True, second_at_beginning=True)
    found = set()
    while True:
        local = walk.get_next(dt.datetime)
        if len(found) >= COUNT:
            last = sorted(found)[COUNT - 1].astimezone(zone).replace(tzinfo=None)
            if local > last + margin:
                return sorted(found)[:COUNT]
        found.update(at for at in instants(local, zone, free) if at > start)


def main():
    cases = [(e, zone, start) for zone, start in MOMENTS for e in EXPRESSIONS]
    for expression, zone, start in cases + RARE:
        start = dt.datetime.fromisoformat(start).replace(tzinfo=UTC)
        times = [start, *due_times(expression, zone, start)]
        steps = [str((b - a) // SECOND) for a, b in zip(times, times[1:])]
        print(expression, zone, start.strftime("%Y-%m-%dT%H:%M:%SZ"), " ".join(steps), sep="\t")


if __name__ == "__main__":
    main()
