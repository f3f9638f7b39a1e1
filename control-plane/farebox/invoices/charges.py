"""The rating language: what a plan version charges, read from JSON into values that cannot be nonsense.

A plan version holds a list of charges; each is an object with `code`, `model` and `description`:

- `flat`: `amount`, once per period, however short the period;
- `per_unit`: `unit_price`, and `included` units that come off first (absent: none);
- `graduated`: `tiers`, each with `up_to` (included; null in the last), `unit_price` and, if wanted, a
  `flat_amount` that is owed once any part of a unit falls into the tier.

Numbers are decimal strings in major units, never JSON numbers: a float has already lost what was meant.
This module knows the form of charges, not what they come to: that is `farebox.invoices.rating`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

_CODE: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_PRICE: Final = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?")
_UNITS: Final = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?")
MAX_CHARGES: Final = 50
MAX_TIERS: Final = 100
MAX_DESCRIPTION: Final = 200


class ChargeError(ValueError):
    """A charge that cannot be read. `field` is its place, such as `charges[1].tiers[0].up_to`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Flat:
    """An amount owed once per period."""

    code: str
    description: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class PerUnit:
    """A price for each unit beyond those included."""

    code: str
    description: str
    unit_price: Decimal
    included: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tier:
    """A stretch of units, from the end of the tier before (excluded) to `up_to` (included, None: no end)."""

    up_to: Decimal | None
    unit_price: Decimal
    flat_amount: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Graduated:
    """Each unit at the price of the tier it falls into."""

    code: str
    description: str
    tiers: tuple[Tier, ...]


Charge = Flat | PerUnit | Graduated


def parse(document: Any) -> tuple[Charge, ...]:
    """Read a plan version's list of charges. Raises `ChargeError` naming the field and the remedy."""
    entries = _list(document, "charges", MAX_CHARGES)
    charges = tuple(parse_one(entry, f"charges[{index}]") for index, entry in enumerate(entries))
    seen: set[str] = set()
    for index, charge in enumerate(charges):
        if charge.code in seen:
            raise ChargeError(f"charges[{index}].code", f"{charge.code!r} is used twice; each needs its own")
        seen.add(charge.code)
    return charges


def parse_one(document: Any, field: str = "charge") -> Charge:
    """Read one charge; `field` is where it stands, for the error. Raises `ChargeError`."""
    if not isinstance(document, Mapping):
        raise ChargeError(field, f"expected an object, got {_kind(document)}")
    model = document.get("model")
    if not isinstance(model, str) or model not in _MODELS:
        raise ChargeError(f"{field}.model", f"expected one of {', '.join(_MODELS)}, got {_shown(model)}")
    return _MODELS[model](document, field)


def units(value: Any, field: str) -> Decimal:
    """Read a number of units: a decimal string of at most 18 digits before the point and 6 behind it."""
    return _decimal(value, field, _UNITS, "units", "at most 18 digits before the point and 6 behind it")


def _flat(document: Mapping[str, Any], field: str) -> Flat:
    _only(document, field, required={"amount"})
    return Flat(*_named(document, field), _price(document["amount"], f"{field}.amount"))


def _per_unit(document: Mapping[str, Any], field: str) -> PerUnit:
    _only(document, field, required={"unit_price"}, optional={"included"})
    return PerUnit(
        *_named(document, field),
        _price(document["unit_price"], f"{field}.unit_price"),
        units(document.get("included", "0"), f"{field}.included"),
    )


def _graduated(document: Mapping[str, Any], field: str) -> Graduated:
    _only(document, field, required={"tiers"})
    entries = _list(document["tiers"], f"{field}.tiers", MAX_TIERS)
    tiers: list[Tier] = []
    floor = Decimal(0)
    for index, entry in enumerate(entries):
        place = f"{field}.tiers[{index}]"
        tier = _tier(entry, place)
        is_last = index == len(entries) - 1
        if is_last != (tier.up_to is None):
            raise ChargeError(
                f"{place}.up_to",
                "the last tier has no end: write null" if is_last else "only the last tier may be null",
            )
        if tier.up_to is not None:
            if tier.up_to <= floor:
                raise ChargeError(f"{place}.up_to", f"expected more than {floor}, where the tier begins")
            floor = tier.up_to
        tiers.append(tier)
    return Graduated(*_named(document, field), tuple(tiers))


def _tier(document: Any, field: str) -> Tier:
    if not isinstance(document, Mapping):
        raise ChargeError(field, f"expected an object, got {_kind(document)}")
    _members(document, field, required={"up_to", "unit_price"}, optional={"flat_amount"})
    up_to = document["up_to"]
    return Tier(
        None if up_to is None else units(up_to, f"{field}.up_to"),
        _price(document["unit_price"], f"{field}.unit_price"),
        _price(document.get("flat_amount", "0"), f"{field}.flat_amount"),
    )


_MODELS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Charge]]] = MappingProxyType(
    {"flat": _flat, "per_unit": _per_unit, "graduated": _graduated}
)


def _named(document: Mapping[str, Any], field: str) -> tuple[str, str]:
    code, description = document["code"], document["description"]
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ChargeError(f"{field}.code", "expected 1 to 40 characters of a-z, 0-9, _ and -, a letter first")
    if (
        not isinstance(description, str)
        or not 0 < len(description) <= MAX_DESCRIPTION
        or not description.isprintable()
    ):
        raise ChargeError(f"{field}.description", f"expected 1 to {MAX_DESCRIPTION} printable characters")
    return code, description


def _only(
    document: Mapping[str, Any], field: str, *, required: set[str], optional: set[str] | None = None
) -> None:
    _members(
        document, field, required={"code", "model", "description"} | required, optional=optional or set()
    )


def _members(document: Mapping[str, Any], field: str, *, required: set[str], optional: set[str]) -> None:
    for name in sorted(required - document.keys()):
        raise ChargeError(f"{field}.{name}", "is missing")
    for name in sorted(document.keys() - required - optional):
        known = ", ".join(sorted(required | optional))
        raise ChargeError(f"{field}.{name}", f"is not known here; there are {known}")


def _list(document: Any, field: str, most: int) -> Sequence[Any]:
    if not isinstance(document, list) or not 1 <= len(document) <= most:
        raise ChargeError(field, f"expected a list of 1 to {most}")
    return document


def _price(value: Any, field: str) -> Decimal:
    return _decimal(value, field, _PRICE, "price", "at most 12 digits before the point and 12 behind it")


def _decimal(value: Any, field: str, form: re.Pattern[str], noun: str, limits: str) -> Decimal:
    if not isinstance(value, str):
        raise ChargeError(field, f'expected the {noun} as a string, such as "0.01", got {_kind(value)}')
    if not value.isascii() or not form.fullmatch(value):
        raise ChargeError(field, f"expected a decimal number of 0 or more, {limits}, got {_shown(value)}")
    return Decimal(value)


def _kind(value: Any) -> str:
    names: Mapping[type, str] = {
        dict: "an object", list: "a list", str: "a string", bool: "a boolean",
        int: "a number", float: "a number", type(None): "null",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
