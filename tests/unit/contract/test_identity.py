"""Contacts, imported keys and signed identities: the vectors that every implementation runs, and `verify`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

import farebox_contract
from farebox_contract import identity, imported_keys, keys, tiers

FOLDER = Path(farebox_contract.__file__).parent
TIERS = json.loads((FOLDER / "tier_vectors.json").read_text())
IDENTITIES = json.loads((FOLDER / "identity_vectors.json").read_text())
IMPORTED = json.loads((FOLDER / "imported_vectors.json").read_text())
SECRETS = (b"a" * 32, b"b" * 32)
NOW = 1_795_219_218_123
SIGNED = identity.Identity(
    time_ms=NOW,
    request_id="ab" * 16,
    method="POST",
    path="/v1/send",
    organization="4f7q2k8m1z",
    key="9tz3m1aaaa",
    environment="live",
    group="starter-1",
)


@pytest.mark.parametrize("vector", TIERS["contacts"], ids=lambda one: repr(one["agent"][-30:]))
def test_contacts(vector: dict[str, Any]) -> None:
    """A User-Agent names the vector's contact, or none."""
    assert tiers.contact(vector["agent"].encode()) == vector["contact"]


def test_any_bytes_are_an_agent() -> None:
    """Bytes that are no text, and very long agents, are read without an error."""
    assert tiers.contact(b"\xff\xfe@\x00 jo@example.org") == "jo@example.org"
    assert tiers.contact(b"@" * 100_000) is None


def test_names_in_counters() -> None:
    """An IPv6 address counts with its /64, a mapped one as IPv4; a contact's name shows no mail address."""
    for vector in TIERS["addresses"]:
        assert tiers.address_name(vector["address"]) == vector["name"], vector
    for vector in TIERS["contact_names"]:
        assert tiers.contact_name(vector["contact"]) == vector["name"]


@pytest.mark.parametrize("vector", IMPORTED, ids=lambda one: repr(one["text"][:20]))
def test_which_texts_may_be_imported(vector: dict[str, Any]) -> None:
    """Printable ASCII of 16 to 128 characters, unless it has the form of a key of ours."""
    assert imported_keys.importable(vector["text"]) is vector["importable"]
    assert keys.digest(vector["text"]) == vector["sha256"]


@pytest.mark.parametrize("vector", IDENTITIES, ids=lambda one: one["why"])
def test_signatures(vector: dict[str, Any]) -> None:
    """The canonical text and the signatures are the vector's."""
    one = identity.Identity(
        time_ms=vector["time"],
        **{name: vector[name] for name in ("request_id", "method", "path", "organization", "key")},
        **{name: vector[name] for name in ("environment", "group", "tier")},
    )
    assert identity.canonical(one) == vector["canonical"]
    assert identity.sign(one, [secret.encode() for secret in vector["secrets"]]) == vector["signature"]


def _headers(one: identity.Identity, *secrets: bytes) -> CIMultiDict[str]:
    return CIMultiDict(
        {
            "x-farebox-tier": one.tier,
            "x-farebox-time": str(one.time_ms),
            "x-farebox-request-id": one.request_id,
            "x-farebox-environment": one.environment,
            "x-consumer-username": one.organization,
            "x-credential-identifier": one.key,
            "x-consumer-group-id": one.group,
            "x-farebox-signature": identity.sign(one, secrets),
        }
    )


def _verify(
    headers: CIMultiDict[str], secrets: tuple[bytes, ...] = SECRETS[:1], **more: Any
) -> identity.Identity:
    given = {"method": "POST", "target": "/v1/send?a=1", "now_ms": NOW, **more}
    return identity.verify(headers, secrets=secrets, **given)


def test_what_the_gateway_signed_is_accepted() -> None:
    """The identity comes back as it was signed, whatever the query; what is empty may be absent."""
    assert _verify(_headers(SIGNED, SECRETS[0])) == SIGNED
    nobody = replace(SIGNED, organization="", key="", environment="", group="", tier="anonymous")
    headers = _headers(nobody, SECRETS[0])
    for name in ("x-consumer-username", "x-credential-identifier", "x-consumer-group-id"):
        del headers[name]
    assert _verify(headers) == nobody


def test_secrets_change_without_a_gap() -> None:
    """While both sides change from one secret to the next, in any order, what is signed stays accepted."""
    old, new = SECRETS
    for signed, known in (((old,), (old,)), ((new, old), (old,)), ((new, old), (new,)), ((new,), (new, old))):
        assert _verify(_headers(SIGNED, *signed), known) == SIGNED
    with pytest.raises(identity.UnsignedError):
        _verify(_headers(SIGNED, old), (new,))


@pytest.mark.parametrize(
    "name",
    ["tier", "time", "request-id", "environment", "username", "identifier", "group-id", "signature"],
)
def test_nothing_signed_may_change(name: str) -> None:
    """Each header that is part of the identity is covered: another value, or none, is refused."""
    (full,) = [one for one in _headers(SIGNED, SECRETS[0]) if one.endswith(name)]
    for value in ("1", "evil", None):
        headers = _headers(SIGNED, SECRETS[0])
        del headers[full]
        if value is not None:
            headers[full] = value
        with pytest.raises(identity.UnsignedError):
            _verify(headers)


@pytest.mark.parametrize(
    "request_facts",
    [
        {"method": "GET"},
        {"target": "/v1/send/"},
        {"target": "/V1/send"},
        {"target": "/v1/%73end"},
        {"now_ms": NOW + 300_001},
        {"now_ms": NOW - 300_001},
        {"secrets": ()},
    ],
)
def test_another_request_is_refused(request_facts: dict[str, Any]) -> None:
    """Another method or path, another time, or no secret to check with: refused."""
    with pytest.raises(identity.UnsignedError):
        _verify(_headers(SIGNED, SECRETS[0]), **request_facts)


@pytest.mark.parametrize("text", ["short", "a" * 31, ",".join(["a" * 32] * 3)])
def test_secrets_that_are_refused(text: str) -> None:
    """A short secret, or more than two, is an error that names the remedy."""
    with pytest.raises(ValueError, match="secret"):
        identity.read_secrets(text)
    assert identity.read_secrets(f" {'a' * 32} , {'b' * 32}") == SECRETS
    assert identity.read_secrets("") == ()


def test_the_documented_example_runs() -> None:
    """The example in docs/plugins.md accepts what it signed."""
    text = (FOLDER.parents[1] / "docs/plugins.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(example, "docs/plugins.md", "exec"), names)  # noqa: S102  # our own page
    assert names["caller"] == names["sent"]
