"""APISIX's resources as values: where each stands in the Admin API, and what stands there.

A resource of ours says so with the label `managed-by=farebox`, and at which revision it was written with
`farebox-revision`. Nothing here knows organizations, plans or keys; that is the caller's translation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

OWNER_LABEL: Final = "managed-by"
OWNER: Final = "farebox"
REVISION_LABEL: Final = "farebox-revision"
PERIOD_LABEL: Final = "farebox-period"

Body = Mapping[str, Any]
"""A resource's JSON object, as it is sent."""


class Kind(StrEnum):
    """The kinds that we write; the value is the Admin API's plural."""

    UPSTREAM = "upstreams"
    SERVICE = "services"
    CONSUMER_GROUP = "consumer_groups"
    ROUTE = "routes"
    CONSUMER = "consumers"
    CREDENTIAL = "credentials"
    GLOBAL_RULE = "global_rules"
    """Carries no labels, so no plan ever holds one: ours is known by its name."""


WRITE_ORDER: Final = (
    Kind.UPSTREAM,
    Kind.SERVICE,
    Kind.CONSUMER_GROUP,
    Kind.ROUTE,
    Kind.CONSUMER,
    Kind.CREDENTIAL,
)
"""What is referred to is written before what refers to it, and deleted after it."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a resource stands. `consumer` is set for credentials alone: they stand under theirs."""

    kind: Kind
    id: str
    consumer: str = ""

    @property
    def path(self) -> str:
        """The path below `/apisix/admin/`."""
        if self.kind is Kind.CREDENTIAL:
            return f"consumers/{self.consumer}/credentials/{self.id}"
        return f"{self.kind}/{self.id}"

    def __str__(self) -> str:
        """Name the resource for people: its path."""
        return self.path


@dataclass(frozen=True, slots=True)
class Resource:
    """What is to stand at `ref`, the labels included."""

    ref: Ref
    body: Body


@dataclass(frozen=True, slots=True)
class Observed:
    """What does stand at `ref`, as the gateway returned it."""

    ref: Ref
    body: Body

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels; none if the gateway shows none."""
        found = self.body.get("labels")
        return found if isinstance(found, Mapping) else MappingProxyType({})

    @property
    def ours(self) -> bool:
        """Whether we put it there."""
        return self.labels.get(OWNER_LABEL) == OWNER

    @property
    def revision(self) -> int:
        """The revision at which it was written; 0 if it does not say."""
        text = self.labels.get(REVISION_LABEL, "")
        return int(text) if text.isascii() and text.isdigit() else 0


def revision_of(resource: Resource) -> int:
    """Return the revision that the resource is to carry."""
    return Observed(resource.ref, resource.body).revision


def labels(revision: int, **more: str) -> dict[str, str]:
    """Return the labels of a resource of ours. `more` uses underscores where the label has hyphens."""
    extra = {name.replace("_", "-"): value for name, value in more.items()}
    return {OWNER_LABEL: OWNER, REVISION_LABEL: str(revision), **extra}


def upstream(
    code: str, *, nodes: Mapping[str, int] | Sequence[Body], revision: int, **settings: Any
) -> Resource:
    """Return an upstream. `nodes` maps `host:port` to a weight, or lists APISIX's node objects.

    `settings` are APISIX's own members of an upstream: `type`, `scheme`, `checks`, `timeout` and the like.
    """
    given = dict(nodes) if isinstance(nodes, Mapping) else [dict(node) for node in nodes]
    return Resource(
        Ref(Kind.UPSTREAM, code), {"id": code, "nodes": given, **settings, "labels": labels(revision)}
    )


def service(
    code: str, *, name: str, plugins: Body, revision: int, upstream_id: str | None = None
) -> Resource:
    """Return a service, whose upstream and plugins hold for its routes where they have none of their own."""
    body: dict[str, Any] = {"id": code, "name": name, "plugins": dict(plugins)}
    if upstream_id is not None:
        body["upstream_id"] = upstream_id
    return Resource(Ref(Kind.SERVICE, code), {**body, "labels": labels(revision)})


def consumer_group(code: str, *, plugins: Body, revision: int) -> Resource:
    """Return a consumer group, whose plugins hold for its consumers."""
    return Resource(
        Ref(Kind.CONSUMER_GROUP, code), {"id": code, "plugins": dict(plugins), "labels": labels(revision)}
    )


def route(
    code: str,
    *,
    uris: Iterable[str],
    plugins: Body,
    revision: int,
    upstream_id: str | None = None,
    service_id: str | None = None,
    methods: Iterable[str] = (),
    hosts: Iterable[str] = (),
    priority: int = 0,
    enabled: bool = True,
) -> Resource:
    """Return a route. Without methods or hosts it takes every one.

    Without an upstream it takes its service's; without that too it serves nothing.
    """
    body: dict[str, Any] = {"id": code, "uris": list(uris), "plugins": dict(plugins)}
    if upstream_id is not None:
        body["upstream_id"] = upstream_id
    if service_id is not None:
        body["service_id"] = service_id
    if priority:
        body["priority"] = priority
    if not enabled:
        body["status"] = 0
    if method_list := list(methods):
        body["methods"] = method_list
    if host_list := list(hosts):
        body["hosts"] = host_list
    return Resource(Ref(Kind.ROUTE, code), {**body, "labels": labels(revision)})


def consumer(
    name: str, *, plugins: Body, revision: int, group: str | None = None, period: int | None = None
) -> Resource:
    """Return a consumer. `period` says for which billing period it was made: it changes as time goes by."""
    body: dict[str, Any] = {"username": name, "plugins": dict(plugins)}
    if group is not None:
        body["group_id"] = group
    more = {} if period is None else {"farebox_period": str(period)}
    return Resource(Ref(Kind.CONSUMER, name), {**body, "labels": labels(revision, **more)})


def credential(consumer_name: str, code: str, *, plugins: Body, revision: int) -> Resource:
    """Return a credential of a consumer; APISIX takes exactly one authenticating plugin in it."""
    return Resource(
        Ref(Kind.CREDENTIAL, code, consumer_name),
        {"id": code, "plugins": dict(plugins), "labels": labels(revision)},
    )
