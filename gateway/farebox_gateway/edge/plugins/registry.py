"""Which plugins this gateway has, made with what each of them needs."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from farebox_gateway.edge.config import EdgeConfig
from farebox_gateway.edge.plugins.base import Plugin
from farebox_gateway.edge.plugins.farebox_auth import FareboxAuth
from farebox_gateway.edge.plugins.farebox_meter import FareboxMeter
from farebox_gateway.edge.settings import EdgeSettings


@contextlib.asynccontextmanager
async def build_plugins(settings: EdgeSettings, config: EdgeConfig) -> AsyncIterator[Mapping[str, Plugin]]:
    """Make the plugins and keep what they hold open for as long as the context lasts."""
    plugins: list[Plugin] = [
        FareboxAuth(config.consumers.get, default_prefix=settings.key_prefix),
        FareboxMeter(),
    ]
    yield {plugin.name: plugin for plugin in plugins}
