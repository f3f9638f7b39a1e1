"""The charge models: what one charge comes to.

- A tier's upper bound belongs to it, and the next begins right behind: with `up_to` 100, of 100.5 units half
  a unit falls into the next tier.
- Zero units reach no tier, so no tier's flat amount is owed; a `flat` charge is owed always.
- The last tier has no end, so no usage is free by falling off the table.
- A period's units are rated together, never per event; only a percentage may look at single events.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from math import ceil

from farebox.invoices.charges import (
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
    Volume,
)
from farebox.invoices.rating.lines import (
    EXACT,
    WHOLE,
    ZERO,
    RatedLine,
    RatingError,
    Step,
    Usage,
    checked,
    rounded,
    usage_of,
)

_Steps = tuple[Decimal, tuple[Step, ...]]


def rate_one(
    charge: Charge,
    quantity: Decimal | int | Mapping[str, Usage],
    currency: str,
    *,
    share: Fraction = WHOLE,
) -> RatedLine:
    """Rate a period's usage under one charge; its own minimum and maximum are no part of it.

    `quantity` is what each meter came to, or the billable units alone. `share` is the part that is owed of a
    prorated amount. Raises `RatingError`, `CurrencyError`.
    """
    steps: tuple[Step, ...]
    with localcontext(EXACT):
        if isinstance(charge, Flat):
            total = usage_of(quantity).get(UNITS, Usage(ZERO)).total
            priced, steps = Decimal(1), (Step(Decimal(1), charge.amount, charge.amount),)
        elif isinstance(charge, Minimum | Maximum):
            raise RatingError(f"{charge.code!r} bounds the other charges and has no amount of its own")
        else:
            usage = usage_of(quantity).get(charge.meter)
            if usage is None:
                raise RatingError(f"charge {charge.code!r} needs the quantity of the meter {charge.meter!r}")
            total = checked(usage.total)
            priced, steps = _steps(charge, usage)
        exact = sum((step.amount for step in steps), ZERO)
    owed = WHOLE
    if isinstance(charge, Flat):
        owed = charge.share if charge.share is not None else share if charge.prorated else WHOLE
    return RatedLine(
        charge.code,
        model_of(charge),
        charge.description,
        total,
        priced,
        exact,
        rounded(currency, exact, owed, code=charge.code),
        steps,
        by_usage=counts_units(charge),
        share=owed,
    )


def counts_units(charge: Charge) -> bool:
    """Whether the charge prices usage."""
    return isinstance(charge, Metered)


def model_of(charge: Charge) -> str:
    """Return the name of the charge's model in the language."""
    return "per_unit" if isinstance(charge, PerUnit) else type(charge).__name__.lower()


def _steps(charge: Charge, usage: Usage) -> _Steps:
    units = usage.total
    match charge:
        case PerUnit():
            priced = max(ZERO, units - charge.included)
            step = Step(priced, charge.unit_price, priced * charge.unit_price, above=charge.included)
            return priced, (step,)
        case Graduated():
            return units, tuple(_climb(charge, units))
        case Volume():
            return units, tuple(_volume(charge, units))
        case Package():
            packages = Decimal(ceil(Fraction(max(ZERO, units - charge.included)) / Fraction(charge.size)))
            return packages, (Step(packages, charge.price, packages * charge.price, above=charge.included),)
        case Percentage():
            return _percentage(charge, usage)
    raise RatingError(f"charge {charge.code!r} prices no usage")


def _climb(charge: Graduated, units: Decimal) -> Iterable[Step]:
    floor = ZERO
    for tier in charge.tiers:
        if units <= floor:
            return
        inside = (units if tier.up_to is None else min(units, tier.up_to)) - floor
        amount = inside * tier.unit_price + tier.flat_amount
        yield Step(inside, tier.unit_price, amount, floor, tier.up_to, tier.flat_amount)
        floor += inside


def _volume(charge: Volume, units: Decimal) -> Iterable[Step]:
    if units == 0:
        return
    floor = ZERO
    for tier in charge.tiers:
        if tier.up_to is None or units <= tier.up_to:
            amount = units * tier.unit_price + tier.flat_amount
            yield Step(units, tier.unit_price, amount, floor, tier.up_to, tier.flat_amount)
            return
        floor = tier.up_to


def _percentage(charge: Percentage, usage: Usage) -> _Steps:
    rate = charge.percent.scaleb(-2)
    if charge.needs_each_event:
        return _by_event(charge, usage, rate)
    if charge.fee and usage.events is None:
        raise RatingError(f"charge {charge.code!r} has a fee and needs the number of events")
    priced = max(ZERO, usage.total - charge.included)
    steps = [Step(priced, rate, priced * rate, above=charge.included)]
    if charge.fee:
        events = Decimal(usage.events or 0)
        steps.append(Step(ZERO, ZERO, events * charge.fee, flat_amount=events * charge.fee))
    return priced, tuple(steps)


def _by_event(charge: Percentage, usage: Usage, rate: Decimal) -> _Steps:
    """Event by event, in order: the free ones, then those that the free amount covers, then the rest."""
    if usage.amounts is None:
        raise RatingError(f"charge {charge.code!r} needs the amount of each event")
    free_amount, priced, steps = charge.included, ZERO, []
    for number, amount in enumerate(usage.amounts):
        covered = min(free_amount, amount)
        free_amount -= covered
        if number < charge.free_events or (covered == amount and charge.included > 0):
            continue
        rest = amount - covered
        owed = rest * rate + charge.fee
        if charge.event_minimum is not None:
            owed = max(owed, charge.event_minimum)
        if charge.event_maximum is not None:
            owed = min(owed, charge.event_maximum)
        priced += rest
        steps.append(Step(rest, rate, owed, flat_amount=charge.fee))
    return priced, tuple(steps)
