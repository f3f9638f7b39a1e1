"""Assembles the web process: one function makes the application, and nothing is made at import.

What must be opened and closed is opened and closed by `_resources`. The process refuses to start with a
weak token secret or a database role that could pass row security by.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from aiohttp import web
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from farebox import reference, status
from farebox.add_ons import views as add_ons
from farebox.addresses import refuse_unreadable
from farebox.admin import views as admin
from farebox.alerts import views as alerts
from farebox.billing import views as billing
from farebox.billing_details import views as billing_details
from farebox.clock import Clock, SystemClock
from farebox.coupons import views as coupons
from farebox.credit_notes import views as credit_notes
from farebox.credits import views as credits_
from farebox.db import Database
from farebox.dunning import admin_views as dunning_admin
from farebox.dunning import views as dunning
from farebox.endpoints import Endpoints, route
from farebox.gateways import views as gateways
from farebox.html import style
from farebox.keys import admin_views as keys_admin
from farebox.keys import views as keys
from farebox.metrics import Metrics
from farebox.middlewares import edge
from farebox.organizations import views as organizations
from farebox.papers import operator_views as papers_admin
from farebox.papers import pages as paper_pages
from farebox.papers import views as papers
from farebox.payments import card_views as payment_cards
from farebox.payments import operator_views as payments_admin
from farebox.payments import providers
from farebox.payments import views as payment_views
from farebox.payments import webhook_views as webhooks
from farebox.payments.managed import views as managed_views
from farebox.plans import admin_views as plans_admin
from farebox.plans import views as plans
from farebox.products import views as products
from farebox.rate_limits import RateLimiter
from farebox.reading import Reading
from farebox.runtime import (
    CLOCK,
    DATABASE,
    LEAKED,
    METRICS,
    PASSWORDS,
    PROVIDERS,
    RATES,
    READING,
    SETTINGS,
    TOKENS,
)
from farebox.settings import Settings
from farebox.subscriptions import admin_views as subscriptions_admin
from farebox.subscriptions import entitlements
from farebox.subscriptions import views as subscriptions
from farebox.usage import views as usage
from farebox.users import pages
from farebox.users import views as users
from farebox.users.passwords import LeakedPasswords, Passwords
from farebox.users.tokens import Tokens
from farebox.web import MAX_BODY_BYTES

ENDPOINTS: Final[Endpoints] = (
    *users.ENDPOINTS,
    *organizations.ENDPOINTS,
    *keys.ENDPOINTS,
    *keys_admin.ENDPOINTS,
    *plans.ENDPOINTS,
    *products.ENDPOINTS,
    *plans_admin.ENDPOINTS,
    *billing.ENDPOINTS,
    *billing_details.ENDPOINTS,
    *papers.ENDPOINTS,
    *credit_notes.ENDPOINTS,
    *papers_admin.ENDPOINTS,
    *alerts.ENDPOINTS,
    *subscriptions.ENDPOINTS,
    *add_ons.ENDPOINTS,
    *entitlements.ENDPOINTS,
    *coupons.ENDPOINTS,
    *credits_.ENDPOINTS,
    *subscriptions_admin.ENDPOINTS,
    *usage.ENDPOINTS,
    *payment_views.ENDPOINTS,
    *payment_cards.ENDPOINTS,
    *payments_admin.ENDPOINTS,
    *managed_views.ENDPOINTS,
    *dunning.ENDPOINTS,
    *dunning_admin.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *admin.ENDPOINTS,
    *gateways.ENDPOINTS,
)
"""Every endpoint of the API: the router, the OpenAPI document and the tenant walk are made from this."""


def make_app(settings: Settings, *, clock: Clock | None = None) -> web.Application:
    """Return the application. Nothing is connected before it starts.

    Raises `WeakSecretError` for a token secret below 32 characters, `ValueError` for an unreadable proxy.
    """
    refuse_unreadable(settings.trusted_proxies)
    app = web.Application(middlewares=[edge], client_max_size=MAX_BODY_BYTES)
    app[SETTINGS] = settings
    app[CLOCK] = clock or SystemClock()
    app[METRICS] = Metrics()
    app[LEAKED] = LeakedPasswords()
    app[TOKENS] = Tokens(
        settings.token_secret.get_secret_value(), lifetime=timedelta(seconds=settings.token_lifetime_seconds)
    )
    app.cleanup_ctx.append(_resources)
    app.cleanup_ctx.append(_payment_providers)
    app.add_routes([route(declared) for declared in ENDPOINTS])
    app.add_routes(status.ROUTES)
    app.add_routes(reference.routes(ENDPOINTS))
    app.add_routes(pages.ROUTES)
    app.add_routes(paper_pages.ROUTES)
    app.router.add_get("/api/docs/style.css", style)
    return app


async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    database = Database(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    redis_url = settings.redis_url.get_secret_value()
    redis = _redis(redis_url) if redis_url else None
    reading = Reading(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    app[DATABASE] = database
    app[READING] = reading
    await reading.open()
    app[RATES] = RateLimiter(redis, app[METRICS])
    app[PASSWORDS] = Passwords()
    try:
        await database.refuse_unsafe_role()
        yield
    finally:
        app[PASSWORDS].close()
        if redis is not None:
            await redis.aclose()
        await reading.close()
        await database.close()


async def _payment_providers(app: web.Application) -> AsyncIterator[None]:
    async with providers.opened(app[SETTINGS]) as opened:
        app[PROVIDERS] = opened
        yield


def _redis(url: str) -> "Redis":
    # One short try: a limiter that waits for Redis would stop the API it protects.
    redis: Redis = Redis.from_url(
        url, socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 0), max_connections=64
    )
    return redis
