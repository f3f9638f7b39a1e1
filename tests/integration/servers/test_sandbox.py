"""The stand-ins for the outside world, over their real protocols."""

import asyncio
import signal
import sys
from email.message import EmailMessage
from pathlib import Path

import aiohttp
import aiosmtplib
import pytest
from aiohttp.test_utils import TestClient, TestServer
from tests.support.processes import launch_and_wait_for_line

from farebox.sandbox.mail import mail_sink, mails, wait_for_mail
from farebox.sandbox.upstream import create_app


def _mail(to: str, subject: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "no-reply@farebox.invalid", to, subject
    mail.set_content("Grüße\n.a line that begins with a dot\n")
    return mail


async def test_a_mail_becomes_a_file_with_its_envelope(tmp_path: Path) -> None:
    """What the sink accepted is in the folder, whole, under the address that it was sent to."""
    async with mail_sink(tmp_path / "mail") as port:
        waiting = asyncio.create_task(wait_for_mail(tmp_path / "mail", to="anna@example.com"))
        for to in ("berta@example.com", "anna@example.com"):
            await aiosmtplib.send(_mail(to, f"for {to}"), hostname="127.0.0.1", port=port)
        found = await waiting
    assert found["Subject"] == "for anna@example.com"
    assert found.get_content().splitlines() == ["Grüße", ".a line that begins with a dot"]
    assert [mail["X-Envelope-To"] for mail in mails(tmp_path / "mail")] == [
        "berta@example.com",
        "anna@example.com",
    ]


async def test_a_blind_copy_is_found_by_its_recipient(tmp_path: Path) -> None:
    """The envelope decides whose mail it is, not the headers."""
    async with mail_sink(tmp_path / "mail") as port:
        await aiosmtplib.send(
            _mail("anna@example.com", "x"), recipients=["blind@example.com"], hostname="127.0.0.1", port=port
        )
    assert (await wait_for_mail(tmp_path / "mail", to="blind@example.com"))["Subject"] == "x"
    with pytest.raises(TimeoutError):
        await wait_for_mail(tmp_path / "mail", to="anna@example.com", seconds=0.05)


async def test_the_sample_api_shows_the_headers_that_reached_it() -> None:
    """A message gets an id, can be fetched by it, and the answer holds every header, repeated ones too."""
    async with TestClient(TestServer(create_app())) as client:
        headers = [("X-Twice", "1"), ("X-Twice", "2")]
        sent = await client.post("/v1/messages/send", json={"to": "+4312345", "text": "hi"}, headers=headers)
        body = await sent.json()
        assert sent.status == 200
        assert body["received"]["headers"]["X-Twice"] == ["1", "2"]
        fetched = await client.get(f"/v1/messages/{body['id']}")
        assert (await fetched.json())["text"] == "hi"
        assert (await client.get("/v1/messages/msg_none")).status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[" * 5000, 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b'{"to": 5}', 400),
        (b'{"to": "a", "text": 7}', 400),
        (b'{"to": "status:503"}', 503),
        (b'{"to": "status:200"}', 200),
        (b'{"to": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
async def test_the_sample_api_answers_nonsense_clearly(body: bytes, status: int) -> None:
    """Malformed and oversized bodies get a 4xx; a recipient that asks for a failure gets it."""
    async with TestClient(TestServer(create_app())) as client:
        assert (await client.post("/v1/messages/send", data=body)).status == status


async def test_the_command_serves_until_it_is_told_to_stop() -> None:
    """`farebox sandbox upstream` says where it listens, answers there, and ends with 0 on SIGTERM."""
    process, line = await launch_and_wait_for_line(
        ["sh", "-c", f"exec {sys.executable} -m farebox_cli sandbox upstream --port 0 2>&1"]
    )
    address = line.rpartition(" ")[2]
    async with aiohttp.ClientSession() as client, client.get(f"{address}/healthz") as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_a_sample_api_with_a_secret_answers_the_gateway_alone() -> None:
    """With FAREBOX_IDENTITY_SECRETS what the gateway did not sign is 403; a short one is no secret."""
    command = f"{sys.executable} -m farebox_cli sandbox upstream --port 0 2>&1"
    process, line = await launch_and_wait_for_line(
        ["sh", "-c", f"FAREBOX_IDENTITY_SECRETS={'s' * 40} exec {command}"]
    )
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{line.split()[-1]}/v1/messages/m") as answer:
            assert answer.status == 403
        async with session.get(f"{line.split()[-1]}/healthz") as answer:
            assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    refused = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        f"exec {command} --identity-secrets short",
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await refused.communicate()
    assert refused.returncode == 2
    assert b"openssl rand -hex 32" in said
