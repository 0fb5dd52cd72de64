"""The moment at which a run looks at the world: the end of its run date."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np

from tsforecast.batch.exits import ConfigError

__all__ = ["AsOf"]

_LAST_YEAR = 9998  # so that the day after has a date


@dataclass(frozen=True)
class AsOf:
    """A run date, whose end in a time zone is the cut: a row counts if it lies before.

    A time without a zone is that of a clock in `timezone`, so that daily stamps are compared by
    their date; one with a zone is compared by its moment, so that a day on which clocks change has
    23 or 25 hours.

    Attributes
    ----------
    run_date : date
    timezone : str
        Such as "UTC" or "America/New_York".

    Examples
    --------
    >>> import datetime
    >>> as_of = AsOf(datetime.date(2024, 3, 10), "America/New_York")
    >>> as_of.moment.isoformat()
    '2024-03-11T04:00:00+00:00'
    >>> print(as_of.clock)
    2024-03-11T00:00:00.000000
    """

    run_date: dt.date
    timezone: str = "UTC"

    @cached_property
    def next_midnight(self) -> dt.datetime:
        """The end of the run date, on a clock in its time zone.

        Raises
        ------
        ConfigError
            If the date lies beyond all calendars.
        """
        if self.run_date.year > _LAST_YEAR:
            raise ConfigError.of(
                "run date",
                expected=f"a year of at most {_LAST_YEAR}",
                found=str(self.run_date),
                advice="Write it as YYYY-MM-DD.",
            )
        day_after = self.run_date + dt.timedelta(days=1)
        return dt.datetime.combine(day_after, dt.time.min, ZoneInfo(self.timezone))

    @cached_property
    def moment(self) -> dt.datetime:
        """The first moment after the run date, in UTC."""
        # where clocks are put forward at midnight, or back to it, this is the first moment after
        return self.next_midnight.astimezone(dt.UTC)

    @cached_property
    def clock(self) -> np.datetime64:
        """The first time after the run date, without a zone."""
        return np.datetime64(self.next_midnight.replace(tzinfo=None), "us")

    @cached_property
    def last(self) -> dt.datetime:
        """The last microsecond of the run date, on a clock in its time zone, without the zone."""
        return self.next_midnight.replace(tzinfo=None) - dt.timedelta(microseconds=1)
