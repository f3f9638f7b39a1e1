"""What happens when something that the API needs is away, or when somebody asks too often."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from tests.support.api_client import PASSWORD, Api
from tests.support.web import SECRET, calling

from farebox import migrations
from farebox.app import make_app
from farebox.clock import ManualClock
from farebox.settings import Settings
from farebox_cli.servers import EmbeddedPostgres, EmbeddedRedis


def changed(settings: Settings, **values: object) -> Settings:
    """The settings with other values."""
    plain = {name: getattr(settings, name) for name in type(settings).model_fields}
    return Settings.model_validate({**plain, **values})


@pytest_asyncio.fixture
async def limited(settings: Settings, clock: ManualClock) -> AsyncIterator[Api]:
    """An API with low limits, behind a proxy that it trusts."""
    low = changed(
        settings, api_rate_limit=5, auth_rate_limit=4, trusted_proxies=("127.0.0.0/8", "10.0.0.0/8")
    )
    async with calling(low, clock) as client:
        yield client


async def test_a_caller_has_so_many_requests_a_minute(limited: Api) -> None:
    """Each answer says what is left; one too many is refused with the time to wait; others are not hit."""
    ada = await limited.sign_up()
    replies = [await limited.get("/keys", by=ada) for _ in range(6)]
    assert [reply.status for reply in replies] == [200] * 4 + [429] * 2  # one went to /auth/me
    assert [reply.headers["X-RateLimit-Remaining"] for reply in replies] == ["3", "2", "1", "0", "0", "0"]
    refused = replies[-1]
    assert refused.code == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Policy"] == '"api";q=5;w=60'
    assert refused.headers["RateLimit"].startswith('"api";r=0;t=')
    assert int(refused.headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert (await limited.get("/plans")).status == 200


async def test_log_ins_are_limited_by_address(limited: Api) -> None:
    """Guessing from one address ends; the address is the one that the trusted proxies saw."""
    body = {"email": "ada@example.com", "password": PASSWORD}

    async def attempt(forwarded: str) -> int:
        reply = await limited.call("POST", "/auth/login", json=body, headers={"X-Forwarded-For": forwarded})
        return reply.status

    assert [await attempt("203.0.113.7, 10.0.0.1") for _ in range(5)] == [401] * 4 + [429]
    assert await attempt("203.0.113.8, 10.0.0.1") == 401
    assert (
        await attempt("198.51.100.1, 203.0.113.7, 10.0.0.1") == 429
    )  # what the client wrote itself is not read


async def test_without_redis_reads_go_on_and_guessing_does_not(
    settings: Settings, clock: ManualClock, tmp_path: Path
) -> None:
    """Redis away: authenticated reads pass, log-ins are held by the process itself; back: counted again."""
    redis = EmbeddedRedis(tmp_path / "redis", appendonly=False)
    async with redis as running:
        low = changed(settings, redis_url=running.url, api_rate_limit=3, auth_rate_limit=3)
        async with calling(low, clock) as api:
            ada = await api.sign_up()
            await redis.kill()
            assert [(await api.get("/keys", by=ada)).status for _ in range(6)] == [200] * 6
            wrong = {"email": "ada@example.com", "password": "wrong password"}
            statuses = [(await api.post("/auth/login", wrong)).status for _ in range(5)]
            assert statuses == [401] * 3 + [429] * 2
            assert (await api.call("GET", "//readyz")).body["redis"] == "away"


async def test_postgresql_away_is_503_and_back_is_well(
    tmp_path: Path, redis_url: str, clock: ManualClock
) -> None:
    """While PostgreSQL is away requests are told to come again; afterwards all is as before."""
    server = EmbeddedPostgres(tmp_path / "pg")
    async with server as running:
        passwords = dict.fromkeys(migrations.ROLES, "secret")
        urls = migrations.bootstrap(running.superuser_url, database="farebox", passwords=passwords)
        migrations.upgrade(urls.owner)
        settings = Settings.model_validate(
            {
                "database_url": urls.app,
                "redis_url": redis_url,
                "token_secret": SECRET,
                "database_pool_size": 3,
            }
        )
        async with calling(settings, clock) as api:
            ada = await api.sign_up()
            assert (await api.call("GET", "//readyz")).status == 200
            await server.kill()
            for reply in (
                await api.get("/keys", by=ada),
                await api.post("/auth/login", {"email": "ada@example.com", "password": PASSWORD}),
                await api.post("/keys", {"name": "n", "environment": "test"}, by=ada),
            ):
                assert (reply.status, reply.code, reply.headers["Retry-After"]) == (
                    503,
                    "service_unavailable",
                    "2",
                )
            assert (await api.call("GET", "//readyz")).status == 503
            assert (await api.call("GET", "//healthz")).status == 200
            await server.restart()
            # The pool still holds connections that died; no caller may notice.
            replies = [await api.get("/keys", by=ada) for _ in range(5)]
            assert [reply.status for reply in replies] == [200] * 5
            assert (await api.post("/keys", {"name": "n", "environment": "test"}, by=ada)).status == 201


async def test_nothing_secret_is_logged(api: Api) -> None:
    """Passwords, tokens and keys stand in no log entry, whether the request went well or not."""
    with structlog.testing.capture_logs() as entries:
        ada = await api.sign_up()
        key = (await api.post("/keys", {"name": "n", "environment": "test"}, by=ada)).data["key"]
        await api.post("/auth/login", {"email": "ada@example.com", "password": "mistyped secret"})
        await api.get(f"/keys/{key}", by=ada)
        await api.get(f"/plans?api_key={key}")
        await api.call("POST", "/auth/register", raw=b'{"password": "half a secret')
    written = json.dumps(entries, default=str)
    for secret in (PASSWORD, ada.token, key, "mistyped secret", "half a secret", "ada@example.com"):
        assert secret not in written
    assert {"GET", "POST"} <= {entry["method"] for entry in entries if entry["event"] == "request"}


async def test_the_metrics_are_for_this_machine(settings: Settings, clock: ManualClock) -> None:
    """Figures are shown to the loopback, not through a proxy on it, unless the token is sent."""
    async with calling(changed(settings, metrics_token="a token for the scraper"), clock) as api:
        shown = await api.call("GET", "//metrics")
        assert "farebox_http_requests_total" in shown.body
        forwarded = {"X-Forwarded-For": "203.0.113.7"}
        assert (await api.call("GET", "//metrics", headers=forwarded)).status == 404
        with_token = {**forwarded, "Authorization": "Bearer a token for the scraper"}
        assert (await api.call("GET", "//metrics", headers=with_token)).status == 200


def test_a_weak_secret_stops_the_start(settings: Settings) -> None:
    """A token secret below 32 characters is refused before anything listens."""
    with pytest.raises(RuntimeError, match="FAREBOX_TOKEN_SECRET"):
        make_app(changed(settings, token_secret="short"))


async def test_a_role_that_passes_row_security_by_stops_the_start(
    settings: Settings, superuser_url: str, clock: ManualClock
) -> None:
    """The process refuses to serve as a superuser."""
    with pytest.raises(RuntimeError, match="row security"):
        async with calling(changed(settings, database_url=superuser_url), clock):
            pass
