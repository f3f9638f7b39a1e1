"""Counts and prices raw usage lines with nothing but the standard library: an oracle that shares no code.

Run it by hand on any log: `python tests/scenarios/recount.py ORG LOG…` prints the billable units.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path


def recount(logs: Iterable[Path], organization: str, subscription: str | None = None) -> int:
    """Units of live, answered, not refused and not failed requests of the organization, each counted once."""
    seen, units = set(), 0
    for log in logs:
        for text in log.read_text().splitlines():
            line = json.loads(text)
            place = (line["node"], line["boot"], line["worker"], line["seq"])
            if place in seen or line.get("org") != organization or line.get("env") != "live":
                continue
            if subscription is not None and line["sub"] != subscription:
                continue
            seen.add(place)
            answered = line["outcome"] == "served" and line["status"] < 500
            left_late = line["outcome"] == "client_closed" and line["status"] not in {0, 499}
            units += line["units"] if answered or left_late else 0
    return units


if __name__ == "__main__":
    print(recount([Path(name) for name in sys.argv[2:]], sys.argv[1].removeprefix("org_")))
