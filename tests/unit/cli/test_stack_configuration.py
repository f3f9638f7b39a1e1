"""Ports, addresses and variables of the stack: pure decisions."""

import itertools
from dataclasses import asdict
from pathlib import Path

import pytest

from farebox_cli.stack.configuration import (
    ConfigurationError,
    Ports,
    Secrets,
    StackOptions,
    addresses,
    choose_ports,
    for_the_edge,
    for_the_upstream,
    payment_variables,
    variables,
)
from farebox_contract.identity import read_secrets

_HOME = Path("/home/me/.farebox")
_SERVICES = {
    "FAREBOX_DATABASE_URL": "postgresql://farebox_app:a@127.0.0.1:1/farebox",
    "FAREBOX_DATABASE_WORKER_URL": "postgresql://farebox_worker:b@127.0.0.1:1/farebox",
    "FAREBOX_DATABASE_OWNER_URL": "postgresql://farebox_owner:c@127.0.0.1:1/farebox",
    "FAREBOX_REDIS_URL": "redis://:d@127.0.0.1:2/0",
}


def _choose(options: StackOptions, *, taken: set[int]) -> tuple[Ports, list[str]]:
    said: list[str] = []
    numbers = itertools.count(20_000)
    return choose_ports(
        options, is_free=lambda port: port not in taken, any_free=lambda: next(numbers), say=said.append
    ), said


def test_the_well_known_ports_where_they_are_free() -> None:
    """Nothing in the way: the documented ports, and no word about it."""
    assert _choose(StackOptions(_HOME), taken=set()) == (Ports(8080, 9080, 9180, 8090, 1025, 8095), [])


def test_a_taken_port_is_replaced_and_said() -> None:
    """Another program on 8080: the control plane moves, and the person is told where."""
    ports, said = _choose(StackOptions(_HOME), taken={8080})
    assert ports.web == 20_000
    assert said == ["Port 8080 is taken; the control plane is at 20000 instead."]


def test_free_ports_disturb_nobody_and_are_all_different() -> None:
    """For tests and demos none of the well-known ports is used, and no port twice."""
    ports, said = _choose(StackOptions(_HOME, ports="free"), taken=set())
    numbers = asdict(ports).values()
    assert len(set(numbers)) == len(numbers)
    assert not {8080, 9080, 9180, 8090, 1025, 8095} & set(numbers)
    assert said == []


def test_a_port_that_was_asked_for_is_kept_or_refused() -> None:
    """An explicit port is never silently another one."""
    options = StackOptions(_HOME, variables={"FAREBOX_WEB_PORT": "7000"})
    assert _choose(options, taken=set())[0].web == 7000
    with pytest.raises(ConfigurationError, match=r"Port 7000 .*\(FAREBOX_WEB_PORT\) is taken"):
        _choose(options, taken={7000})


@pytest.mark.parametrize("text", ["http", "70000", "-1", "8080.5"])
def test_a_port_that_is_no_port_is_refused_by_name(text: str) -> None:
    """Nonsense in a port's variable names the variable."""
    with pytest.raises(ConfigurationError, match="FAREBOX_EDGE_DATA_PORT"):
        _choose(StackOptions(_HOME, variables={"FAREBOX_EDGE_DATA_PORT": text}), taken=set())


def test_an_external_database_needs_all_its_urls() -> None:
    """One URL alone is refused, naming those that are missing; none or all are fine."""
    StackOptions(_HOME).check()
    database = {name: url for name, url in _SERVICES.items() if "DATABASE" in name}
    StackOptions(_HOME, variables=database).check()
    del database["FAREBOX_DATABASE_OWNER_URL"]
    with pytest.raises(ConfigurationError, match="missing: FAREBOX_DATABASE_OWNER_URL"):
        StackOptions(_HOME, variables=database).check()


