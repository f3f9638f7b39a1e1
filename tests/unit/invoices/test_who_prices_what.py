"""The table "who prices what" of docs/charges.md, cell by cell: each kind of charge under each event.

An event is what it leaves behind: the periods of the old and the new subscription, and the usage that names
them.
"""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from farebox import ids
from farebox.billing_details.parties import Seller
from farebox.clock import OrganizationTime
from farebox.coupons.service import Redemption
from farebox.invoices.drafting import Draft, draft
from farebox.invoices.rating import Discount
from farebox.invoices.terms import Metered, Party, Term
from farebox.usage.quantities import Count, Quantities

NOV, MID, DEC = (datetime(2026, month, day, tzinfo=UTC) for month, day in ((11, 1), (11, 16), (12, 1)))
JAN = datetime(2027, 1, 1, tzinfo=UTC)
SELLER = Seller(code="Farebox", legal_name="Farebox")
COUPON = Redemption(ids.uuid7(), "TENTH", "A tenth", Decimal(10), None, 1, None, NOV)
PARTY = Party(ids.uuid7(), "acmeacme01", "Acme", OrganizationTime())


def charge(model: str, **members: Any) -> dict[str, Any]:
    return {"code": "c", "model": model, "description": "d", **members}


CHARGES = {
    "flat, prorated": charge("flat", amount="30", prorate="second"),
    "flat, not prorated": charge("flat", amount="30"),
    "by usage": charge("per_unit", unit_price="0.01"),
    "minimum, prorated": charge("minimum", amount="30", prorate="second"),
    "minimum, not prorated": charge("minimum", amount="30"),
}


def period(
    charges: list[dict[str, Any]],
    start: datetime,
    end: datetime,
    *,
    units: int = 0,
    kind: str = "regular",
    is_last: bool = False,
    anchor_day: int = 1,
) -> Metered:
    term = Term(
        period_id=ids.uuid7(), subscription_id=ids.uuid7(), subscription="subsubsub1", plan="plan-1",
        currency="USD", charges=charges, time_zone="UTC", anchor_day=anchor_day, starts_at=start,
        ends_at=end, is_first=start == NOV, is_last=is_last, billed_units=0, invoiced=False,
        plan_code="plan", kind=kind,
    )  # fmt: skip
    return Metered(term, Quantities("served_v1", Count(units, units), {}))


def invoiced(metered: Metered, *, party: Party = PARTY) -> Draft:
    return draft(party, metered, (), seller=SELLER, retired=[], statement_digest=b"\0" * 32)


# What the old subscription's invoice and the new one's come to. The old one counted 1,000 requests, the new
# 500. Both anchored on the 1st, the change on the 16th: half of November is each one's.
EVENTS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "upgrade": (
        {"start": NOV, "end": MID, "units": 1000, "is_last": True},
        {"start": MID, "end": DEC, "units": 500},
    ),
    "downgrade": (
        {"start": NOV, "end": DEC, "units": 1000, "is_last": True},
        {"start": DEC, "end": JAN, "units": 500},
    ),
    "cancel": ({"start": NOV, "end": DEC, "units": 1000, "is_last": True}, None),
    "ended at once": ({"start": NOV, "end": MID, "units": 1000, "is_last": True}, None),
    "trial": ({"start": NOV, "end": MID, "units": 1000, "kind": "trial"}, None),
    "pause": ({"start": NOV, "end": DEC, "units": 1000, "kind": "paused"}, None),
}
TABLE = {
    ("flat, prorated", "upgrade"): (15_00, 15_00),
    ("flat, prorated", "downgrade"): (30_00, 30_00),
    ("flat, prorated", "cancel"): (30_00, None),
    ("flat, prorated", "ended at once"): (15_00, None),
    ("flat, not prorated", "upgrade"): (30_00, 30_00),
    ("flat, not prorated", "downgrade"): (30_00, 30_00),
    ("flat, not prorated", "cancel"): (30_00, None),
    ("flat, not prorated", "ended at once"): (30_00, None),
    ("by usage", "upgrade"): (10_00, 5_00),
    ("by usage", "downgrade"): (10_00, 5_00),
    ("by usage", "cancel"): (10_00, None),
    ("by usage", "ended at once"): (10_00, None),
    ("minimum, prorated", "upgrade"): (15_00, 15_00),
    ("minimum, prorated", "downgrade"): (30_00, 30_00),
    ("minimum, prorated", "cancel"): (30_00, None),
    ("minimum, prorated", "ended at once"): (15_00, None),
    ("minimum, not prorated", "upgrade"): (30_00, 30_00),
    ("minimum, not prorated", "downgrade"): (30_00, 30_00),
    ("minimum, not prorated", "cancel"): (30_00, None),
    ("minimum, not prorated", "ended at once"): (30_00, None),
    **{(name, event): (0, None) for name in CHARGES for event in ("trial", "pause")},
}


