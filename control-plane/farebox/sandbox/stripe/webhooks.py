"""Webhook endpoints and the list of events: https://docs.stripe.com/api/webhook_endpoints and /events."""

from typing import Final
from urllib.parse import urlsplit

from stripe.params import (
    EventListParams,
    EventRetrieveParams,
    WebhookEndpointCreateParams,
    WebhookEndpointDeleteParams,
    WebhookEndpointListParams,
    WebhookEndpointRetrieveParams,
    WebhookEndpointUpdateParams,
)

from farebox.sandbox.store import Obj
from farebox.sandbox.stripe.call import LISTING, Call, Endpoint, names
from farebox.sandbox.stripe.errors import Refusal, invalid


def create(call: Call) -> Obj:
    """POST /v1/webhook_endpoints: the answer alone shows the signing secret."""
    given = call.params
    secret = f"whsec_{call.world.store.new_text(32)}"
    body = call.start(
        "we",
        api_version=call.world.api_version,
        application=None,
        description=given.get("description"),
        enabled_events=given["enabled_events"],
        metadata={},
        status="enabled",
        url=_url(given["url"]),
        _secret=secret,
    )
    call.remember_metadata(body)
    call.keep(body)
    return {**body, "secret": secret}


def _url(given: str) -> str:
    parts = urlsplit(given)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refusal(400, "Invalid URL: an http or https URL is needed.", code="url_invalid", param="url")
    return given


def retrieve(call: Call) -> Obj:
    """GET /v1/webhook_endpoints/{id}."""
    return call.find("webhook_endpoint", call.named["id"])


def update(call: Call) -> Obj:
    """POST /v1/webhook_endpoints/{id}."""
    body, given = call.find("webhook_endpoint", call.named["id"]), call.params
    if "url" in given:
        body["url"] = _url(given["url"])
    if "enabled_events" in given:
        if not given["enabled_events"]:
            raise invalid("Name at least one event.", "enabled_events")
        body["enabled_events"] = given["enabled_events"]
    if "disabled" in given:
        body["status"] = "disabled" if given["disabled"] else "enabled"
    if "description" in given:
        body["description"] = given["description"] or None
    call.remember_metadata(body)
    return call.keep(body)


def delete(call: Call) -> Obj:
    """DELETE /v1/webhook_endpoints/{id}."""
    body = call.find("webhook_endpoint", call.named["id"])
    call.world.store.remove("webhook_endpoint", body["id"])
    return {"id": body["id"], "object": "webhook_endpoint", "deleted": True}


def listed(call: Call) -> Obj:
    """GET /v1/webhook_endpoints."""
    return call.page("webhook_endpoint", "/v1/webhook_endpoints")


def event(call: Call) -> Obj:
    """GET /v1/events/{id}."""
    return call.find("event", call.named["id"])


def events(call: Call) -> Obj:
    """GET /v1/events: what a receiver that lost webhooks reads."""
    given = call.params
    wanted = set(given.get("types") or ([given["type"]] if "type" in given else []))
    prefixes = tuple(name[:-1] for name in wanted if name.endswith("*"))
    return call.page(
        "event",
        "/v1/events",
        keeps=lambda body: not wanted or body["type"] in wanted or body["type"].startswith(prefixes),
    )


ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/webhook_endpoints",
        WebhookEndpointCreateParams,
        create,
        names("url enabled_events description metadata"),
    ),
    Endpoint("GET", "/v1/webhook_endpoints", WebhookEndpointListParams, listed, LISTING - {"created"}),
    Endpoint("GET", "/v1/webhook_endpoints/{id}", WebhookEndpointRetrieveParams, retrieve),
    Endpoint(
        "POST",
        "/v1/webhook_endpoints/{id}",
        WebhookEndpointUpdateParams,
        update,
        names("url enabled_events description metadata disabled"),
    ),
    Endpoint("DELETE", "/v1/webhook_endpoints/{id}", WebhookEndpointDeleteParams, delete),
    Endpoint("GET", "/v1/events", EventListParams, events, LISTING | {"type", "types"}),
    Endpoint("GET", "/v1/events/{id}", EventRetrieveParams, event),
)
