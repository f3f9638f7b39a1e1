"""`farebox gateway`: which gateways and nodes there are, whether they answer, and forgetting one.

They are added where they are named: in the gateways file, or by the FAREBOX_GATEWAY_* settings. A worker
registers what it finds there. Only forgetting needs a person.
"""

from collections.abc import Sequence
from typing import Any

import click

from farebox.settings import Settings
from farebox_cli.environment import pass_settings
from farebox_cli.errors import CommandError
from farebox_cli.output import Table, emit, json_option, say
from farebox_cli.worker_database import in_one_transaction


@click.group
def gateway() -> None:
    """The gateways and their nodes: named in FAREBOX_GATEWAYS_FILE, registered by the worker."""


@gateway.command("list")
@json_option
@pass_settings
def list_gateways(settings: Settings, *, as_json: bool) -> None:
    """Show each gateway and node: since when it is silent, and how it drifts."""
    from farebox.gateways import health

    found = in_one_transaction(settings, health.read)
    named = _named(settings)
    rows: list[Sequence[object]] = []
    for each in found:
        state = each.error or each.catalogue_error or "answers"
        if each.code not in named:
            state = f"named nowhere: `farebox gateway remove {each.code}` forgets it"
        rows.append((each.code, "", state, each.error_since or each.answered_at or "", ""))
        rows += [
            (
                "",
                node.code + (" (optional)" if node.optional else ""),
                node.error or "answers",
                node.error_since or node.answered_at or "",
                f"{node.differences} since {node.drift_since}" if node.drift_since else "none",
            )
            for node in each.nodes
        ]
    emit(found, as_json=as_json, tables=Table(("gateway", "node", "state", "since", "drift"), rows))


@gateway.command("remove")
@click.argument("code")
@pass_settings
def remove_gateway(settings: Settings, *, code: str) -> None:
    """Forget the gateway CODE, so that nothing waits for it any more. What stands there stays there.

    Refused while FAREBOX_GATEWAYS_FILE names it: a worker would register it again.
    """
    from farebox.gateways import health

    if code in _named(settings):
        raise CommandError(f"The settings still name the gateway {code!r}; take it out there first.")

    async def act(session: Any) -> bool:
        return await health.forget(session, code)

    if not in_one_transaction(settings, act):
        raise CommandError(f"There is no gateway {code!r}.")
    say(f"The gateway {code} is forgotten.")


def _named(settings: Settings) -> set[str]:
    from farebox_worker.targets import GatewaysFileError, targets

    try:
        return {target.code for target in targets(settings)}
    except GatewaysFileError as error:
        raise CommandError(str(error)) from None
