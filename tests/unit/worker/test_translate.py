"""Translation: what was sold becomes exactly what the contract's schemas allow, at the right instants."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from farebox.clock import ClockOffset, OrganizationTime
from farebox.products.offers import RouteSpec
from farebox.products.upstreams import UpstreamSpec
from farebox_contract.plugins import SCHEMAS
from farebox_gateway.resources import Kind, Resource
from farebox_worker import translate
from farebox_worker.translate import (
    CatalogueFacts,
    KeyFacts,
    OrganizationFacts,
    PlanFacts,
    SubscriptionFacts,
)

PLACES = {
    Kind.ROUTE: "route",
    Kind.CONSUMER: "consumer",
    Kind.CREDENTIAL: "credential",
    Kind.CONSUMER_GROUP: "consumer_group",
}
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


def facts(
    *,
    state: str = "active",
    keys: tuple[KeyFacts, ...] = (),
    offsets: tuple[ClockOffset, ...] = (),
    started_at: datetime = datetime(2026, 11, 5, 12, 30, tzinfo=UTC),
    zone: str = "UTC",
    anchor: int = 1,
) -> OrganizationFacts:
    """An organization on `starter-1`."""
    subscription = SubscriptionFacts("sub0000001", "starter-1", zone, anchor, started_at)
    return OrganizationFacts(
        UUID(int=1), "org0000001", state, 7, OrganizationTime(offsets), subscription, keys
    )


def key(name: str, expires_at: datetime | None = None) -> KeyFacts:
    """An active live key."""
    return KeyFacts(name, "live", "ab" * 32, expires_at, 5)


def check(resource: Resource) -> None:
    """Hold every plugin's conf against the contract's schema for its place."""
    for name, conf in json.loads(json.dumps(resource.body)).get("plugins", {}).items():
        schema = json.loads(json.dumps(SCHEMAS[name][PLACES[resource.ref.kind]], default=dict))
        jsonschema.Draft202012Validator(schema).validate(conf)


def limit(resources: list[Resource]) -> dict[str, Any]:
    """The consumer's limits."""
    found: dict[str, Any] = resources[0].body["plugins"]["farebox-limit"]
    return found


def ms(text: str) -> int:
    """An instant in Unix milliseconds."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@given(
    state=st.sampled_from(["active", "suspended"]),
    names=st.sets(st.from_regex(r"\A[a-z0-9]{10}\Z"), max_size=4),
    now=st.integers(0, 400_000_000).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    zone=st.sampled_from(["UTC", "Europe/Kyiv", "America/Santiago", "Asia/Kathmandu"]),
    anchor=st.integers(1, 31),
    ahead=st.integers(0, 10**9),
)
def test_every_organization_fits_the_schemas(
    state: str, names: set[str], now: datetime, zone: str, anchor: int, ahead: int
) -> None:
    """Whatever the organization, the gateway will accept it, and the present lies in its current period."""
    offsets = (ClockOffset(now - timedelta(hours=1), timedelta(seconds=ahead)),)
    made = translate.organization(
        facts(
            state=state, keys=tuple(key(each) for each in names), zone=zone, anchor=anchor, offsets=offsets
        ),
        now=now,
    )
    for resource in made:
        check(resource)
    assert len(made) == 1 + len(names)
    current, following = limit(made)["periods"]
    assert current["start"] <= now.timestamp() * 1000 < current["end"] == following["start"]
    assert following["start"] < following["end"]


def test_names_and_revisions_are_the_gateways_and_the_databases() -> None:
    """The consumer is named by the organization's public id, the credential by the key's, each labelled."""
    consumer, credential = translate.organization(facts(keys=(key("key0000001"),)), now=NOW)
    assert (str(consumer.ref), str(credential.ref)) == (
        "consumers/org0000001",
        "consumers/org0000001/credentials/key0000001",
    )
    assert consumer.body["group_id"] == "starter-1"
    assert consumer.body["labels"] == {
        "managed-by": "farebox",
        "farebox-revision": "7",
        "farebox-period": str(ms("2026-11-05T12:30:00+00:00")),
    }
    assert credential.body["labels"]["farebox-revision"] == "5"


def test_the_first_period_begins_with_the_subscription() -> None:
    """A subscription in mid-month has a short first period; the next is whole."""
    assert limit(translate.organization(facts(), now=NOW))["periods"] == [
        {"start": ms("2026-11-05T12:30:00+00:00"), "end": ms("2026-12-01T00:00:00+00:00")},
        {"start": ms("2026-12-01T00:00:00+00:00"), "end": ms("2027-01-01T00:00:00+00:00")},
    ]


def test_a_test_clock_moves_the_edges_on_the_wall() -> None:
    """Twenty days ahead since ten o'clock: the month ends so much sooner and began with the jump."""
    jump = (ClockOffset(NOW, timedelta(days=20)),)
    made = limit(translate.organization(facts(offsets=jump), now=NOW + timedelta(hours=1)))
    assert made["periods"] == [
        {"start": ms("2026-11-21T10:00:00+00:00"), "end": ms("2026-12-12T00:00:00+00:00")},
        {"start": ms("2026-12-12T00:00:00+00:00"), "end": ms("2027-01-12T00:00:00+00:00")},
    ]


