"""Who the caller is, when proxies stand between."""

import pytest
from aiohttp.test_utils import make_mocked_request

from farebox.addresses import caller_address, is_loopback, refuse_unreadable


def request(peer: str, *forwarded: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """A request from `peer` with these X-Forwarded-For headers."""
    from multidict import CIMultiDict

    made = make_mocked_request(
        "GET", "/", headers=CIMultiDict(("X-Forwarded-For", value) for value in forwarded)
    )
    return made.clone(remote=peer)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "expected"),
    [
        ("198.51.100.1", ["203.0.113.7"], (), "198.51.100.1"),
        ("198.51.100.1", ["203.0.113.7"], ("10.0.0.0/8",), "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7"], ("10.0.0.0/8",), "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7, 10.0.0.9"], ("10.0.0.0/8",), "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7"], ("10.0.0.0/8",), "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, nonsense"], ("10.0.0.0/8",), "10.0.0.1"),
        ("10.0.0.1", [], ("10.0.0.0/8",), "10.0.0.1"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], ("10.0.0.0/8",), "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", [], (), "2001:db8:1:2::/64"),
        ("", [], (), "unknown"),
    ],
)
def test_the_nearest_untrusted_hop_is_the_caller(
    peer: str, forwarded: list[str], trusted: tuple[str, ...], expected: str
) -> None:
    """Only what trusted proxies wrote is read, from the right; an IPv6 caller is his /64."""
    assert caller_address(request(peer, *forwarded), trusted) == expected


def test_a_proxy_on_this_machine_is_not_this_machine() -> None:
    """Figures for the loopback are not shown to whom a local proxy brings."""
    assert is_loopback(request("127.0.0.1"))
    assert is_loopback(request("::1"))
    assert not is_loopback(request("127.0.0.1", "203.0.113.7"))
    assert not is_loopback(request("203.0.113.7"))


def test_an_unreadable_network_stops_the_start() -> None:
    """A typing error in FAREBOX_TRUSTED_PROXIES is found before the first request."""
    with pytest.raises(ValueError, match="FAREBOX_TRUSTED_PROXIES"):
        refuse_unreadable(("10.0.0.0/8", "10.0.0.0/99"))
