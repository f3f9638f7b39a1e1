"""Nodes in turn, by weight, by priority, by key."""

from collections import Counter

from farebox_gateway.edge.balancing import ConsistentHash, Node, RoundRobin
from farebox_gateway.edge.upstream import Upstream

PORTS = (18801, 18802, 18803)
HOMES = {
    "a": 18801,
    "b": 18802,
    "c": 18801,
    "acme": 18801,
    "globex": 18801,
    "initech": 18802,
    "org_1": 18802,
    "org_2": 18801,
    "org_3": 18803,
    "2001:db8::1": 18802,
}
"""Where APISIX 3.18 sent each key: `chash` over a header, nodes on 127.0.0.1, weight 1."""


def _home(picker: ConsistentHash, key: str) -> Node | None:
    return picker.pick(lambda: key, ())


def _turns(upstream: Upstream, times: int) -> list[str]:
    return [node.authority for _ in range(times) if (node := upstream.pick()) is not None]


def test_weights_are_kept_and_spread() -> None:
    """Over one round each node has its weight's share, and a heavy node does not come in one block."""
    turns = _turns(Upstream({"nodes": {"a:1": 5, "b:1": 1, "c:1": 1}}), 7)
    assert Counter(turns) == {"a:1": 5, "b:1": 1, "c:1": 1}
    assert "a:1" * 5 not in "".join(turns * 2)


def test_a_node_without_weight_waits() -> None:
    """A node of weight 0 gets nothing beside others, and everything when no other has weight either."""
    assert set(_turns(Upstream({"nodes": {"a:1": 0, "b:1": 1}}), 5)) == {"b:1"}
    assert set(_turns(Upstream({"nodes": {"a:1": 0, "b:1": 0}}), 5)) == {"a:1", "b:1"}
    assert _turns(Upstream({"nodes": {"a:1": 0}}), 1) == ["a:1"]


def test_ports_and_brackets() -> None:
    """A node without a port has its scheme's, an IPv6 address its brackets."""
    nodes = [{"host": "a", "weight": 1}, {"host": "::1", "port": 81, "weight": 1}]
    upstream = Upstream({"nodes": nodes, "scheme": "https"})
    found = {node.base for _ in range(2) if (node := upstream.pick()) is not None}
    assert found == {"https://a:443", "https://[::1]:81"}


def test_lower_priorities_wait_for_retries() -> None:
    """Every node of the higher priority is tried before one of the lower."""
    nodes = [
        {"host": name, "port": 1, "weight": 1, "priority": priority}
        for name, priority in (("a", 1), ("b", 1), ("c", 0))
    ]
    upstream = Upstream({"nodes": nodes})
    assert "c:1" not in _turns(upstream, 10)
    tried: list[Node] = []
    for _ in range(3):
        node = upstream.pick(str, tried)
        assert node is not None
        tried.append(node)
    assert {node.host for node in tried[:2]} == {"a", "b"}
    assert tried[2].host == "c"
    assert upstream.pick(str, tried) is None


def test_a_round_skips_what_was_tried() -> None:
    """A retry meets another node."""
    nodes = [Node("a:1", "http://a:1", "a", 1), Node("b:1", "http://b:1", "b", 1)]
    picker = RoundRobin(nodes)
    assert {picker.pick(str, [nodes[0]]) for _ in range(4)} == {nodes[1]}
    assert picker.pick(str, nodes) is None


def test_a_key_keeps_its_node() -> None:
    """A key meets one node, another node's leaving moves only what was there, and weight draws keys."""
    nodes = [Node(f"n{i}:80", "", f"n{i}", 80, weight) for i, weight in ((1, 1), (2, 1), (3, 2))]
    whole, less = ConsistentHash(nodes), ConsistentHash(nodes[1:])
    keys = [f"key-{number}" for number in range(2000)]
    homes = {key: _home(whole, key) for key in keys}
    for key in keys:
        if homes[key] is not nodes[0]:
            assert _home(less, key) is homes[key]
    counts = Counter(homes.values())
    assert counts[nodes[2]] > 1.5 * counts[nodes[0]]


def test_the_ring_is_apisix_s() -> None:
    """Keys lie on the nodes on which a real APISIX laid them."""
    picker = ConsistentHash([Node(f"127.0.0.1:{port}", "", "127.0.0.1", port) for port in PORTS])
    found = {key: node.port for key in HOMES if (node := _home(picker, key)) is not None}
    assert found == HOMES
