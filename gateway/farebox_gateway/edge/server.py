"""Puts one gateway process together, runs it, and takes it down without cutting anybody off."""

import asyncio
import contextlib
import gc
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from farebox_gateway.edge.admin import AdminApi
from farebox_gateway.edge.config import EdgeConfig
from farebox_gateway.edge.connections import EdgeServer
from farebox_gateway.edge.counters.base import Counters
from farebox_gateway.edge.data_plane import DataPlane
from farebox_gateway.edge.journal import Journal
from farebox_gateway.edge.listeners import Listeners, listening
from farebox_gateway.edge.node_status import HeldForms, NodeStatus, Stream
from farebox_gateway.edge.plugins.registry import load_plugins
from farebox_gateway.edge.proxy import Proxy
from farebox_gateway.edge.resources import Resources
from farebox_gateway.edge.sealing import Sealer
from farebox_gateway.edge.settings import EdgeSettings
from farebox_gateway.edge.store import Change, Store
from farebox_gateway.edge.upstream_session import open_session
from farebox_gateway.edge.usage_log import UsageLog

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running gateway listens."""

    data: tuple[str, int]
    admin: tuple[str, int]
    secure: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class RunningEdge:
    """A gateway that answers."""

    addresses: Addresses
    log: UsageLog | None
    reload_certificate: Callable[[], None]


@contextlib.asynccontextmanager
async def running(settings: EdgeSettings) -> AsyncIterator[RunningEdge]:
    """Run a gateway for as long as the context lasts; leaving it drains what is in flight.

    Raises `OSError` if a port is taken, `FolderInUseError`, `DamagedJournalError`, `UnsealError`.
    """
    async with contextlib.AsyncExitStack() as stack:
        boot = secrets.token_hex(4)
        config = EdgeConfig()
        loaded = await stack.enter_async_context(load_plugins(settings, config))
        plugins = loaded.plugins
        config.use(plugins)
        stack.callback(config.health.stop)
        held = HeldForms()

        def changed(changes: Sequence[Change]) -> None:
            config.apply(changes)
            held.note(changes)

        sealer = Sealer(settings.data_key or settings.admin_key)
        journal = Journal(settings.state_folder)
        store = Store(journal, changed, sealer, compact_bytes=settings.compact_bytes)
        stack.push_async_callback(store.close)
        store.recover()
        usage_log = None
        if settings.log_path is not None:
            usage_log = UsageLog(settings.log_path, backlog_bytes=settings.log_backlog_bytes)
            stack.callback(usage_log.close)
        session = await stack.enter_async_context(open_session(settings.max_head_bytes))
        data_plane = DataPlane(settings, config, usage_log, Proxy(session), boot=boot)
        server = EdgeServer(data_plane, data_plane.broken, settings)
        resources = Resources(store, plugins)
        await stack.enter_async_context(held.following(store))
        await resources.expire()
        admin_app = _admin_app(
            settings,
            resources,
            lambda: _status(settings, store, usage_log, loaded.counters, boot),
            config.health.states,
        )
        stream = Stream(
            settings.node,
            boot,
            settings.worker,
            lambda: 0 if usage_log is None else usage_log.sequence,
            lambda: time.time_ns() // 1_000_000,
        )
        keys = [key for key in (settings.admin_key, settings.viewer_key) if key]
        NodeStatus(held, store, stream, plugins, keys=keys).add_to(admin_app)
        runner = web.AppRunner(
            admin_app,
            access_log=None,
            handler_cancellation=False,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        admin_site = web.TCPSite(runner, settings.admin_host, settings.admin_port)
        await admin_site.start()
        listeners = await stack.enter_async_context(listening(settings, server))
        if listeners.secure is not None:
            config.https_port = settings.tls_public_port or listeners.secure[1]
        stack.push_async_callback(_drain, listeners, server, data_plane, settings.drain_seconds)
        _settle_garbage_collector()
        addresses = Addresses(listeners.data, _bound(runner.addresses[0]), listeners.secure)
        yield RunningEdge(addresses, usage_log, listeners.reload)


async def serve(settings: EdgeSettings, *, ready: Callable[[Addresses], None]) -> None:
    """Run until TERM or INT; USR1 reopens the usage log, HUP reads the certificate again.

    `ready` is told the bound addresses.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as edge:
        if edge.log is not None:
            loop.add_signal_handler(signal.SIGUSR1, edge.log.reopen)
        else:
            loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        loop.add_signal_handler(signal.SIGHUP, edge.reload_certificate)
        ready(edge.addresses)
        await stop.wait()
        log.info("stopping: no new connections, requests in flight are finished")


async def _drain(listeners: Listeners, server: EdgeServer, data_plane: DataPlane, seconds: float) -> None:
    data_plane.draining = True
    listeners.close()
    server.pre_shutdown()
    await server.shutdown(seconds)


def _admin_app(
    settings: EdgeSettings,
    resources: Resources,
    status: Callable[[], dict[str, Any]],
    health: Callable[[], list[dict[str, Any]]],
) -> web.Application:
    app = web.Application(client_max_size=0)
    admin = AdminApi(resources, admin_key=settings.admin_key, viewer_key=settings.viewer_key)
    admin.add_to(app)

    async def healthy(request: web.Request) -> web.Response:
        del request
        return web.json_response({"status": "ok"})

    async def introspect(request: web.Request) -> web.Response:
        del request
        return web.Response(body=msgspec.json.encode(status()), content_type="application/json")

    async def nodes(request: web.Request) -> web.Response:
        return admin.refuse(request) or web.Response(
            body=msgspec.json.encode(health()), content_type="application/json"
        )

    app.router.add_get("/v1/healthcheck", nodes)
    app.router.add_get("/status", healthy)
    app.router.add_get("/apisix/status", healthy)
    app.router.add_get("/farebox/status", introspect)
    return app


def _settle_garbage_collector() -> None:
    """Leave the loaded state out of later collections: it is never garbage and only grows their pauses."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _status(
    settings: EdgeSettings, store: Store, usage_log: UsageLog | None, counters: Counters, boot: str
) -> dict[str, Any]:
    return {
        "node": settings.node,
        "boot": boot,
        "worker": settings.worker,
        "seq": 0 if usage_log is None else usage_log.sequence,
        "lines_waiting": 0 if usage_log is None else usage_log.waiting,
        "lines_lost": 0 if usage_log is None else usage_log.lost,
        "revision": store.revision,
        "counts": store.counts(),
        "counters": counters.status(),
    }


def _bound(address: Any) -> tuple[str, int]:
    return address[0], address[1]
