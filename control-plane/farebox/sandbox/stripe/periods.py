"""Where a billing period of Stripe's ends. Pure."""

import calendar
import datetime as dt
from typing import Final

from farebox.sandbox.store import Obj

_DAY: Final = 86_400
_MONTHS: Final = {"month": 1, "year": 12}


def after(start: int, anchor: int, price: Obj) -> int:
    """The end of the period that begins at `start`: months keep the anchor's day where they have it."""
    interval, count = price["recurring"]["interval"], price["recurring"]["interval_count"]
    if interval in {"day", "week"}:
        return start + int(count) * _DAY * (7 if interval == "week" else 1)
    moment = dt.datetime.fromtimestamp(start, dt.UTC)
    months = moment.year * 12 + moment.month - 1 + count * _MONTHS[interval]
    year, month = divmod(months, 12)
    day = dt.datetime.fromtimestamp(anchor, dt.UTC).day
    last = calendar.monthrange(year, month + 1)[1]
    return int(moment.replace(year=year, month=month + 1, day=min(day, last)).timestamp())