def test_a_subscription_from_another_machines_future_is_in_its_first_period() -> None:
    """A clock that is a little behind the one that started the subscription makes no period before it."""
    made = limit(translate.organization(facts(started_at=NOW + timedelta(seconds=2)), now=NOW))
    assert made["periods"][0]["start"] == ms("2026-11-21T10:00:02+00:00")


def test_closed_is_absent_suspended_is_a_state_expired_is_absent() -> None:
    """A closed organization has no objects, a suspended one all of them, an expired key none."""
    keys = (key("expired001", NOW), key("living0001", NOW + timedelta(microseconds=1_500)))
    assert translate.organization(facts(state="closed", keys=keys), now=NOW) == []
    consumer, credential = translate.organization(facts(state="suspended", keys=keys), now=NOW)
    assert consumer.body["plugins"]["farebox-auth"] == {"state": "suspended"}
    assert credential.ref.id == "living0001"
    assert credential.body["plugins"]["farebox-auth"]["expires_at"] == ms("2026-11-21T10:00:00+00:00") + 1


WHOLE = {
    "code": "api",
    "upstream": "api",
    "paths": ["/v1/*"],
    "methods": ["GET"],
    "hosts": ["api.example.com"],
    "units": 5,
    "upstream_units": True,
}


def test_a_plan_is_a_group_and_a_route_carries_all_three_plugins() -> None:
    """Limits and quota go out as they are stored; weights only where they differ from one unit."""
    quota = {"units": 1000, "kind": "hard"}
    limits = [{"name": "minute", "requests": 10, "window": 60}]
    catalogue = CatalogueFacts(
        3,
        (PlanFacts("free-1", limits, quota, "closed"), PlanFacts("pro-1", limits, None, "open")),
        (UpstreamSpec.simple("api", {"10.0.0.1:80": 1}),),
        (),
        (RouteSpec.model_validate(WHOLE),),
    )
    made = {
        str(each.ref): each
        for each in translate.catalogue(catalogue, nonce="n", with_routes=True, key_prefix="acme")
    }
    for resource in made.values():
        check(resource)
    group = made["consumer_groups/free-1"].body["plugins"]["farebox-limit"]
    assert group == {"limits": limits, "quota": quota, "without_counter": "closed"}
    assert "quota" not in made["consumer_groups/pro-1"].body["plugins"]["farebox-limit"]
    route = made["routes/api"].body
    assert route["plugins"] == {
        "farebox-auth": {"key_prefix": "acme"},
        "farebox-limit": {},
        "farebox-meter": {"units": 5, "upstream_units": True},
    }
    assert (route["methods"], route["hosts"]) == (["GET"], ["api.example.com"])
    assert "upstream_id" not in made["routes/farebox-canary"].body


def test_without_plugins_nothing_is_desired_that_serves() -> None:
    """A gateway that has not loaded our plugins gets upstreams alone: no route is served unprotected."""
    catalogue = CatalogueFacts(
        1,
        (PlanFacts("free-1", [], None, "open"),),
        (UpstreamSpec.simple("api", {"h:1": 1}),),
        (),
        (RouteSpec(code="api", upstream="api", paths=["/"]),),
    )
    made = translate.catalogue(catalogue, nonce="n", with_routes=False)
    assert [each.ref.kind for each in made] == [Kind.UPSTREAM]


def test_milliseconds_are_exact() -> None:
    """No instant is off by one because it went through a float."""
    instant = datetime(2026, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)
    assert translate.milliseconds(instant) % 1000 == 999
