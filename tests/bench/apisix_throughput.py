"""Requests that one worker of a real Apache APISIX serves in a CPU second: plain, ours, stock recipe.

    python -m tests.bench.apisix_throughput [--seconds 4] [--rounds 3] [--organizations 1000] [--json FILE]

What must stand: an APISIX with one worker, our plugins, `gateway/apisix/config.yaml` and counters in
Redis (seeded: `farebox:counters:generation` is set), with the global rule `{"farebox-meter": {}}`; and an
APISIX of the same build with its stock configuration and one worker. Their variables,
FAREBOX_TEST_GATEWAY_* and FAREBOX_TEST_STOCK_*, are in `apisix_gateways`: `_ADMIN_URL`, `_DATA_URL`,
`_ADMIN_KEY`, `_ETCD_URL`, `_PID_FILE`, and of ours `_REDIS_URL`. wrk and nginx (for the upstream) must be
installed.

wrk asks over 32 connections with the keys of all organizations at random. All variants are measured in
one run, in turns; a ratio is the median of the turns' ratios. Each worker is kept on the first core, load
and upstream on the last. The stock recipe is `key-auth`, `limit-count` with Redis, and `file-logger` with
the fields of our usage line that it can give: once with one window, the same for everybody, on the route (the
least that can be compared), and once with a window and a quota in a consumer group, as plans need it and as
ours has them.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from tests.bench import apisix_gateways as gateways
from tests.bench.apisix_gateways import Etcd, Named
from tests.bench.edge_throughput import WRK_SCRIPT, Round, Variant, measure, pin, summary, table
from tests.gateway.harness import Gateway
from tests.plugins.accounts import this_month

NGINX: Final = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} backlog=1024; keepalive_requests 1000000000; keepalive_timeout 1h;
        location / {{ default_type application/json; return 200 '{{"id":"msg_1","sent":true}}'; }}
    }}
}}
"""
STOCK_FIELDS: Final = {
    "ts": "$msec", "rid": "$request_id", "consumer": "$consumer_name", "route": "$route_id",
    "method": "$request_method", "path": "$uri", "status": "$status", "in": "$request_length",
    "out": "$bytes_sent", "us": "$request_time", "up_us": "$upstream_response_time", "ip": "$remote_addr",
    "ua": "$http_user_agent",
}  # fmt: skip
FIRST_PLANLESS: Final = 500_000
"""From this number on organizations have no plan: auth and the usage line alone."""


@contextlib.asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[int]:
    """Run an nginx that answers at once; it must never be what is measured."""
    folder.mkdir()
    folder.chmod(0o777)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    process = await asyncio.create_subprocess_exec(
        "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")
    )
    pin(process.pid, -1)
    try:
        for _ in range(100):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:
            pin(int(child), -1)
        yield port
    finally:
        process.terminate()
        await process.wait()


