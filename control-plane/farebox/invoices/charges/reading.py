"""Reading charges from JSON. What cannot be read is refused with its place and the remedy.

Numbers are decimal strings in major units, never JSON numbers: a float has already lost what was meant.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from farebox.invoices.charges.values import (
    UNITS,
    Charge,
    Flat,
    Graduated,
    Maximum,
    Metered,
    Minimum,
    Package,
    Percentage,
    PerUnit,
    Tier,
    Volume,
)
from farebox.usage.meters import RESERVED

_CODE: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_METER: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_PRICE: Final = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?")
_UNITS: Final = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?")
_SHARE: Final = re.compile(r"[0-9]{1,15}/[1-9][0-9]{0,9}", re.ASCII)
_PERCENT: Final = re.compile(r"(0|[1-9][0-9]{0,2})(\.[0-9]{1,6})?")
_METERED: Final = frozenset({"meter", "minimum", "maximum", "prorate"})
MAX_CHARGES: Final = 50
MAX_TIERS: Final = 100
MAX_DESCRIPTION: Final = 200
MAX_FREE_EVENTS: Final = 10**9


class ChargeError(ValueError):
    """A charge that cannot be read. `field` is its place, such as `charges[1].tiers[0].up_to`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def parse(document: Any, *, most: int = MAX_CHARGES) -> tuple[Charge, ...]:
    """Read a list of charges, up to `most` of them. Raises `ChargeError` naming the field and the remedy."""
    entries = _list(document, "charges", most)
    charges = tuple(parse_one(entry, f"charges[{index}]") for index, entry in enumerate(entries))
    seen: set[str] = set()
    for index, charge in enumerate(charges):
        if charge.code in seen:
            raise ChargeError(f"charges[{index}].code", f"{charge.code!r} is used twice; each needs its own")
        seen.add(charge.code)
    for model, kind in (("minimum", Minimum), ("maximum", Maximum)):
        places = [index for index, charge in enumerate(charges) if isinstance(charge, kind)]
        if len(places) > 1:
            raise ChargeError(f"charges[{places[1]}].model", f"a plan has one {model} at most")
    bounds = {type(each): each.amount for each in charges if isinstance(each, Minimum | Maximum)}
    if len(bounds) == 2 and bounds[Minimum] > bounds[Maximum]:
        raise ChargeError("charges", "the plan's minimum is above its maximum")
    return charges


def parse_billable(
    document: Any, *, meters: Collection[str] = (), bounded: bool = True
) -> tuple[Charge, ...]:
    """Read charges that are to be published: what the billing run can compute from `meters`, the codes of the
    plan's own; `units` and `requests` are always there. `bounded`: they may bound the period as a whole.

    Raises `ChargeError` as `parse` does, and for a charge that needs single events, names a meter that is not
    there, or says what only pieces of add-ons say.
    """
    charges = parse(document)
    for index, (entry, charge) in enumerate(zip(document, charges, strict=True)):
        place = f"charges[{index}]"
        if "share" in entry:
            raise ChargeError(f"{place}.share", "follows from the period; leave it out")
        if not bounded and isinstance(charge, Minimum | Maximum):
            raise ChargeError(
                f"{place}.model", f"a {entry['model']} bounds a whole period; it belongs in a plan"
            )
        if isinstance(charge, Metered) and charge.meter not in {*RESERVED, *meters}:
            known = ", ".join((*RESERVED, *meters))
            raise ChargeError(
                f"{place}.meter",
                f"there is no meter {charge.meter!r}; there are {known}; define it in meters"
                if bounded
                else f"an add-on goes with any plan, so its charges price {known} alone",
            )
        if isinstance(charge, Percentage) and charge.needs_each_event:
            raise ChargeError(
                place,
                "needs each event's amount, which is not kept: leave out free_events, event_minimum, "
                "event_maximum, and included beside a fee",
            )
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
    _only(document, field, required={"amount"}, optional={"prorate", "share"})
    share = document.get("share")
    if share is not None and (not isinstance(share, str) or not _SHARE.fullmatch(share)):
        raise ChargeError(f"{field}.share", f'expected a fraction, such as "10/30", got {_shown(share)}')
    return Flat(
        **_named(document, field),
        amount=_price(document["amount"], f"{field}.amount"),
        share=None if share is None else Fraction(share),
    )


def _minimum(document: Mapping[str, Any], field: str) -> Minimum:
    _only(document, field, required={"amount"}, optional={"prorate"})
    return Minimum(**_named(document, field), amount=_price(document["amount"], f"{field}.amount"))


def _maximum(document: Mapping[str, Any], field: str) -> Maximum:
    _only(document, field, required={"amount"}, optional={"prorate"})
    return Maximum(**_named(document, field), amount=_price(document["amount"], f"{field}.amount"))