def test_the_table_is_whole() -> None:
    """No cell is left to chance."""
    assert set(TABLE) == {(name, event) for name in CHARGES for event in EVENTS}


@pytest.mark.parametrize(("cell", "expected"), TABLE.items())
def test_each_cell(cell: tuple[str, str], expected: tuple[int, int | None]) -> None:
    """What the old and the new subscription's invoices come to."""
    name, event = cell
    old, new = EVENTS[event]
    assert invoiced(period([CHARGES[name]], **old)).total.minor == expected[0]
    if new is not None:
        assert invoiced(period([CHARGES[name]], **new)).total.minor == expected[1]


@pytest.mark.parametrize("kind", ["trial", "paused"])
def test_units_that_owe_nothing_are_named(kind: str) -> None:
    """They were metered, so they stand on the invoice."""
    made = invoiced(period([CHARGES["by usage"]], NOV, MID, units=1000, kind=kind))
    [line] = made.lines
    assert (line.code, int(line.quantity), line.amount.minor) == ("usage", 1000, 0)
    assert made.snapshot["billable"] == {"requests": 1000, "units": 1000}


@pytest.mark.parametrize("event", list(EVENTS))
def test_coupons_under_each_event(event: str) -> None:
    """They apply where something is owed, and are not used up by a trial or a pause."""
    party = replace(PARTY, redemptions=(COUPON,))
    made = invoiced(period([CHARGES["flat, not prorated"]], **EVENTS[event][0]), party=party)
    if event in {"trial", "pause"}:
        assert (made.used, made.total.minor) == ((), 0)
    else:
        assert (made.used, made.total.minor) == ((COUPON.id,), 27_00)


def test_a_coupon_for_one_period_applies_once_in_a_run() -> None:
    """Two invoices of one organization drafted in one batch do not both take it."""
    party = replace(PARTY, redemptions=(COUPON,))
    first = period([CHARGES["flat, not prorated"]], NOV, DEC)
    again = draft(party, first, (), seller=SELLER, retired=[], statement_digest=b"", used={COUPON.id: 1})
    assert (again.used, again.total.minor) == ((), 30_00)


def test_a_coupon_for_other_plans_does_not_apply() -> None:
    """It is bound to the plans that it names."""
    party = replace(PARTY, redemptions=(replace(COUPON, plans=("other",)),))
    assert invoiced(period([CHARGES["flat, not prorated"]], NOV, DEC), party=party).total.minor == 30_00


def test_a_correction_has_the_coupons_of_then() -> None:
    """What November comes to now with its coupon, less what it came to then: 10 % off the late units too."""
    party = replace(PARTY, redemptions=(COUPON,))
    billed = invoiced(period([CHARGES["by usage"]], NOV, DEC, units=1000), party=party)
    assert billed.total.minor == 9_00
    november = period([CHARGES["by usage"]], NOV, DEC, units=1500)
    discounts = (Discount("TENTH", "A tenth", Decimal(10)),)
    november = replace(
        november,
        term=replace(november.term, billed_units=1000, invoiced=True, discounts=discounts),
    )
    made = draft(
        PARTY, period([CHARGES["by usage"]], DEC, JAN), [november],
        seller=SELLER, retired=[], statement_digest=b"",
    )  # fmt: skip
    corrections = [(line.code, line.amount.minor) for line in made.lines if line.of_period]
    assert corrections == [("c", 5_00), ("TENTH", -50)]
