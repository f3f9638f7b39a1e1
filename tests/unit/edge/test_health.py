"""When a node counts as unhealthy, and when as healthy again."""

from farebox_gateway.edge.health import Checker, Target

CHECKS = {
    "active": {},
    "passive": {
        "healthy": {"http_statuses": [200], "successes": 2},
        "unhealthy": {"http_statuses": [500], "http_failures": 2, "tcp_failures": 1, "timeouts": 0},
    },
}


def _checker() -> Checker:
    return Checker("/apisix/upstreams/u", CHECKS, {"a:1": Target("a", 1, "a"), "b:1": Target("b", 1, "b")})


def _state(checker: Checker, key: str = "a:1") -> str:
    return checker.nodes[key].state


def test_failures_in_a_row() -> None:
    """As many failures as the limit, without a success between them, take a node out; only it."""
    checker = _checker()
    checker.answered("a:1", 500)
    assert _state(checker) == "mostly_healthy"
    checker.answered("a:1", 200)
    checker.answered("a:1", 500)
    assert checker.is_up("a:1")
    checker.answered("a:1", 500)
    assert not checker.is_up("a:1")
    assert checker.is_up("b:1")


def test_successes_bring_a_node_back() -> None:
    """As many successes as the limit bring it back; a failure between them starts the count anew."""
    checker = _checker()
    checker.failed("a:1", "tcp_failure")
    assert _state(checker) == "unhealthy"
    checker.answered("a:1", 200)
    assert _state(checker) == "mostly_unhealthy"
    checker.answered("a:1", 500)
    checker.answered("a:1", 200)
    assert not checker.is_up("a:1")
    checker.answered("a:1", 200)
    assert _state(checker) == "healthy"


def test_what_is_switched_off_or_unknown_counts_nothing() -> None:
    """A limit of 0, a status in neither list, and a node that is no target change nothing."""
    checker = _checker()
    for _ in range(10):
        checker.failed("a:1", "timeout_failure")
        checker.answered("a:1", 418)
    checker.failed("c:1", "tcp_failure")
    assert _state(checker) == "healthy"
    assert checker.is_up("c:1")


def test_the_version_tells_of_ups_and_downs_alone() -> None:
    """What balances nodes is laid out anew when a node goes down or up, not at every count."""
    checker = _checker()
    checker.answered("a:1", 500)
    assert checker.version == 0
    checker.answered("a:1", 500)
    assert checker.version == 1


def test_nodes_that_stay_keep_their_state() -> None:
    """Another node in the list does not make an unhealthy one healthy."""
    checker = _checker()
    checker.failed("a:1", "tcp_failure")
    checker.follow({"a:1": Target("a", 1, "a"), "c:1": Target("c", 1, "c")})
    assert not checker.is_up("a:1")
    assert set(checker.nodes) == {"a:1", "c:1"}