def _per_unit(document: Mapping[str, Any], field: str) -> PerUnit:
    _only(document, field, required={"unit_price"}, optional={"included", *_METERED})
    return PerUnit(
        **_metered(document, field),
        unit_price=_price(document["unit_price"], f"{field}.unit_price"),
        included=units(document.get("included", "0"), f"{field}.included"),
    )


def _package(document: Mapping[str, Any], field: str) -> Package:
    _only(document, field, required={"size", "price"}, optional={"included", *_METERED})
    size = units(document["size"], f"{field}.size")
    if size == 0:
        raise ChargeError(f"{field}.size", "expected more than 0")
    return Package(
        **_metered(document, field),
        size=size,
        price=_price(document["price"], f"{field}.price"),
        included=units(document.get("included", "0"), f"{field}.included"),
    )


def _percentage(document: Mapping[str, Any], field: str) -> Percentage:
    names = {"fee", "included", "free_events", "event_minimum", "event_maximum"}
    _only(document, field, required={"percent"}, optional={*names, *_METERED})
    free = document.get("free_events", 0)
    if type(free) is not int or not 0 <= free <= MAX_FREE_EVENTS:
        raise ChargeError(f"{field}.free_events", "expected a whole number of events, 0 or more")
    low, high = (_bound(document, name, field) for name in ("event_minimum", "event_maximum"))
    if low is not None and high is not None and low > high:
        raise ChargeError(f"{field}.event_minimum", "is above event_maximum")
    return Percentage(
        **_metered(document, field),
        percent=_decimal(
            document["percent"],
            f"{field}.percent",
            _PERCENT,
            "percentage",
            "below 1000, at most 6 digits behind the point",
        ),
        fee=_price(document.get("fee", "0"), f"{field}.fee"),
        included=_price(document.get("included", "0"), f"{field}.included"),
        free_events=free,
        event_minimum=low,
        event_maximum=high,
    )


def _graduated(document: Mapping[str, Any], field: str) -> Graduated:
    _only(document, field, required={"tiers"}, optional=set(_METERED))
    return Graduated(**_metered(document, field), tiers=_tiers(document["tiers"], f"{field}.tiers"))


def _volume(document: Mapping[str, Any], field: str) -> Volume:
    _only(document, field, required={"tiers"}, optional=set(_METERED))
    return Volume(**_metered(document, field), tiers=_tiers(document["tiers"], f"{field}.tiers"))


def _tiers(document: Any, field: str) -> tuple[Tier, ...]:
    entries = _list(document, field, MAX_TIERS)
    tiers: list[Tier] = []
    floor = Decimal(0)
    for index, entry in enumerate(entries):
        place = f"{field}[{index}]"
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
    return tuple(tiers)


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
    {
        "flat": _flat,
        "per_unit": _per_unit,
        "graduated": _graduated,
        "volume": _volume,
        "package": _package,
        "percentage": _percentage,
        "minimum": _minimum,
        "maximum": _maximum,
    }
)


def _named(document: Mapping[str, Any], field: str) -> dict[str, Any]:
    code, description = document["code"], document["description"]
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ChargeError(f"{field}.code", "expected 1 to 40 characters of a-z, 0-9, _ and -, a letter first")
    if (
        not isinstance(description, str)
        or not 0 < len(description) <= MAX_DESCRIPTION
        or not description.isprintable()
    ):
        raise ChargeError(f"{field}.description", f"expected 1 to {MAX_DESCRIPTION} printable characters")
    prorate = document.get("prorate")
    if prorate not in {None, "second"}:
        raise ChargeError(f"{field}.prorate", f'expected "second", or nothing, got {_shown(prorate)}')
    return {"code": code, "description": description, "prorated": prorate is not None}


def _metered(document: Mapping[str, Any], field: str) -> dict[str, Any]:
    named = _named(document, field)
    meter = document.get("meter", UNITS)
    if not isinstance(meter, str) or not _METER.fullmatch(meter):
        raise ChargeError(f"{field}.meter", "expected a meter's code")
    low, high = (_bound(document, name, field) for name in ("minimum", "maximum"))
    if low is not None and high is not None and low > high:
        raise ChargeError(f"{field}.minimum", "is above maximum")
    if named["prorated"] and low is None and high is None:
        raise ChargeError(
            f"{field}.prorate", "only amounts are prorated: it goes with minimum or maximum here"
        )
    return named | {"meter": meter, "minimum": low, "maximum": high}


def _bound(document: Mapping[str, Any], name: str, field: str) -> Decimal | None:
    return _price(document[name], f"{field}.{name}") if name in document else None


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
