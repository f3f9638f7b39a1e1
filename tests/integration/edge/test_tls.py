"""HTTPS at our own gateway: served, redirected to, insisted on, and its certificate exchanged meanwhile."""

import asyncio
import json
import signal
import ssl
import subprocess
from pathlib import Path

from aiohttp import ClientSession, TCPConnector
from tests.gateway.harness import Admin, Gateway, Upstream, running_edge


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for `localhost` that signs itself; `name` is its common name."""
    pair = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"),
            *("-out", str(pair[0]), "-keyout", str(pair[1])),
        ],
        check=True,
        capture_output=True,
    )
    return pair


async def secure_address(gateway: Gateway) -> str:
    """Return where a gateway speaks TLS, as its redirection says."""
    async with (
        ClientSession() as session,
        session.get(f"{gateway.data}/", allow_redirects=False) as response,
    ):
        return response.headers["Location"].rstrip("/").replace("127.0.0.1", "localhost")


async def _serve(gateway: Gateway, upstream: Upstream) -> None:
    async with ClientSession() as session:
        await Admin(gateway, session).put("/routes/all", {"uri": "/*", "upstream": {"nodes": upstream.node}})


async def test_https_and_nothing_else(tmp_path: Path, upstream: Upstream) -> None:
    """Plain HTTP is redirected, unseen by the upstream; HTTPS is served, and the upstream is told."""
    pem, key = certificate(tmp_path, "first")
    settings = {"TLS_CERTIFICATE": str(pem), "TLS_KEY": str(key), "TLS_PORT": "0", "PLAIN_HTTP": "redirect"}
    async with running_edge(tmp_path / "edge", **settings) as gateway, ClientSession() as session:
        await _serve(gateway, upstream)
        for method, status in (("GET", 301), ("POST", 308)):
            async with session.request(method, f"{gateway.data}/x?a=1", allow_redirects=False) as response:
                assert response.status == status
                assert response.headers["Location"].endswith("/x?a=1")
        assert upstream.seen == []
        trusted = ssl.create_default_context(cafile=pem)
        async with session.get(f"{await secure_address(gateway)}/x", ssl=trusted) as response:
            assert response.status == 200
            headers = dict((await response.json())["headers"])
        assert headers["X-Forwarded-Proto"] == "https"


async def test_plain_http_is_refused(tmp_path: Path, upstream: Upstream) -> None:
    """Where plain HTTP is refused, it is 403 with a reason, and in the usage log."""
    pem, key = certificate(tmp_path, "first")
    settings = {"TLS_CERTIFICATE": str(pem), "TLS_KEY": str(key), "TLS_PORT": "0", "PLAIN_HTTP": "refuse"}
    async with running_edge(tmp_path / "edge", **settings) as gateway, ClientSession() as session:
        await _serve(gateway, upstream)
        async with session.get(f"{gateway.data}/x") as response:
            assert response.status == 403
            assert (await response.json())["error"]["code"] == "https_required"
        assert [line["status"] for line in gateway.lines()] == [403]
    assert upstream.seen == []


async def test_a_certificate_is_exchanged_while_serving(tmp_path: Path, upstream: Upstream) -> None:
    """HUP: new connections meet the new certificate; a bad one changes nothing and says so."""
    pem, key = certificate(tmp_path, "first")
    settings = {"TLS_CERTIFICATE": str(pem), "TLS_KEY": str(key), "TLS_PORT": "0", "PLAIN_HTTP": "redirect"}
    async with running_edge(tmp_path / "edge", **settings) as gateway:
        await _serve(gateway, upstream)
        url = await secure_address(gateway)
        assert await _common_name(url) == "first"
        good = key.read_bytes()
        key.write_bytes(b"not a key")
        gateway.send(signal.SIGHUP)
        assert await _common_name(url) == "first"
        for old, new in zip((pem, key), certificate(tmp_path, "second"), strict=True):
            old.write_bytes(new.read_bytes())
        assert good != key.read_bytes()
        gateway.send(signal.SIGHUP)
        async with asyncio.timeout(10):
            while await _common_name(url) != "second":
                await asyncio.sleep(0.01)


async def _common_name(url: str) -> str:
    """Return whose certificate a new connection meets."""
    port = int(url.rpartition(":")[2])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return "first" if b"first" in der else "second" if b"second" in der else json.dumps(der.hex())


async def test_an_upstream_behind_tls(tmp_path: Path) -> None:
    """An `https` upstream is met over TLS; its certificate counts where `tls.verify` says so."""
    pem, key = certificate(tmp_path, "inner")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ninner")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        running_edge(tmp_path / "edge") as gateway,
        ClientSession(connector=TCPConnector(force_close=True)) as session,
    ):
        admin = Admin(gateway, session)
        node = {"scheme": "https", "nodes": {f"127.0.0.1:{port}": 1}}
        await admin.put("/routes/any", {"uri": "/any", "upstream": node})
        await admin.put("/routes/sure", {"uri": "/sure", "upstream": {**node, "tls": {"verify": True}}})
        async with session.get(f"{gateway.data}/any") as response:
            assert (response.status, await response.text()) == (200, "inner")
        async with session.get(f"{gateway.data}/sure") as response:
            assert response.status == 502
