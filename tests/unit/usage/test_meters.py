"""Meters: what each measures, what its filters let through, and what cannot be a meter."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.usage.meters import BUILT_IN, Measured, Meter, MeterError, measure, parse

PERIOD = (
    Measured("k1", "messages", "POST", 200, 10, 30, 1000, 2000, 5000, 7),
    Measured("k1", "messages", "GET", 404, 4, 4, 40, 400, 100, 1),
    Measured("k2", "files", "GET", 200, 2, 50, 20, 90_000, 900, 45),
)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"aggregation": "count"}, 16),
        ({"aggregation": "count", "methods": ["GET"]}, 6),
        ({"aggregation": "count", "statuses": ["2xx"]}, 12),
        ({"aggregation": "count", "statuses": ["404", "5xx"]}, 4),
        ({"aggregation": "sum", "field": "units"}, 84),
        ({"aggregation": "sum", "field": "bytes_out", "routes": ["files"]}, 90_000),
        ({"aggregation": "max", "field": "units"}, 45),
        ({"aggregation": "max", "field": "units", "routes": ["messages"]}, 7),
        ({"aggregation": "max", "field": "units", "routes": ["nowhere"]}, 0),
        ({"aggregation": "unique", "field": "key"}, 2),
        ({"aggregation": "unique", "field": "key", "routes": ["messages"]}, 1),
        ({"aggregation": "unique", "field": "method"}, 2),
    ],
)
def test_a_meter_measures_what_its_filters_let_through(document: dict[str, Any], expected: int) -> None:
    """Worked by hand from three rows."""
    [meter] = parse([{"code": "m", **document}])
    assert meter.measure(PERIOD) == expected


def test_two_meters_are_always_there() -> None:
    """Units and requests are measured whatever a plan defines."""
    assert measure((), PERIOD) == {"units": 84, "requests": 16}
    assert set(measure(parse([{"code": "mine", "aggregation": "count"}]), PERIOD)) == {
        "units", "requests", "mine",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "meters"),
        ([{}] * 21, "meters"),
        (["m"], "meters[0]"),
        ([{"code": "M", "aggregation": "count"}], "meters[0].code"),
        ([{"code": "units", "aggregation": "count"}], "meters[0].code"),
        ([{"code": "a", "aggregation": "count"}, {"code": "a", "aggregation": "count"}], "meters[1].code"),
        ([{"code": "a", "aggregation": "average"}], "meters[0].aggregation"),
        ([{"code": "a", "aggregation": "count", "field": "units"}], "meters[0].field"),
        ([{"code": "a", "aggregation": "sum"}], "meters[0].field"),
        ([{"code": "a", "aggregation": "sum", "field": "ip"}], "meters[0].field"),
        ([{"code": "a", "aggregation": "max", "field": "bytes_in"}], "meters[0].field"),
        ([{"code": "a", "aggregation": "count", "statuses": ["6xx"]}], "meters[0].statuses[0]"),
        ([{"code": "a", "aggregation": "count", "methods": ["GET", "get"]}], "meters[0].methods[1]"),
        ([{"code": "a", "aggregation": "count", "routes": "messages"}], "meters[0].routes"),
        ([{"code": "a", "aggregation": "count", "colour": 1}], "meters[0].colour"),
    ],
)
def test_what_cannot_be_a_meter_is_refused_with_its_place(document: Any, place: str) -> None:
    """The place is the JSON path that a person has to go to."""
    with pytest.raises(MeterError) as raised:
        parse(document)
    assert raised.value.field == place


ROWS = st.builds(
    Measured,
    st.sampled_from("abc"),
    st.sampled_from(["r", "s"]),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from([200, 404, 500]),
    *[st.integers(0, 1000)] * 6,
)


@given(st.lists(ROWS, max_size=12), st.randoms(use_true_random=False))
def test_how_rows_are_cut_and_ordered_changes_nothing(rows: list[Measured], random: Any) -> None:
    """Sums add up over any cut of a period, maxima are the greatest of the parts; order never matters."""
    meters = (
        *BUILT_IN,
        Meter("m", "max", "units"),
        Meter("u", "unique", "key"),
        Meter("g", "count", "", (), ("GET",)),
    )
    shuffled = random.sample(rows, len(rows))
    cut = len(rows) // 2
    for meter in meters:
        whole, one, other = meter.measure(rows), meter.measure(rows[:cut]), meter.measure(rows[cut:])
        assert meter.measure(shuffled) == whole
        if meter.aggregation in {"sum", "count"}:
            assert one + other == whole
        elif meter.aggregation == "max":
            assert max(one, other) == whole
        else:
            assert max(one, other) <= whole <= one + other
