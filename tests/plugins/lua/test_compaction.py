"""Deleted consumers leave holes in APISIX's array; filling them loses nobody."""

import random
from typing import Any

from tests.plugins.lua.runner import Nginx


def _config(names: list[str | None]) -> dict[str, Any]:
    return {
        "values": [False if name is None else {"value": {"id": name}} for name in names],
        "values_hash": {name: place for place, name in enumerate(names, 1) if name is not None},
    }


def test_holes_are_filled_and_every_name_is_found(lua: Nginx) -> None:
    """After all places were looked at there is no hole, and each name leads to its own entry."""
    seeded = random.Random(7)
    for size in (1, 2, 3, 40):
        for _ in range(10):
            names = [f"o{place}" if seeded.random() < 0.5 else None for place in range(size)]
            config = _config([*names, "last"])
            first = 1
            while first <= size + 1:
                _, config = lua.call("compaction", "fill", config, first, first + 6)
                first += 7
            values, places = config["values"], config["values_hash"]
            assert False not in values
            assert set(places) == {name for name in [*names, "last"] if name is not None}
            assert len(values) == len(places)
            assert all(values[place - 1]["value"]["id"] == name for name, place in places.items())


def test_a_look_says_whether_entries_moved(lua: Nginx) -> None:
    """Who walks the array in pieces must begin again only if one did."""
    assert lua.call("compaction", "fill", _config(["a", "b", None]), 1, 3)[0] is False
    assert lua.call("compaction", "fill", _config(["a", None, "b"]), 1, 3)[0] is True
