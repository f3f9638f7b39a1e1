"""Nodes in turn, by weight."""

from collections import Counter

from farebox_gateway.edge.upstream import Upstream


def test_weights_are_kept_and_spread() -> None:
    """Over one round each node has its weight's share, and a heavy node does not come in one block."""
    upstream = Upstream({"nodes": {"a:1": 5, "b:1": 1, "c:1": 1}})
    turns = [node.authority for _ in range(7) if (node := upstream.next()) is not None]
    assert Counter(turns) == {"a:1": 5, "b:1": 1, "c:1": 1}
    assert "a:1" * 5 not in "".join(turns * 2)


def test_no_weight_no_node() -> None:
    """An upstream whose nodes all have weight 0 has none to give."""
    assert Upstream({"nodes": {"a:1": 0}}).next() is None


def test_ports_and_brackets() -> None:
    """A node without a port has its scheme's, an IPv6 address its brackets."""
    nodes = [{"host": "a", "weight": 1}, {"host": "::1", "port": 81, "weight": 1}]
    upstream = Upstream({"nodes": nodes, "scheme": "https"})
    found = {node.base for _ in range(2) if (node := upstream.next()) is not None}
    assert found == {"https://a:443", "https://[::1]:81"}
