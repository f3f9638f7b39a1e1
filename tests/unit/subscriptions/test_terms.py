"""What holds for one organization: its plan's terms, widened, overridden, and capped."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from farebox.alerts.caps import cost, units_within
from farebox.invoices import charges as charge_language
from farebox.money import Money
from farebox.subscriptions.terms import Own, Piece, limits_of, quota_of

MINUTE = {"name": "minute", "requests": 60, "window": 60}
SOFT = {"units": 10_000, "kind": "soft"}
STARTER: list[dict[str, Any]] = [
    {"code": "base", "model": "flat", "description": "Starter", "amount": "10.00"},
    {
        "code": "requests",
        "model": "per_unit",
        "description": "More",
        "included": "10000",
        "unit_price": "0.01",
    },
]


def tiers(*parts: tuple[str | None, str]) -> list[dict[str, Any]]:
    """A graduated charge."""
    described = [{"up_to": up_to, "unit_price": price} for up_to, price in parts]
    return [{"code": "t", "model": "graduated", "description": "Tiers", "tiers": described}]


def test_nothing_of_its_own_changes_nothing() -> None:
    """The plan's limits and quota hold."""
    own = Own(plan_limits=[MINUTE], plan_quota=SOFT)
    assert (limits_of(own), quota_of(own)) == ([MINUTE], SOFT)


def test_add_ons_widen_and_an_override_replaces() -> None:
    """Pieces add their units; an operator's word stands above both."""
    pieces = (Piece(3, 1_000, [{"name": "minute", "requests": 120, "window": 60}]),)
    own = Own(plan_limits=[MINUTE], plan_quota=SOFT, pieces=pieces)
    assert limits_of(own) == [{"name": "minute", "requests": 120, "window": 60}]
    assert quota_of(own) == {"units": 13_000, "kind": "soft"}
    mine = Own(plan_limits=[MINUTE], plan_quota=SOFT, pieces=pieces, limits=[], quota=dict(SOFT, units=5))
    assert (limits_of(mine), quota_of(mine)) == ([], {"units": 5, "kind": "soft"})


def test_a_cap_makes_the_quota_hard_where_it_would_be_passed() -> None:
    """10 dollars and a cent a request beyond 10,000: 60 dollars are reached at 15,000."""
    own = Own(plan_quota=SOFT, plan_charges=STARTER, cap=Money("USD", 6000))
    assert quota_of(own) == {"units": 15_000, "kind": "hard"}
    base = Own(plan_quota=SOFT, plan_charges=STARTER, cap=Money("USD", 1000))
    assert quota_of(base) == {"units": 10_000, "kind": "hard"}


def test_a_cap_never_widens_a_hard_quota() -> None:
    """The lower of the two holds."""
    hard = {"units": 500, "kind": "hard"}
    assert quota_of(Own(plan_quota=hard, plan_charges=STARTER, cap=Money("USD", 6000))) == hard


def test_a_plan_that_costs_the_same_whatever_is_used_has_no_units_to_stop_at() -> None:
    """A flat plan within the cap stays unlimited; one beyond it is told apart."""
    flat = STARTER[:1]
    assert units_within(flat, Money("USD", 1000)) is None
    assert units_within(flat, Money("USD", 999)) == -1
    assert quota_of(Own(plan_charges=flat, cap=Money("USD", 1000))) is None


@given(
    prices=st.lists(st.integers(0, 300), min_size=1, max_size=4),
    widths=st.lists(st.integers(1, 400), min_size=4, max_size=4),
    cap=st.integers(0, 100_000),
)
def test_units_within_is_the_last_that_is_not_beyond(prices: list[int], widths: list[int], cap: int) -> None:
    """At that many units the cap holds, at one more it does not; checked against the price itself."""
    edges = [sum(widths[: index + 1]) for index in range(len(prices) - 1)]
    parts = [(str(edge), f"0.{price:04}") for edge, price in zip(edges, prices[:-1], strict=True)]
    document = tiers(*parts, (None, f"0.{prices[-1]:04}"))
    charges = charge_language.parse(document)
    within = units_within(document, Money("USD", cap))
    if within is None:
        assert cost(charges, 10**12, "USD").minor <= cap
    else:
        assert cost(charges, within, "USD").minor <= cap < cost(charges, within + 1, "USD").minor
