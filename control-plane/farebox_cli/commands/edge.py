"""`farebox edge`: run the embedded gateway."""

import os

import click


@click.command("edge")
def edge() -> None:
    """Run the embedded gateway: APISIX's Admin API, the proxy and the plugins.

    It is set up by FAREBOX_EDGE_* variables (docs/gateway.md). When it is ready it prints one line of JSON
    with its two addresses. TERM drains and stops; USR1 reopens the usage log after a rotation.
    """
    from farebox_gateway.edge.__main__ import CannotRunError, run

    try:
        run(os.environ)
    except CannotRunError as error:
        raise click.ClickException(str(error)) from None
