"""The gateway's settings."""

import ipaddress

import pytest

from farebox_gateway.edge.settings import SettingsError, from_environment

KEY = {"FAREBOX_EDGE_ADMIN_KEY": "secret"}


def test_redis_is_chosen_when_its_address_is_given() -> None:
    """With an address of Redis the counters are shared, without one they are local."""
    assert from_environment(KEY).counters == "local"
    assert from_environment({**KEY, "FAREBOX_REDIS_URL": "redis://x"}).counters == "redis"
    chosen = {**KEY, "FAREBOX_REDIS_URL": "redis://x", "FAREBOX_EDGE_COUNTERS": "local"}
    assert from_environment(chosen).counters == "local"


def test_values_are_read() -> None:
    """Networks, flags and an empty log path."""
    settings = from_environment(
        {
            **KEY,
            "FAREBOX_EDGE_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "FAREBOX_EDGE_REQUIRE_GENERATION": "false",
            "FAREBOX_EDGE_LOG_PATH": "",
        }
    )
    assert settings.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
    assert settings.require_generation is False
    assert settings.log_path is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATA_PORT", "99999"),
        ("NODE", "a b"),
        ("TRUSTED_PROXIES", "x"),
        ("DRAIN_SECONDS", "0"),
        ("WHAT", "1"),
    ],
)
def test_nonsense_is_named(name: str, value: str) -> None:
    """A bad value or name is refused with the variable's name."""
    with pytest.raises(SettingsError, match=f"FAREBOX_EDGE_{name}"):
        from_environment({**KEY, f"FAREBOX_EDGE_{name}": value})
