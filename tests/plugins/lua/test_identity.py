"""Lua plugins and Python contract say the same of contacts, addresses, imported keys and signatures."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.plugins.lua.runner import Nginx

import farebox_contract
from farebox_contract import counters, identity, imported_keys, keys, tiers

FOLDER = Path(farebox_contract.__file__).parent
TIERS = json.loads((FOLDER / "tier_vectors.json").read_text())
IDENTITIES = json.loads((FOLDER / "identity_vectors.json").read_text())
IMPORTED = json.loads((FOLDER / "imported_vectors.json").read_text())
shared = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
pieces = st.sampled_from(
    ["jo", "@", "example", ".", "-", "org", "a.b", " ", "(", "mailto:", "é", "x" * 70, "1"]
)


def _one(results: list[Any]) -> Any:
    return results[0] if results else None


@pytest.mark.parametrize("vector", TIERS["contacts"], ids=lambda one: repr(one["agent"][-30:]))
def test_contacts_of_the_contract(lua: Nginx, vector: dict[str, Any]) -> None:
    """A User-Agent names the vector's contact, or none."""
    assert _one(lua.call("tiers", "contact", vector["agent"])) == vector["contact"]


@shared
@given(agent=st.lists(pieces, max_size=14).map("".join))
def test_any_agent_has_the_same_contact(lua: Nginx, agent: str) -> None:
    """Both implementations find the same contact in any text."""
    assert _one(lua.call("tiers", "contact", agent)) == tiers.contact(agent.encode())


def test_names_in_counters(lua: Nginx) -> None:
    """Contacts and addresses are called alike, so that nodes of both kinds share their counters."""
    for vector in TIERS["contact_names"]:
        assert lua.call("tiers", "contact_name", vector["contact"]) == [vector["name"]]
    for vector in TIERS["addresses"]:
        assert lua.call("tiers", "address_name", vector["address"]) == [vector["name"]], vector


@shared
@given(address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str))
def test_any_address_has_the_same_name(lua: Nginx, address: str) -> None:
    """Any address has the same name in both."""
    assert lua.call("tiers", "address_name", address) == [tiers.address_name(address)]


@pytest.mark.parametrize("vector", IMPORTED, ids=lambda one: repr(one["text"][:20]))
def test_which_texts_may_be_imported(lua: Nginx, vector: dict[str, Any]) -> None:
    """A text is importable as the contract says, and has its digest."""
    assert lua.call("imported_keys", "importable", vector["text"]) == [vector["importable"]]
    assert lua.call("digest", "sha256", vector["text"]) == [vector["sha256"]]


def test_whose_name_no_organization_has() -> None:
    """Both look imported keys up under the same consumer, which no key of ours can name."""
    source = (FOLDER.parent / "apisix/plugins/farebox/imported_keys.lua").read_text()
    assert f'CONSUMER = "{imported_keys.CONSUMER}"' in source
    assert len(imported_keys.CONSUMER) != keys.PUBLIC_ID_LENGTH


@shared
@given(
    position=st.integers(0, 70), letter=st.characters(min_codepoint=32, max_codepoint=126), cut=st.integers()
)
def test_near_our_form(lua: Nginx, position: int, letter: str, cut: int) -> None:
    """Around a key of ours both draw the same line between our form and texts from elsewhere."""
    text = keys.compose("acme", keys.KeyName("live", "0123456789", "abcdefghij"), "x" * 32)
    changed = (text[:position] + letter + text[position + (cut % 2) :])[: 60 + cut % 12]
    assert lua.call("imported_keys", "importable", changed) == [imported_keys.importable(changed)]


@pytest.mark.parametrize("vector", IDENTITIES, ids=lambda one: one["why"])
def test_signatures_of_the_contract(lua: Nginx, vector: dict[str, Any]) -> None:
    """The canonical text and the signatures are the vector's."""
    assert lua.call("identity", "canonical", vector) == [vector["canonical"]]
    assert lua.call("identity", "sign", vector, vector["secrets"]) == [vector["signature"]]


@pytest.mark.parametrize(
    "text", ["", " , ", "a" * 32, f"{'a' * 32}, {'b' * 40}", "short", ",".join(["a" * 32] * 3)]
)
def test_secrets_are_read_alike(lua: Nginx, text: str) -> None:
    """One or two secrets of enough characters; anything else is refused."""
    try:
        expected = [secret.decode() for secret in identity.read_secrets(text)]
    except ValueError:
        assert lua.call("identity", "read_secrets", text)[0] is None
    else:
        assert list(lua.call("identity", "read_secrets", text)[0]) == expected


@pytest.mark.parametrize("contact", [None, "0f" * 16])
def test_counters_of_callers_without_a_key(lua: Nginx, contact: str | None) -> None:
    """They are named as in the contract, so that nodes of both kinds count the same caller once."""
    now, address = 1_795_219_218_123, "203.0.113.7"
    limits = [{"name": "hourly", "requests": 5, "window": 3600}]
    (wants,) = lua.call("terms", "tier_wants", "messages", limits, contact, address, now)
    who = [f"anonymous:{address}"] if contact is None else [f"contact:{contact}", f"polite:{address}"]
    start, end = counters.window_bounds(now, 3600)
    expected = [counters.tier_window_key("messages", one, "hourly", start) for one in who]
    assert [want["key"] for want in wants] == expected
    assert {(want["start"], want["ends"], want["limit"], want["units"]) for want in wants} == {
        (start, end, 5, 1)
    }
    assert [want["name"] for want in wants] == ["hourly", "hourly-address"][: len(who)]