def test_the_edge_gets_none_of_the_control_planes_secrets() -> None:
    """Where customers' requests arrive there is no database URL and no token secret."""
    options, ports = StackOptions(_HOME), Ports(1, 2, 3, 4, 5, 6)
    kept = Secrets.kept_or_new({}, {})
    everything = variables(options, addresses(_HOME, ports), ports, kept, services=_SERVICES)
    edge = for_the_edge(everything)
    assert edge["FAREBOX_EDGE_ADMIN_KEY"] == everything["FAREBOX_GATEWAY_ADMIN_KEY"]
    assert edge["FAREBOX_EDGE_LOG_PATH"] == everything["FAREBOX_USAGE_LOG"]
    told = set(edge.values())
    assert not {everything["FAREBOX_DATABASE_URL"], everything["FAREBOX_TOKEN_SECRET"]} & told


def test_the_sample_api_knows_the_gateway_by_its_secret() -> None:
    """Edge and sample API share one secret, and the sample API is given nothing else."""
    options, ports = StackOptions(_HOME), Ports(1, 2, 3, 4, 5, 6)
    kept = Secrets.kept_or_new({}, {})
    everything = variables(options, addresses(_HOME, ports), ports, kept, services=_SERVICES)
    secret = for_the_edge(everything)["FAREBOX_EDGE_IDENTITY_SECRETS"]
    assert for_the_upstream(everything) == {"FAREBOX_IDENTITY_SECRETS": secret}
    assert read_secrets(secret)


def test_what_a_person_gave_wins_everywhere() -> None:
    """An exported setting reaches the programs instead of ours, and the edge under its own name."""
    given = {"FAREBOX_USAGE_LOG": "/var/log/usage.log", "FAREBOX_KEY_PREFIX": "acme", **_SERVICES}
    options, ports = StackOptions(_HOME, variables=given), Ports(1, 2, 3, 4, 5, 6)
    kept = Secrets.kept_or_new({}, {})
    everything = variables(options, addresses(_HOME, ports), ports, kept, services={})
    assert everything["FAREBOX_USAGE_LOG"] == "/var/log/usage.log"
    edge = for_the_edge(everything)
    assert edge["FAREBOX_EDGE_LOG_PATH"] == "/var/log/usage.log"
    assert edge["FAREBOX_EDGE_KEY_PREFIX"] == "acme"


def test_secrets_are_made_once() -> None:
    """What the installation's file holds is kept; an empty installation gets long random ones."""
    roles = {"farebox_app": "FAREBOX_DATABASE_URL"}
    recorded = {
        "FAREBOX_TOKEN_SECRET": "t" * 40,
        "FAREBOX_LINK_SECRET": "l" * 40,
        "FAREBOX_GATEWAY_ADMIN_KEY": "k" * 40,
        "FAREBOX_EDGE_IDENTITY_SECRETS": "i" * 40,
        "FAREBOX_DATABASE_URL": "postgresql://farebox_app:p%40ss@127.0.0.1/farebox",
    }
    assert Secrets.kept_or_new(recorded, roles) == Secrets(
        token="t" * 40,
        link="l" * 40,
        gateway_admin="k" * 40,
        identity="i" * 40,
        database={"farebox_app": "p@ss"},
    )
    first, second = Secrets.kept_or_new({}, roles), Secrets.kept_or_new({}, roles)
    assert len(first.token) >= 32
    assert len({first.token, second.token, first.link, second.link}) == 4
    assert first.database["farebox_app"] != second.database["farebox_app"]


def test_a_real_key_never_reaches_the_sandbox() -> None:
    """A provider of which a person set anything is left alone; the other one is played by the sandbox."""
    keys = {
        "stripe_secret_key": "sk_test_a",
        "stripe_webhook_secret": "whsec_a",
        "paystack_secret_key": "sk_test_b",
    }
    ports = Ports(1, 2, 3, 4, 5, 6)
    options = StackOptions(_HOME, variables={"FAREBOX_STRIPE_SECRET_KEY": "sk_live_real"})
    assert payment_variables(options, addresses(_HOME, ports), keys) == {
        "FAREBOX_PAYSTACK_SECRET_KEY": "sk_test_b",
        "FAREBOX_PAYSTACK_API_URL": "http://127.0.0.1:6",
    }
    assert payment_variables(StackOptions(_HOME), addresses(_HOME, ports), keys)[
        "FAREBOX_STRIPE_API_URL"
    ] == ("http://127.0.0.1:6")
