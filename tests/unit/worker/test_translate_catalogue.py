"""Products in the gateway's words: what each policy becomes, what comes from the product, what is lacking."""

from typing import Any

import pytest

from farebox.products.offers import ProductSpec, RouteSpec
from farebox.products.upstreams import UpstreamSpec
from farebox_gateway.planner import plan
from farebox_gateway.resources import Kind, Ref
from farebox_worker import translate
from farebox_worker.sync.withheld import keep_back
from farebox_worker.translate import CatalogueFacts

OURS = frozenset({"farebox-auth", "farebox-limit", "farebox-meter"})


def product(**more: Any) -> ProductSpec:
    """Return a product with an upstream."""
    return ProductSpec.model_validate({"code": "p", "name": "P", "upstream": "old", **more})


def route(offer: ProductSpec | None = None, **more: Any) -> dict[str, Any]:
    """Return the body of a route, of the product if there is one."""
    leads = {"upstream": "old"} if offer is None else {"product": "p"}
    spec = RouteSpec.model_validate({"code": "r", "paths": ["/v1/*"], **leads, **more})
    return dict(translate.route(spec, offer, revision=1).body)


def stock(body: dict[str, Any]) -> dict[str, Any]:
    """Return the plugins that are not ours."""
    return {name: conf for name, conf in body["plugins"].items() if name not in OURS}


def test_an_upstream_says_everything_that_a_gateway_would_decide_by_itself() -> None:
    """Timeouts, balancing and connections are said; an IPv6 node keeps its brackets."""
    spec = UpstreamSpec.simple("u", {"[::1]:8080": 2})
    body = translate.upstream(spec, revision=7).body
    assert body["nodes"] == [{"host": "[::1]", "port": 8080, "weight": 2, "priority": 0}]
    assert body["timeout"] == {"connect": 60, "send": 60, "read": 60}
    assert body["type"] == "roundrobin"
    assert "retries" not in body


def test_a_product_carries_what_its_routes_share_and_a_route_what_is_its_own() -> None:
    """Stock policies stand once, on the service; hosts, tiers and the release are said on each route."""
    offer = product(
        compression={},
        hosts=["api.example.com"],
        query_parameter="key",
        release={"upstream": "new", "percentage": 5},
    )
    service = translate.product(offer, revision=1).body
    assert sorted(service["plugins"]) == ["brotli", "gzip"]
    assert service["upstream_id"] == "old"
    body = route(offer)
    assert (body["service_id"], body["hosts"]) == ("p", ["api.example.com"])
    assert "upstream_id" not in body
    assert list(stock(body)) == ["traffic-split"]
    assert body["plugins"]["farebox-auth"] == {"query_parameter": "key"}
    apart = route(offer, upstream="third")
    assert stock(apart) == {}
    assert apart["upstream_id"] == "third"


def test_a_route_can_take_back_what_its_product_does() -> None:
    """APISIX merges plugin by plugin, so what a route does not want is switched off by name."""
    offer = product(compression={}, plain_http="redirect")
    body = route(offer, compression={"encodings": ["gzip"]}, plain_http="allow")
    assert body["plugins"]["brotli"] == {"_meta": {"disable": True}}
    assert body["plugins"]["redirect"]["_meta"] == {"disable": True}
    refusing = route(offer, plain_http="refuse")["plugins"]
    assert refusing["redirect"]["_meta"] == {"disable": True}
    assert refusing["fault-injection"]["_meta"] == {"priority": 3900}


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ({}, None),
        ({"percentage": 100}, [{"weighted_upstreams": [{"upstream_id": "new", "weight": 1}]}]),
        (
            {"percentage": 1},
            [{"weighted_upstreams": [{"upstream_id": "new", "weight": 1}, {"weight": 99}]}],
        ),
        (
            {"organizations": ["org_4f7q2k9xyz", "aaaaaaaaaa"]},
            [
                {
                    "match": [{"vars": [["consumer_name", "in", ["4f7q2k9xyz", "aaaaaaaaaa"]]]}],
                    "weighted_upstreams": [{"upstream_id": "new", "weight": 1}],
                }
            ],
        ),
    ],
)
def test_a_release_is_a_split_of_traffic(given: dict[str, Any], rules: list[Any] | None) -> None:
    """Nobody, everybody, a share, or those whom a key proved."""
    made = stock(route(release={"upstream": "new", **given}))
    assert made == ({} if rules is None else {"traffic-split": {"rules": rules}})


def test_preflight_reaches_a_route_of_few_methods() -> None:
    """OPTIONS is taken along where pages may call; a route that takes every method takes it anyway."""
    cors = {"origins": ["*"]}
    assert route(cors=cors, methods=["GET"])["methods"] == ["GET", "OPTIONS"]
    assert "methods" not in route(cors=cors)


def test_a_cache_key_begins_with_whose_answer_it_is() -> None:
    """The name cannot be continued by the caller's Host header, and limits are taken before a hit."""
    conf = stock(route(cache={"seconds": 5}))["proxy-cache"]
    assert conf["cache_key"][:2] == ["$consumer_name", "::"]
    assert conf["_meta"]["priority"] < 1002
    assert "consumer_isolation" not in conf


def test_what_a_gateway_lacks_is_kept_back_and_named_and_nothing_else() -> None:
    """A service without its plugin takes its routes with it; a route of the same gateway is still pushed."""
    facts = CatalogueFacts(
        1,
        (),
        (UpstreamSpec.simple("old", {"h:1": 1}),),
        (product(compression={"encodings": ["br"]}),),
        (
            RouteSpec.model_validate({"code": "r", "product": "p", "paths": ["/r"]}),
            RouteSpec.model_validate({"code": "s", "upstream": "old", "paths": ["/s"]}),
        ),
    )
    desired = list(translate.catalogue(facts, nonce="n", with_routes=True))
    made = keep_back(plan(desired, []), desired, OURS)
    assert [str(step.ref) for step in made.steps] == ["upstreams/old", "routes/farebox-canary", "routes/s"]
    assert [conflict.ref for conflict in made.conflicts] == [Ref(Kind.SERVICE, "p"), Ref(Kind.ROUTE, "r")]
    assert all("has not loaded brotli" in str(conflict) for conflict in made.conflicts)
    assert keep_back(plan(desired, []), desired, OURS | {"brotli"}).conflicts == ()
