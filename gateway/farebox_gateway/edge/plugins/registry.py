"""Which plugins this gateway has, made with what each of them needs."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from farebox_gateway.edge.config import EdgeConfig
from farebox_gateway.edge.counters.base import Counters
from farebox_gateway.edge.counters.local import LocalCounters
from farebox_gateway.edge.counters.redis_store import RedisCounters
from farebox_gateway.edge.plugins.base import Plugin
from farebox_gateway.edge.plugins.compression import Brotli, Gzip
from farebox_gateway.edge.plugins.cors import Cors
from farebox_gateway.edge.plugins.farebox_auth import FareboxAuth
from farebox_gateway.edge.plugins.farebox_limit import FareboxLimit
from farebox_gateway.edge.plugins.farebox_meter import FareboxMeter
from farebox_gateway.edge.plugins.fault_injection import FaultInjection
from farebox_gateway.edge.plugins.ip_restriction import IpRestriction
from farebox_gateway.edge.plugins.key_auth import KeyAuth
from farebox_gateway.edge.plugins.limit_count import LimitCount
from farebox_gateway.edge.plugins.proxy_cache import ProxyCache
from farebox_gateway.edge.plugins.proxy_rewrite import ProxyRewrite
from farebox_gateway.edge.plugins.redirect import Redirect
from farebox_gateway.edge.plugins.request_id import RequestId
from farebox_gateway.edge.plugins.response_rewrite import ResponseRewrite
from farebox_gateway.edge.plugins.traffic_split import TrafficSplit
from farebox_gateway.edge.settings import EdgeSettings


@dataclass(frozen=True, slots=True)
class Loaded:
    """The plugins by name, and the counters that one of them holds."""

    plugins: Mapping[str, Plugin]
    counters: Counters


@contextlib.asynccontextmanager
async def load_plugins(settings: EdgeSettings, config: EdgeConfig) -> AsyncIterator[Loaded]:
    """Make the plugins and keep what they hold open for as long as the context lasts."""
    async with contextlib.AsyncExitStack() as stack:
        counters = await _open_counters(settings, stack)
        plugins: tuple[Plugin, ...] = (
            Cors(),
            FareboxAuth(
                config.consumers.get,
                counters,
                default_prefix=settings.key_prefix,
                identity_secrets=settings.identity_secrets,
            ),
            FareboxMeter(),
            KeyAuth(config.consumers.get),
            FareboxLimit(counters),
            LimitCount(),
            ProxyRewrite(),
            ProxyCache(settings.cache_bytes),
            TrafficSplit(config.routes.upstream),
            Redirect(lambda: config.https_port),
            ResponseRewrite(),
            IpRestriction(),
            FaultInjection(),
            Gzip(),
            Brotli(),
            RequestId(),
        )
        yield Loaded({plugin.name: plugin for plugin in plugins}, counters)


async def _open_counters(settings: EdgeSettings, stack: contextlib.AsyncExitStack) -> Counters:
    if settings.counters == "redis" and settings.redis_url is not None:
        return await stack.enter_async_context(
            RedisCounters(
                settings.redis_url,
                settings.state_folder / "leases",
                timeout=settings.redis_timeout,
                require_generation=settings.require_generation,
                lease_seconds=settings.lease_seconds,
            )
        )
    local = LocalCounters(settings.state_folder / "counters")
    stack.callback(local.close)
    return local
