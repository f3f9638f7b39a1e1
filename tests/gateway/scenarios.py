"""What is recorded: requests by subject, each scenario complete in itself.

Placeholders are explained in `recorded`. A scenario that needs a plugin of ours says so by its name,
`farebox-…`, and is recorded where that plugin is loaded.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from tests.gateway.recorded import Request

_NODES: Final = {"nodes": {"127.0.0.1:{upstream}": 1}}
_DEAD: Final = {"nodes": {"127.0.0.1:{dead}": 1}}
_ALWAYS: Final = [{"start": 1_577_836_800_000, "end": 4_102_444_800_000}]
Steps = Sequence[Request]


def _admin(method: str, path: str, body: Any = None, **more: Any) -> Request:
    return Request("admin", method, path, body, **more)


def _data(path: str, method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("data", method, path, headers=named or None)


def _route(plugins: Mapping[str, Any], **more: Any) -> Request:
    rewrite = {"regex_uri": ["^/{id}(/.*)$", "$1"]}
    value = {"uri": "/{id}/*", "plugins": {"proxy-rewrite": rewrite, **plugins}, "upstream": _NODES, **more}
    return _admin("PUT", "/routes/{id}", value)


def _envelopes() -> Steps:
    one = "/upstreams/{id}"
    return (
        _admin("GET", one),
        _admin("PUT", one, _NODES),
        _admin("PUT", one, {**_NODES, "desc": "again"}),
        _admin("GET", one),
        _admin("PATCH", one, {"desc": "patched", "retries": 2}),
        _admin("PATCH", one, {"desc": None}),
        _admin("DELETE", one),
        _admin("DELETE", one),
        _admin("PATCH", one, {"desc": "x"}),
        _admin("PUT", "/upstreams", {**_NODES, "id": "{id}"}),
        _admin("DELETE", one),
        _admin("PUT", "/consumers", {"username": "{id}"}),
        _admin("GET", "/consumers/{id}/credentials"),
        _admin("PUT", "/consumers/{id}/credentials/{id}c", {"plugins": {"key-auth": {"key": "{id}k"}}}),
        _admin("GET", "/consumers/{id}/credentials"),
        _admin("GET", "/consumers/{id}/credentials/{id}c"),
        _admin("DELETE", "/consumers/{id}"),
        _admin("GET", "/consumers/{id}/credentials/{id}c"),
        _admin("GET", "/consumers?page=1&page_size=9"),
        _admin("GET", "/consumers?page=100000&page_size=501"),
    )


def _refusals() -> Steps:
    route = "/routes/{id}"
    wrong: list[tuple[str, Any]] = [
        (route, {"uri": "/x", "zzz": 1}),
        (route, {"uri": "/x", "plugins": {"no-such": {}}}),
        (route, {"uri": "/x", "upstream_id": "nope"}),
        (route, {"uri": "/x", "service_id": "nope"}),
        (route, {"uri": 1, "upstream": _NODES}),
        (route, {"uri": None, "upstream": _NODES}),
        (route, {"id": "other", "uri": "/x", "upstream": _NODES}),
        (route, {"uri": "/x", "plugins": {}, "status": 2}),
        (route, {"uri": "/x", "plugins": {}, "hosts": []}),
        (route, {"uri": "/x", "plugins": {}, "priority": "high"}),
        ("/upstreams/{id}", {**_NODES, "retries": -1}),
        ("/upstreams/{id}", {**_NODES, "create_time": 1}),
        ("/upstreams/{id}", {**_NODES, "type": "chash"}),
        ("/upstreams/{id}", {**_NODES, "type": "chash", "key": "no variable"}),
        ("/upstreams/{id}", {**_NODES, "pass_host": "rewrite"}),
        ("/upstreams/{id}", {"nodes": {"127.0.0.1:99999": 1}}),
        ("/upstreams/{id}", {"nodes": [{"host": "a", "port": 80}]}),
        ("/upstreams/{id}", {**_NODES, "checks": {"passive": {}}}),
        ("/upstreams/{id}", {**_NODES, "checks": {"active": {"healthy": {"interval": 0}}}}),
        ("/upstreams/{id}", {**_NODES, "timeout": {"connect": 1, "send": 1}}),
        ("/consumers/{id}", {"username": "other"}),
        ("/consumers", {"username": "a.b"}),
        ("/consumers", {"desc": "x"}),
        ("/consumers", {"username": "{id}", "group_id": "missing"}),
        ("/consumers", {"username": "{id}", "labels": {"a": ""}}),
        ("/consumers/{id}/credentials/c", {"plugins": {}}),
        ("/consumer_groups/{id}", {"desc": "x"}),
        ("/plugin_metadata/no-such", {}),
        (route, {"uri": "/x", "plugins": {"limit-count": {"count": 0, "time_window": 1}}}),
        (route, {"uri": "/x", "plugins": {"cors": {"allow_credential": True}}}),
        (route, {"uri": "/x", "plugins": {"redirect": {"http_to_https": True, "uri": "/y"}}}),
        (route, {"uri": "/x", "plugins": {"proxy-cache": {"cache_strategy": "memory"}}}),
        (route, {"uri": "/x", "plugins": {"gzip": {"comp_level": 0}}}),
        (route, {"uri": "/x", "plugins": {"traffic-split": {"rules": [{"match": [{"vars": [["a"]]}]}]}}}),
    ]
    return (
        Request("admin", "GET", "/routes/{id}", headers={}),
        Request("admin", "GET", "/routes/{id}", headers={"X-API-KEY": "wrong"}),
        *(_admin("PUT", path, body) for path, body in wrong),
        _admin("PUT", route, raw="{bad json"),
        _admin("PUT", "/nonsense/{id}", {}),
        _admin("POST", "/consumers", {"username": "{id}"}),
        _admin("PATCH", "/consumers/{id}", {"desc": "x"}),
        _admin("GET", "/plugins/no-such"),
    )


def _in_use() -> Steps:
    return (
        _admin("PUT", "/upstreams/{id}", _NODES),
        _admin("PUT", "/services/{id}", {"upstream_id": "{id}"}),
        _admin("PUT", "/routes/{id}", {"uri": "/{id}", "service_id": "{id}"}),
        _data("/{id}"),
        _admin("DELETE", "/upstreams/{id}"),
        _admin("DELETE", "/services/{id}"),
        _admin("DELETE", "/routes/{id}"),
        _data("/{id}"),
        _admin("DELETE", "/services/{id}"),
        _admin("DELETE", "/upstreams/{id}"),
    )


def _failures() -> Steps:
    brief = {"connect": 1, "send": 1, "read": 0.2}
    return (
        _data("/{id}/nowhere"),
        _admin("PUT", "/routes/{id}", {"uri": "/{id}", "upstream": _DEAD}),
        _data("/{id}"),
        _data("/{id}", "POST"),
        _admin("PUT", "/routes/{id}", {"uri": "/{id}", "plugins": {}}),
        _data("/{id}"),
        _admin("PUT", "/routes/{id}", {"uri": "/{id}", "upstream": {"nodes": []}}),
        _data("/{id}"),
        _route({}, timeout=brief),
        _data("/{id}/gated/never"),
        _data("/{id}/broken/head"),
        _data("/{id}/status/503"),
        _admin(
            "PUT",
            "/routes/{id}",
            {"uri": "/{id}", "upstream": {"nodes": {"127.0.0.1:{dead}": 1, "127.0.0.1:{upstream}": 1}}},
        ),
        *[_data("/{id}")] * 3,
    )


def _cors() -> Steps:
    named = {"allow_origins": "https://a.example,https://b.example", "allow_credential": True}
    named |= {"allow_methods": "GET,POST", "allow_headers": "X-One", "expose_headers": "X-Two", "max_age": 60}
    return (
        _route({"cors": {}}),
        _data("/{id}/x", Origin="https://a.example"),
        _data("/{id}/x", "OPTIONS", Origin="https://a.example", Access_Control_Request_Method="PUT"),
        _route({"cors": named}),
        _data("/{id}/x", Origin="https://a.example"),
        _data("/{id}/x", Origin="https://c.example"),
        _data("/{id}/x"),
        _data("/{id}/x", "OPTIONS", Origin="https://b.example", Access_Control_Request_Method="POST"),
        _route({"cors": {"allow_origins_by_regex": [r".*\.example$"]}}),
        _data("/{id}/x", Origin="https://d.example"),
        _data("/{id}/x", Origin="https://d.test"),
    )


def _key_auth() -> Steps:
    return (
        _admin("PUT", "/consumers", {"username": "{id}", "labels": {"custom_id": "c-1"}}),
        _admin("PUT", "/consumers/{id}/credentials/{id}c", {"plugins": {"key-auth": {"key": "{id}k"}}}),
        _route({"key-auth": {}}),
        _data("/{id}/x"),
        _data("/{id}/x", apikey="wrong"),
        _data("/{id}/x", apikey="{id}k"),
        _data("/{id}/x?apikey={id}k&a=1"),
        _data("/{id}/x", apikey="{id}k", X_Consumer_Username="evil", X_Credential_Identifier="evil"),
        _route({"key-auth": {"hide_credentials": True, "header": "X-Own", "realm": "mine"}}),
        _data("/{id}/x", X_Own="{id}k"),
        _data("/{id}/x"),
        _admin("DELETE", "/consumers/{id}/credentials/{id}c"),
        _data("/{id}/x", X_Own="{id}k"),
    )


def _limit_count() -> Steps:
    rejecting = {"count": 1, "time_window": 600, "rejected_code": 429, "rejected_msg": "quota exceeded"}
    return (
        _route({"limit-count": {"count": 1, "time_window": 600, "key": "remote_addr"}}),
        _data("/{id}/x"),
        _data("/{id}/x"),
        _route({"limit-count": rejecting}),
        _data("/{id}/x"),
        _data("/{id}/x"),
    )


def _redirect() -> Steps:
    return (
        _route({"redirect": {"uri": "/new$uri", "ret_code": 301}}),
        _data("/{id}/x?a=1"),
        _route({"redirect": {"regex_uri": ["^/{id}/(.*)/(.*)$", "/$2/$1"], "append_query_string": True}}),
        _data("/{id}/a/b?c=d"),
        _data("/{id}/only"),
        _route({"redirect": {"http_to_https": True}}),
        _data("/{id}/x?a=1", Host="api.example"),
        _data("/{id}/x", "POST", Host="api.example:8080"),
    )


def _splitting() -> Steps:
    gone = [{"weighted_upstreams": [{"upstream_id": "{id}gone", "weight": 1}]}]
    dark = [
        {
            "match": [{"vars": [["http_x_preview", "==", "yes"], ["arg_age", ">", 18]]}],
            "weighted_upstreams": [{"upstream": _DEAD, "weight": 1}],
        }
    ]
    never = [{"weighted_upstreams": [{"upstream": _DEAD, "weight": 0}, {"weight": 1}]}]
    return (
        _route({"traffic-split": {"rules": gone}}),
        _data("/{id}/x"),
        _route({"traffic-split": {"rules": dark}}),
        _data("/{id}/x"),
        _data("/{id}/x?age=19", X_Preview="yes"),
        _data("/{id}/x?age=18", X_Preview="yes"),
        _route({"traffic-split": {"rules": never}}),
        *[_data("/{id}/x")] * 3,
    )


def _caching() -> Steps:
    memory = {"cache_strategy": "memory", "cache_zone": "memory_cache"}
    more = {"cache_key": ["$uri"], "cache_bypass": ["$arg_fresh"], "no_cache": ["$arg_never"]}
    return (
        _route({"proxy-cache": memory}),
        *[_data("/{id}/x?a=1")] * 2,
        _data("/{id}/x?a=2"),
        _data("/{id}/x?a=1", "POST"),
        _data("/{id}/x?a=1", "PURGE"),
        _data("/{id}/x?a=1"),
        *[_data("/{id}/status/500")] * 2,
        _route({"proxy-cache": {**memory, **more}}),
        *[_data("/{id}/y?never=1")] * 2,
        _data("/{id}/y"),
        _data("/{id}/y?fresh=1"),
        _data("/{id}/y?fresh=0"),
        _route({"proxy-cache": {**memory, "cache_control": True}}),
        *[_data("/{id}/z")] * 2,
        _data("/{id}/z", Cache_Control="no-store"),
        _data("/{id}/z", Cache_Control="only-if-cached"),
        _data("/{id}/never", "PURGE"),
    )


def _rewriting() -> Steps:
    headers = {"set": {"X-Upstream": "hidden"}, "add": ["X-Added: $request_method"]}
    gone = {"vars": [["status", "==", 500]], "status_code": 410, "body": "gone"}
    return (
        _route({"response-rewrite": {"headers": {**headers, "remove": ["Content-Type"]}}}),
        _data("/{id}/status/200"),
        _route({"response-rewrite": gone}),
        _data("/{id}/status/500"),
        _data("/{id}/status/200"),
        _route({"ip-restriction": {"whitelist": ["10.0.0.0/8"]}}),
        _data("/{id}/x"),
        _route({"ip-restriction": {"blacklist": ["127.0.0.1"], "response_code": 404, "message": "no"}}),
        _data("/{id}/x"),
        _route({"gzip": {"types": ["text/plain"], "min_length": 5, "vary": True}}),
        _data("/{id}/status/200"),
        _data("/{id}/status/404", Accept_Encoding="br;q=1, identity"),
    )


def _farebox_auth() -> Steps:
    account = "/consumers/{org}"
    credential = {"digest": "{digest}", "environment": "live"}
    reading = {"digest": "{other_digest}", "environment": "live", "scopes": ["POST *"]}
    past = {**credential, "expires_at": 1_577_836_800_000}
    return (
        _admin("PUT", "/consumers", {"username": "{org}", "plugins": {"farebox-auth": {"state": "active"}}}),
        _admin("PUT", account + "/credentials/{key_id}", {"plugins": {"farebox-auth": credential}}),
        _admin("PUT", account + "/credentials/{other_id}", {"plugins": {"farebox-auth": reading}}),
        _route({"farebox-auth": {}}),
        _data("/{id}/x"),
        _data("/{id}/x", Authorization="Bearer fbx_live_nobody"),
        _data("/{id}/x", Authorization="Bearer {key}x"),
        _data("/{id}/x", Authorization="Basic {key}"),
        _data("/{id}/x", Authorization="Bearer {key}"),
        _data("/{id}/x", X_API_Key="{key}", X_Consumer_Username="evil", X_Consumer_Group_Id="evil"),
        _data("/{id}/x", Authorization="Bearer {other}"),
        _data("/{id}/x", "POST", Authorization="Bearer {other}"),
        _admin("PUT", account + "/credentials/{key_id}", {"plugins": {"farebox-auth": past}}),
        _data("/{id}/x", Authorization="Bearer {key}"),
        _admin("PUT", account + "/credentials/{key_id}", {"plugins": {"farebox-auth": credential}}),
        _admin(
            "PUT", "/consumers", {"username": "{org}", "plugins": {"farebox-auth": {"state": "suspended"}}}
        ),
        _data("/{id}/x", Authorization="Bearer {key}"),
        _admin("DELETE", account),
        _data("/{id}/x", Authorization="Bearer {key}"),
    )


def _farebox_limit() -> Steps:
    account = "/consumers/{org}"
    credential = {"digest": "{digest}", "environment": "live"}
    hourly = {"limits": [{"name": "decade", "requests": 2, "window": 86_400}]}
    quota = {"limits": [], "quota": {"units": 1, "kind": "hard"}}
    terms = {"subscription": "{org}", "periods": _ALWAYS}
    plugins = {"farebox-auth": {"state": "active"}, "farebox-limit": terms}
    return (
        _admin("PUT", "/consumer_groups/{id}", {"plugins": {"farebox-limit": hourly}}),
        _admin("PUT", "/consumers", {"username": "{org}", "group_id": "{id}", "plugins": plugins}),
        _admin("PUT", account + "/credentials/{key_id}", {"plugins": {"farebox-auth": credential}}),
        _route({"farebox-auth": {}, "farebox-limit": {}, "farebox-meter": {}}),
        *[_data("/{id}/status/200", Authorization="Bearer {key}")] * 3,
        _admin("PUT", "/consumer_groups/{id}", {"plugins": {"farebox-limit": quota}}),
        *[_data("/{id}/status/200", Authorization="Bearer {key}")] * 3,
    )


SCENARIOS: Final[Mapping[str, Steps]] = MappingProxyType(
    {
        "admin-envelopes": _envelopes(),
        "admin-refusals": _refusals(),
        "admin-in-use": _in_use(),
        "upstream-failures": _failures(),
        "cors": _cors(),
        "key-auth": _key_auth(),
        "limit-count": _limit_count(),
        "redirect": _redirect(),
        "traffic-split": _splitting(),
        "proxy-cache": _caching(),
        "answers": _rewriting(),
        "farebox-auth": _farebox_auth(),
        "farebox-limit": _farebox_limit(),
    }
)
