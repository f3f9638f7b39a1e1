"""Record what a real gateway answers: `python -m tests.gateway.record --gateway "Apache APISIX 3.18.0"`.

The gateway is named by FAREBOX_TEST_GATEWAY_ADMIN_URL, …_DATA_URL and …_ADMIN_KEY. What it answers replaces
tests/gateway/exchanges/<scenario>.json; look at the difference before committing it.
"""

import argparse
import asyncio
import json
import sys

from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from tests.gateway.harness import ADMIN_KEY, FOREIGN_ADMIN_URL, FOREIGN_DATA_URL, Gateway, running_upstream
from tests.gateway.recorded import FOLDER, Performer
from tests.gateway.scenarios import SCENARIOS


async def record(gateway: Gateway, name: str, version: str) -> int:
    """Record one scenario; return how many exchanges it has."""
    exchanges = []
    async with (
        running_upstream() as upstream,
        ClientSession(
            connector=TCPConnector(force_close=True), cookie_jar=DummyCookieJar(), auto_decompress=False
        ) as session,
    ):
        performer = Performer(gateway, session, upstream)
        try:
            for step in SCENARIOS[name]:
                request = step.as_data()
                exchanges.append({"request": request, "answer": await performer.perform(request)})
        finally:
            await performer.clean()
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps({"gateway": version, "exchanges": exchanges}, indent=1, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n")
    return len(exchanges)


def main() -> None:
    """Record all scenarios, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateway", required=True, help="the gateway's name and version")
    parser.add_argument("names", nargs="*", choices=[*SCENARIOS, []], metavar="scenario")
    given = parser.parse_args()
    if not FOREIGN_ADMIN_URL or not FOREIGN_DATA_URL:
        sys.exit("set FAREBOX_TEST_GATEWAY_ADMIN_URL, …_DATA_URL and …_ADMIN_KEY")
    gateway = Gateway(FOREIGN_ADMIN_URL.rstrip("/"), FOREIGN_DATA_URL.rstrip("/"), ADMIN_KEY, foreign=True)
    for name in given.names or SCENARIOS:
        print(f"{name}: {asyncio.run(record(gateway, name, given.gateway))} exchanges")


if __name__ == "__main__":
    main()
