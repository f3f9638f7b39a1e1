"""The stated bounds of what nodes together may do with a limit, and that both edges hand out such slices."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox_contract import counters
from farebox_gateway.edge.counters import redis_store

ROOT = Path(__file__).parents[3]


@given(st.integers(0, 10**12), st.integers(1, 64))
def test_one_node_alone_refuses_nothing_early_and_bounds_grow_by_node(limit: int, nodes: int) -> None:
    """Each further node may hold one more slice, of at most 512 units and a sixteenth of the limit."""
    slice_ = counters.largest_slice(limit)
    assert slice_ <= 512
    assert slice_ * 16 <= limit
    assert counters.early_refusals(limit, nodes) == (nodes - 1) * slice_
    assert counters.units_past_a_reseed(limit, nodes) == nodes * slice_


@given(st.integers(0, 5000), st.integers(1, 5), st.integers(1, 900), st.data())
def test_what_is_refused_early_stays_within_the_bound(
    limit: int, nodes: int, units: int, data: st.DataObject
) -> None:
    """However nodes ask, by the rule that Redis follows, a refusal is no earlier than is stated."""
    used, held = 0, [0] * nodes
    for node in data.draw(st.lists(st.integers(0, nodes - 1), max_size=200)):
        if held[node] < units:
            need = units - held[node]
            if used + need > limit:
                spent = used - sum(held)
                assert limit - spent <= counters.early_refusals(limit, nodes, units)
                continue
            handed = max(need, min(512, (limit - used) // 16))
            used, held[node] = used + handed, held[node] + handed
        held[node] -= units
    assert used - sum(held) <= limit


@pytest.mark.parametrize("pattern", ["LARGEST_SLICE = 512", "(limit - used[i]) / 16"])
def test_apisix_hands_out_slices_of_the_contract(pattern: str) -> None:
    """The Lua side holds the same numbers."""
    folder = ROOT / "plugins/apisix/plugins/farebox"
    text = (folder / "counters_redis.lua").read_text() + (folder / "redis_scripts.lua").read_text()
    assert pattern in text


def test_the_embedded_edge_hands_out_slices_of_the_contract() -> None:
    """The embedded side holds the same numbers."""
    assert redis_store.LARGEST_SLICE == counters.LARGEST_SLICE
    assert counters.SLICES == 16
