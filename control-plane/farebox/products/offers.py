"""API products and their routes as values: what is sold, and on which terms of traffic. Pure.

A product names an offer and carries what its routes have in common. `effective` says what holds for a route.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from farebox.fields import Name
from farebox.products.policies import (
    Cache,
    Compression,
    Cors,
    Method,
    PlainHttp,
    Release,
    Rewrite,
    Tiers,
)
from farebox.products.values import EMPTY, Code, HostName, Path, Spec, distinct, refuse
from farebox_contract.billable import DEFAULT_RULE, RULES

MOST_UNITS: Final = 1_000_000
_QueryParameter = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]{1,64}$"), Field(examples=["api_key"])
]


class Policies(Spec):
    """What a product may say for its routes, and a route for itself."""

    upstream: Code | None = None
    release: Release | None = None
    hosts: Annotated[list[HostName], Field(max_length=64), AfterValidator(distinct)] = EMPTY
    cors: Cors | None = None
    compression: Compression | None = None
    plain_http: PlainHttp | None = None
    cache: Cache | None = None
    tiers: Tiers | None = None
    query_parameter: _QueryParameter | None = None


class ProductSpec(Policies):
    """An API product: a named offer of routes."""

    code: Code
    name: Name
    description: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f]*$")] = ""


def _known_rule(name: str) -> str:
    if name not in RULES:
        raise refuse(f"there is no billable rule of this name; there are: {', '.join(sorted(RULES))}")
    return name


class RouteSpec(Policies):
    """A metered route. `code` is the route's id at the gateway and the usage line's `route`.

    `units` is what a request counts for; with `upstream_units` the upstream's X-Farebox-Units decides. Among
    routes that match equally well the highest `priority` serves.
    """

    code: Code
    product: Code | None = None
    paths: Annotated[list[Path], Field(min_length=1, max_length=256), AfterValidator(distinct)]
    methods: Annotated[list[Method], AfterValidator(distinct)] = EMPTY
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    enabled: bool = True
    units: Annotated[int, Field(ge=0, le=MOST_UNITS)] = 1
    upstream_units: bool = False
    billable_rule: Annotated[str, AfterValidator(_known_rule)] = DEFAULT_RULE
    rewrite: Rewrite | None = None

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.upstream is None and self.product is None:
            raise refuse("a route needs an `upstream`, or a `product` that has one")
        return self


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one route once its product has been heard. `cache` and the like: None is none."""

    upstream: str | None
    release: Release | None
    hosts: list[str]
    cors: Cors | None
    compression: Compression | None
    plain_http: PlainHttp
    cache: Cache | None
    tiers: Tiers | None
    query_parameter: str | None


def effective(route: RouteSpec, product: ProductSpec | None) -> Terms:
    """Say what holds for a route. A product's release is of its upstream: a route to another has none."""
    base: Policies = product or route
    follows = route.upstream is None
    return Terms(
        upstream=route.upstream or base.upstream,
        release=route.release or (base.release if follows else None),
        hosts=route.hosts or base.hosts,
        cors=route.cors or base.cors,
        compression=route.compression or base.compression,
        plain_http=route.plain_http or base.plain_http or "allow",
        cache=route.cache or base.cache,
        tiers=route.tiers or base.tiers,
        query_parameter=route.query_parameter or base.query_parameter,
    )


def contradiction(route: RouteSpec, product: ProductSpec | None) -> tuple[str, str] | None:
    """Return the field and the remedy where route and product together make no sense; None if they do."""
    terms = effective(route, product)
    if terms.upstream is None:
        return "upstream", f"the product {route.product!r} has no upstream; give the route or the product one"
    if terms.release is not None and terms.release.upstream == terms.upstream:
        return "release.upstream", "the new version needs another upstream than the old one"
    if terms.cache is not None and route.upstream_units:
        return "cache", "a cached answer has no X-Farebox-Units; remove `cache` or `upstream_units`"
    return None
