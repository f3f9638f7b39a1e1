"""The rules of dunning: a plan's are laid over the house's, an organization's over its plan's. Pure.

Each layer says only what differs; what it does not name is the layer's below. Knows no case and no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

LONGEST_DAYS: Final = 730
MOST_STEPS: Final = 20
FIELDS: Final = frozenset({"retries", "reminders", "grace", "suspend_after"})


class PolicyError(ValueError):
    """The rules cannot be followed; the text names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Days are counted from the due date, 24 hours each.

    `retries`: when the card is charged again. `reminders`: when a letter goes out. `suspend_after`: when
    service ends; None: never. `grace`: nobody is cut off within so many days of the case's opening (or its
    resumption), however late we are.
    """

    retries: tuple[int, ...]
    reminders: tuple[int, ...]
    grace: int
    suspend_after: int | None


def layered(*layers: Mapping[str, Any] | None) -> Policy:
    """Return the rules that follow from layers, the house's (which is whole) first. Raises `PolicyError`."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer or {}
    missing = sorted(FIELDS - merged.keys())
    if missing:
        raise PolicyError(f"the rules of the house must name {', '.join(missing)}")
    check(merged)
    return Policy(
        tuple(merged["retries"]), tuple(merged["reminders"]), merged["grace"], merged["suspend_after"]
    )


def check(layer: Mapping[str, Any]) -> None:
    """Raise `PolicyError` unless every field of the layer is known and can be followed."""
    unknown = sorted(layer.keys() - FIELDS)
    if unknown:
        raise PolicyError(f"{unknown[0]}: is no rule; the rules are {', '.join(sorted(FIELDS))}")
    for name in ("retries", "reminders"):
        days = layer.get(name, ())
        if not isinstance(days, list | tuple) or len(days) > MOST_STEPS:
            raise PolicyError(f"{name}: must be a list of at most {MOST_STEPS} days, such as [0, 3, 7]")
        for day in days:
            _check_days(name, day)
        if any(later <= earlier for earlier, later in pairwise(days)):
            raise PolicyError(f"{name}: each day must come after the one before; write them in order")
    if "grace" in layer:
        _check_days("grace", layer["grace"])
    if layer.get("suspend_after") is not None:
        _check_days("suspend_after", layer["suspend_after"])


def _check_days(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LONGEST_DAYS:
        raise PolicyError(f"{name}: must be a whole number of days from 0 to {LONGEST_DAYS}, not {value!r}")
