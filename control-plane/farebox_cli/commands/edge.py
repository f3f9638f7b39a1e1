"""`farebox edge`: run the embedded gateway."""

import json
import logging
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from farebox_gateway.edge.server import Addresses


@click.command("edge")
def edge() -> None:
    """Run the embedded gateway: APISIX's Admin API, the proxy and the plugins.

    It is set up by FAREBOX_EDGE_* variables (docs/gateway.md). When it is ready it prints one line of JSON
    with its two addresses. TERM drains and stops; USR1 reopens the usage log after a rotation.
    """
    import uvloop

    from farebox_gateway.edge.journal import DamagedJournalError, FolderInUseError
    from farebox_gateway.edge.server import serve
    from farebox_gateway.edge.settings import SettingsError, from_environment

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        settings = from_environment(os.environ)
        uvloop.run(serve(settings, ready=_announce))
    except (SettingsError, FolderInUseError, DamagedJournalError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"the gateway cannot start: {error}") from None


def _announce(addresses: "Addresses") -> None:
    data, admin = addresses.data, addresses.admin
    line = {
        "event": "ready",
        "data": f"http://{data[0]}:{data[1]}",
        "admin": f"http://{admin[0]}:{admin[1]}",
        "pid": os.getpid(),
    }
    click.echo(json.dumps(line))
    sys.stdout.flush()