def _ours(numbers: range, *, plan: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    now = int(time.time())
    times = {"create_time": now, "update_time": now}
    for number in numbers:
        key = gateways.loaded_key(number)
        path = f"/consumers/{key.name.organization}"
        plugins: dict[str, Any] = {"farebox-auth": {"state": "active"}}
        group = {}
        if plan:
            plugins["farebox-limit"] = {"subscription": key.name.organization, "periods": this_month()}
            group = {"group_id": "bench-plan"}
        yield path, {"username": key.name.organization, "plugins": plugins, **group, **times}
        credential = {"farebox-auth": {"digest": key.digest, "environment": "live"}}
        yield f"{path}/credentials/{key.name.key}", {"id": key.name.key, "plugins": credential, **times}


def _stock(numbers: range, group: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    now = int(time.time())
    times = {"create_time": now, "update_time": now}
    for number in numbers:
        key = gateways.loaded_key(number)
        path = f"/consumers/{key.name.organization}"
        member = {"group_id": group} if group else {}
        yield path, {"username": key.name.organization, "plugins": {}, **member, **times}
        plugins = {"key-auth": {"key": f"Bearer {key.text}"}}
        yield f"{path}/credentials/{key.name.key}", {"id": key.name.key, "plugins": plugins, **times}


def _recipe(log: Path) -> dict[str, Any]:
    return {
        "key-auth": {"header": "Authorization"},
        "file-logger": {"path": str(log), "log_format": STOCK_FIELDS},
    }


def _stock_limits(redis_url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `limit-count` with one window, and with the window and the quota of our plan."""
    redis = urlsplit(redis_url)
    where = {"policy": "redis", "redis_host": redis.hostname, "redis_port": redis.port or 6379}
    one = {"count": 10**9, "time_window": 60, "key": "consumer_name", **where}
    rules = [
        {"count": 10**9, "time_window": 60, "key": "${consumer_name}:minute", "header_prefix": "minute"},
        {"count": 10**9, "time_window": 2_592_000, "key": "${consumer_name}:month", "header_prefix": "month"},
    ]
    return {"limit-count": one}, {"limit-count": {"rules": rules, **where}}


def routes_of_ours() -> dict[str, dict[str, Any]]:
    """Return path and plugins of each route on our gateway."""
    keyed: dict[str, Any] = {"farebox-auth": {}, "farebox-limit": {}}
    return {"bench-line": {}, "bench-auth": keyed, "bench-full": keyed}


@contextlib.asynccontextmanager
async def filled(ours: Named, stock: Named, count: int, port: int, log: Path) -> AsyncIterator[None]:
    """Give both gateways their routes and organizations for a while."""
    node = {"type": "roundrobin", "nodes": {f"127.0.0.1:{port}": 1}}
    recipe = _recipe(log)
    on_route, in_plan = _stock_limits(ours.setting("REDIS_URL"))
    planned, planless = range(1, count + 1), range(FIRST_PLANLESS, FIRST_PLANLESS + count)
    group = {
        "farebox-limit": {
            "limits": [{"name": "minute", "requests": 10**9, "window": 60}],
            "quota": {"units": 10**9, "kind": "hard"},
        }
    }
    async with aiohttp.ClientSession() as session:

        async def route(gateway: Named, name: str, plugins: dict[str, Any]) -> None:
            value = {"uri": f"/{name}", "plugins": plugins, "upstream": node}
            await gateways.admin(gateway, session, "PUT", f"/routes/{name}", value)

        try:
            for name, plugins in routes_of_ours().items():
                await route(ours, name, plugins)
            await gateways.admin(ours, session, "PUT", "/consumer_groups/bench-plan", {"plugins": group})
            await Etcd(ours, session).put(_ours(planned, plan=True))
            await Etcd(ours, session).put(_ours(planless, plan=False))
            await route(stock, "bench-plain", {})
            await route(stock, "bench-recipe", recipe | on_route)
            await route(stock, "bench-plans", recipe)
            await gateways.admin(stock, session, "PUT", "/consumer_groups/bench-plan", {"plugins": in_plan})
            await Etcd(stock, session).put(_stock(planless, None))
            await Etcd(stock, session).put(_stock(planned, "bench-plan"))
            yield
        finally:
            for name in routes_of_ours():
                await gateways.admin(ours, session, "DELETE", f"/routes/{name}")
            for name in ("bench-plain", "bench-recipe", "bench-plans"):
                await gateways.admin(stock, session, "DELETE", f"/routes/{name}")
            for gateway, numbers in itertools.product((ours, stock), (planned, planless)):
                names = (gateways.loaded_key(number).name.organization for number in numbers)
                await Etcd(gateway, session).delete(f"/consumers/{name}" for name in names)
            await asyncio.sleep(1)
            for gateway in (ours, stock):
                await gateways.admin(gateway, session, "DELETE", "/consumer_groups/bench-plan?force=true")


def _script(folder: Path, name: str, numbers: range) -> Path:
    (folder / name).write_text("".join(f"{gateways.loaded_key(number).text}\n" for number in numbers))
    path = folder / f"{name}.lua"
    path.write_text(WRK_SCRIPT % (folder / name))
    return path


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """Measure all variants in turns."""
    ours, stock = gateways.named(), gateways.named("FAREBOX_TEST_STOCK")
    workers = {each.family: each.worker() for each in (ours, stock)}
    for pid in workers.values():
        pin(pid, 0)
    count: int = given.organizations
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        folder.chmod(0o777)
        with_plan = _script(folder, "planned", range(1, count + 1))
        planless = _script(folder, "planless", range(FIRST_PLANLESS, FIRST_PLANLESS + count))

        def variant(name: str, gateway: Named, path: str) -> Variant:
            pid = workers[gateway.family]
            return Variant(name, Gateway(gateway.admin, gateway.data, foreign=True, pid=pid), path)

        variants = [
            (variant("stock, plain proxy", stock, "/bench-plain"), with_plan),
            (variant("usage line", ours, "/bench-line"), with_plan),
            (variant("key and usage line", ours, "/bench-auth"), planless),
            (variant("key, window, quota (Redis), usage line", ours, "/bench-full"), with_plan),
            (variant("stock, one window on the route, file-logger", stock, "/bench-recipe"), planless),
            (variant("stock, window and quota by plan, file-logger", stock, "/bench-plans"), with_plan),
        ]
        async with (
            nginx(folder / "upstream") as port,
            filled(ours, stock, count, port, folder / "stock.log"),
        ):
            key, other = gateways.loaded_key(count).text, gateways.loaded_key(FIRST_PLANLESS + count - 1).text
            for gateway, path, text_ in (
                (ours, "/bench-full", key), (ours, "/bench-auth", other),
                (stock, "/bench-recipe", other), (stock, "/bench-plans", key),
            ):  # fmt: skip
                await gateways.until_status(gateway, path, {"Authorization": f"Bearer {text_}"}, 200, 60)
            measured: dict[str, list[Round]] = {one.name: [] for one, _ in variants}
            for one, script in variants:
                await measure(one, script, seconds=1, connections=32)
            for _ in range(given.rounds):
                for one, script in variants:
                    measured[one.name].append(
                        await measure(one, script, seconds=given.seconds, connections=32)
                    )
    return {**gateways.machine(), **summary(measured, count, 32)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--organizations", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    gateways.need(
        *gateways.family_needs("FAREBOX_TEST_GATEWAY", "ETCD_URL", "PID_FILE", "REDIS_URL"),
        *gateways.family_needs("FAREBOX_TEST_STOCK", "ETCD_URL", "PID_FILE"),
    )
    missing = [name for name in ("wrk", "nginx") if shutil.which(name) is None]
    if missing:
        print(f"not there: apt-get install {' '.join(missing)}", file=sys.stderr)
        sys.exit(2)
    result = asyncio.run(run(given))
    print(table(result))
    print(json.dumps(result))
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
