"""The rating language refuses what it cannot mean, and says where and what to write instead."""

from decimal import Decimal
from typing import Any

import pytest

from farebox.invoices.charges import ChargeError, Flat, Graduated, PerUnit, Tier, parse, parse_billable

BASE: dict[str, Any] = {"code": "base", "model": "flat", "description": "Starter plan", "amount": "10.00"}
REQUESTS: dict[str, Any] = {
    "code": "requests", "model": "per_unit", "description": "Requests", "included": "10000",
    "unit_price": "0.01",
}  # fmt: skip
TIERS: dict[str, Any] = {
    "code": "calls", "model": "graduated", "description": "Calls",
    "tiers": [{"up_to": "100", "unit_price": "0.10", "flat_amount": "5"}, {"up_to": None, "unit_price": "0"}],
}  # fmt: skip


def test_every_model_is_read() -> None:
    """The three models of this version, with and without what is optional."""
    assert parse([BASE, REQUESTS, TIERS]) == (
        Flat(code="base", description="Starter plan", amount=Decimal("10.00")),
        PerUnit(code="requests", description="Requests", unit_price=Decimal("0.01"), included=Decimal(10000)),
        Graduated(
            code="calls",
            description="Calls",
            tiers=(Tier(Decimal(100), Decimal("0.10"), Decimal(5)), Tier(None, Decimal(0))),
        ),
    )


def tiers(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    return [TIERS | {"tiers": list(entries)}]


OPEN = {"up_to": None, "unit_price": "1"}


@pytest.mark.parametrize(
    ("document", "field", "problem"),
    [
        ({}, "charges", "expected a list of 1 to 50"),
        ([], "charges", "expected a list of 1 to 50"),
        ([7], "charges[0]", "expected an object, got a number"),
        ([{}], "charges[0].model", "expected one of flat, per_unit, graduated"),
        ([BASE | {"model": ["flat"]}], "charges[0].model", "expected one of"),
        ([BASE | {"amount": 10.0}], "charges[0].amount", 'as a string, such as "0.01", got a number'),
        ([BASE | {"amount": "-1"}], "charges[0].amount", "0 or more"),
        ([BASE | {"amount": "1e3"}], "charges[0].amount", "decimal number"),
        ([BASE | {"amount": "NaN"}], "charges[0].amount", "decimal number"),
        ([BASE | {"amount": "\u0661"}], "charges[0].amount", "decimal number"),
        ([BASE | {"amount": "1\n"}], "charges[0].amount", "decimal number"),
        ([BASE | {"amount": "0." + "1" * 13}], "charges[0].amount", "12 behind it"),
        ([BASE | {"price": "1"}], "charges[0].price", "is not known here; there are amount, code"),
        ([BASE | {"code": "Base"}], "charges[0].code", "a letter first"),
        ([BASE | {"description": "a\x07b"}], "charges[0].description", "printable"),
        ([{"code": "base", "model": "flat", "description": "x"}], "charges[0].amount", "is missing"),
        ([BASE, BASE], "charges[1].code", "used twice"),
        ([REQUESTS | {"included": "1.0000001"}], "charges[0].included", "6 behind it"),
        (tiers(), "charges[0].tiers", "expected a list of 1 to 100"),
        (tiers(OPEN, OPEN), "charges[0].tiers[0].up_to", "only the last tier may be null"),
        (tiers(OPEN | {"up_to": "5"}), "charges[0].tiers[0].up_to", "write null"),
        (tiers(OPEN | {"up_to": "0"}, OPEN), "charges[0].tiers[0].up_to", "more than 0"),
        (
            tiers(OPEN | {"up_to": "5"}, OPEN | {"up_to": "5.0"}, OPEN),
            "charges[0].tiers[1].up_to",
            "more than 5",
        ),
        (tiers({"up_to": None}), "charges[0].tiers[0].unit_price", "is missing"),
        (tiers(OPEN | {"price": "1"}), "charges[0].tiers[0].price", "is not known here"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(document: Any, field: str, problem: str) -> None:
    """The error names the field and the remedy."""
    with pytest.raises(ChargeError) as refusal:
        parse(document)
    assert refusal.value.field == field
    assert problem in refusal.value.problem


@pytest.mark.parametrize(
    ("charge", "bounded", "field"),
    [
        ({"model": "per_unit", "unit_price": "1", "meter": "traffic"}, True, "charges[0].meter"),
        ({"model": "per_unit", "unit_price": "1", "meter": "seats"}, False, "charges[0].meter"),
        ({"model": "flat", "amount": "1", "share": "1/2"}, True, "charges[0].share"),
        ({"model": "maximum", "amount": "1"}, False, "charges[0].model"),
        ({"model": "percentage", "percent": "1", "free_events": 3}, True, "charges[0]"),
    ],
)
def test_what_billing_cannot_compute_is_not_published(
    charge: dict[str, Any], bounded: bool, field: str
) -> None:
    """Each with its place, before anybody is on it: later it would stop an organization's invoices."""
    document = [{"code": "x", "description": "x", **charge}]
    with pytest.raises(ChargeError) as refusal:
        parse_billable(document, meters=("seats",) if bounded else (), bounded=bounded)
    assert refusal.value.field == field


def test_a_charge_prices_a_meter_of_its_plan() -> None:
    """The plan's own meters, and the two that are always there."""
    document = [
        {"code": meter, "description": "x", "model": "per_unit", "unit_price": "1", "meter": meter}
        for meter in ("units", "requests", "seats")
    ]
    assert len(parse_billable(document, meters=("seats",))) == 3
