"""What the gateway does to requests and answers on the way: each a checked value of its own. Pure.

A product's policies hold for its routes; a route that has one of its own has that instead. Nothing here
knows which plugin of the gateway does it.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from farebox.products.values import EMPTY, Code, HeaderName, PlainPath, Spec, Statuses, distinct, refuse

Encoding = Literal["br", "gzip"]
STAGES: Final = (1, 5, 25, 100)
Method = Literal[
    "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE",
]  # fmt: skip
_Origin = Annotated[
    str,
    StringConstraints(max_length=253, pattern=r"^(\*|https?://[a-z0-9.\-]+(:[0-9]{1,5})?)$"),
    Field(examples=["https://app.example.com"]),
]
_MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z]+/[a-z0-9.+\-]{1,64}$")]
_OrganizationId = Annotated[
    str, StringConstraints(pattern=r"^(org_)?[a-z0-9]{10}$"), Field(examples=["org_4f7q2k9xyz"])
]
_CORS_METHODS: Final[list[Method]] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS",
]  # fmt: skip
_CORS_HEADERS: Final = [
    "Authorization", "Content-Type", "X-API-Key",
]  # fmt: skip
_CORS_EXPOSED: Final = [
    "RateLimit", "RateLimit-Policy", "Retry-After",
    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
]  # fmt: skip
_ENCODINGS: Final[list[Encoding]] = [
    "br", "gzip",
]  # fmt: skip
_COMPRESSED: Final = [
    "application/json", "application/problem+json", "application/javascript", "application/xml",
    "text/css", "text/csv", "text/html", "text/plain",
]  # fmt: skip
_CACHED_STATUSES: Final = [200]


class Cors(Spec):
    """Which web pages may call. The gateway answers preflight requests itself, without a key."""

    origins: Annotated[list[_Origin], Field(min_length=1, max_length=64), AfterValidator(distinct)]
    methods: Annotated[list[Method], Field(min_length=1), AfterValidator(distinct)] = _CORS_METHODS
    headers: Annotated[list[HeaderName], Field(max_length=64), AfterValidator(distinct)] = _CORS_HEADERS
    expose: Annotated[list[HeaderName], Field(max_length=64), AfterValidator(distinct)] = _CORS_EXPOSED
    max_age: Annotated[int, Field(ge=0, le=86_400)] = 600
    credentials: bool = False

    @model_validator(mode="after")
    def _origins(self) -> Self:
        if "*" in self.origins and len(self.origins) > 1:
            raise refuse("`*` allows every origin; remove the others, or `*`")
        if "*" in self.origins and self.credentials:
            raise refuse("browsers send credentials to named origins only; name them instead of `*`")
        return self


class Compression(Spec):
    """Which answers are compressed: of these types, from so many bytes on, as the caller accepts."""

    encodings: Annotated[list[Encoding], Field(min_length=1), AfterValidator(distinct)] = _ENCODINGS
    types: Annotated[list[_MediaType], Field(min_length=1), AfterValidator(distinct)] = _COMPRESSED
    min_length: Annotated[int, Field(ge=1, le=1_048_576)] = 1024


class Cache(Spec):
    """Answers kept at each gateway node for so many seconds, apart for each organization.

    There is no way to share them between organizations. A caller without a key shares with others that have
    none. A hit is a request like any other: it takes from limits and is one usage line.
    """

    seconds: Annotated[int, Field(ge=1, le=86_400)]
    statuses: Statuses = _CACHED_STATUSES
    obey_cache_control: bool = True


class HeaderIs(Spec):
    """A request header with exactly this value."""

    name: HeaderName
    value: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]


class Release(Spec):
    """A new version at another upstream, and who gets it: some organizations, who sends a header, a share.

    `percentage` is of the requests that the first two do not claim. 0 with organizations or a header is a
    dark launch; 1, 5, 25, 100 one after the other a staged roll-out.
    """

    upstream: Code
    percentage: Annotated[int, Field(ge=0, le=100)] = 0
    organizations: Annotated[list[_OrganizationId], Field(max_length=500), AfterValidator(distinct)] = EMPTY
    header: HeaderIs | None = None


class Rewrite(Spec):
    """The path as the upstream sees it: without a prefix, with another one, or one path for all."""

    strip_prefix: PlainPath | None = None
    add_prefix: PlainPath | None = None
    path: PlainPath | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.path is None and self.strip_prefix is None and self.add_prefix is None:
            raise refuse("give `path`, or `strip_prefix`, `add_prefix` or both")
        if self.path is not None and (self.strip_prefix or self.add_prefix):
            raise refuse("`path` replaces the whole path; remove the prefixes, or `path`")
        if "/" in {self.strip_prefix, self.add_prefix}:
            raise refuse("`/` is no prefix; leave it out")
        return self


class TierLimit(Spec):
    """At most `requests` in each `window` seconds."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.\-]{1,64}$")]
    requests: Annotated[int, Field(ge=1, le=10**12)]
    window: Annotated[int, Field(ge=1, le=10**12)]


class Tier(Spec):
    """What callers without a key get. `without_counter`: what holds while the counters are away."""

    limits: Annotated[list[TierLimit], Field(min_length=1, max_length=8)]
    without_counter: Literal["open", "closed"] = "open"


class Tiers(Spec):
    """Who is served without a key: `polite` callers, who say how to reach them, and `anonymous` ones."""

    anonymous: Tier | None = None
    polite: Tier | None = None

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.anonymous is None and self.polite is None:
            raise refuse("give `anonymous`, `polite` or both; leave `tiers` out to demand a key")
        return self


PlainHttp = Literal["allow", "redirect", "refuse"]
"""What becomes of a request without TLS, before any key is looked at."""
