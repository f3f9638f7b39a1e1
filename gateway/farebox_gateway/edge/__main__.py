"""`python -m farebox_gateway.edge`: one gateway process, set up by its environment."""

import json
import logging
import os
import sys
from collections.abc import Mapping

import uvloop

from farebox_gateway.edge.journal import DamagedJournalError, FolderInUseError
from farebox_gateway.edge.sealing import UnsealError
from farebox_gateway.edge.server import Addresses, serve
from farebox_gateway.edge.settings import SettingsError, from_environment


class CannotRunError(RuntimeError):
    """The gateway did not start; the message says why and what to do."""


def run(environment: Mapping[str, str]) -> None:
    """Run until TERM or INT. Raises `CannotRunError`."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        uvloop.run(serve(from_environment(environment), ready=_announce))
    except (SettingsError, FolderInUseError, DamagedJournalError, UnsealError) as error:
        raise CannotRunError(str(error)) from error
    except OSError as error:
        raise CannotRunError(f"the gateway cannot start: {error}") from error


def _announce(addresses: Addresses) -> None:
    """Print one line of JSON with both addresses, for whoever started us with port 0."""
    data, admin = addresses.data, addresses.admin
    line = {
        "event": "ready",
        "data": f"http://{_shown(data[0])}:{data[1]}",
        "admin": f"http://{_shown(admin[0])}:{admin[1]}",
        "pid": os.getpid(),
    }
    if addresses.secure is not None:
        line["secure"] = f"https://{_shown(addresses.secure[0])}:{addresses.secure[1]}"
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    try:
        run(os.environ)
    except CannotRunError as refused:
        sys.exit(str(refused))
