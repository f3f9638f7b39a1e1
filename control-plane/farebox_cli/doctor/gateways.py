"""The gateways and their nodes: which there are, whether each answers, and whether to us."""

from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from farebox.settings import Settings
from farebox_cli.doctor.findings import Finding, good, one_line, unknown, wrong
from farebox_cli.doctor.services import PATIENCE, answers
from farebox_worker.sync.nodes import NodeError, Nodes
from farebox_worker.targets import DEFAULT, GatewaysFileError, Node, Target, targets

_STATUS: Final = "FAREBOX_GATEWAY_STATUS_URL"


async def examine_gateways(settings: Settings) -> AsyncIterator[Finding]:
    """Each gateway's Admin API, each node's data plane, and what each node says of itself."""
    path = settings.gateways_file
    try:
        found = targets(settings)
    except GatewaysFileError as error:
        yield wrong("gateways file", one_line(error), f"Mend {path}; docs/sync.md has its form.")
        return
    if path is not None:
        nodes = sum(len(target.nodes) for target in found)
        yield good("gateways file", f"{path}: {len(found)} gateways, {nodes} nodes")
    for target in found:
        yield await _admin(target, named=path is not None)
        async with aiohttp.ClientSession() as http:
            asked = Nodes(target, http)
            for node in target.nodes:
                yield await _data(node, named=path is not None)
                yield await _status(asked, node, named=path is not None)


async def _admin(target: Target, *, named: bool) -> Finding:
    """The Admin API takes our key."""
    what = f"Admin API of gateway {target.code}" if named else "gateway's Admin API"
    where, key = _settings_of(target, named=named)
    url, headers = target.admin_url, {"X-API-KEY": target.admin_key}
    try:
        async with (
            aiohttp.ClientSession(timeout=PATIENCE) as client,
            client.get(f"{url.rstrip('/')}/apisix/admin/routes", headers=headers) as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        remedy = f"Is the gateway running (`farebox edge`, or APISIX)? Check {where}."
        return wrong(what, f"{url} cannot be reached: {one_line(error)}", remedy)
    if status in {401, 403}:
        return wrong(what, f"{url} refuses our key ({status})", f"Check {key}.")
    # APISIX answers 404 to a list of routes as long as it never had one.
    if status not in {200, 404}:
        return wrong(what, f"{url} answers {status}", "Its error log says why; is its etcd running?")
    return good(what, f"{url} takes our key")


async def _data(node: Node, *, named: bool) -> Finding:
    what, where = (
        (f"node {node.code}", "its data_url in the gateways file")
        if named
        else ("gateway", "FAREBOX_GATEWAY_DATA_URL")
    )
    return await answers(what, node.data_url, remedy=f"Is the gateway running? Check {where}.")


async def _status(asked: Nodes, node: Node, *, named: bool) -> Finding:
    """The node says what it enforces; one that cannot be asked is believed, which is said."""
    what = f"what node {node.code} enforces"
    where = f"status_url of node {node.code}" if named else _STATUS
    if node.status_url is None:
        return unknown(
            what, f"{where} is not set: what the Admin API has taken counts as enforced (docs/drift.md)"
        )
    try:
        workers = await asked.status(node)
    except NodeError as error:
        return wrong(
            what,
            one_line(error),
            f"What changes stays pending meanwhile. Check {where}; the answer wants the Admin API's key.",
        )
    silent = [worker for worker in workers if worker.error is not None]
    if silent or not workers:
        found = f"{len(silent)} of {len(workers)} workers do not answer: {silent[0].error if silent else '-'}"
        return wrong(what, found, "Reload or restart that node; its error log says why.")
    return good(what, f"{len(workers)} workers answer; `farebox drift` compares what they hold")


def _settings_of(target: Target, *, named: bool) -> tuple[str, str]:
    """Where the Admin API's address and key are set."""
    if named and target.code != DEFAULT:
        return f"admin_url of gateway {target.code}", f"the variable of its key_env ({target.code})"
    return "FAREBOX_GATEWAY_ADMIN_URL", "FAREBOX_GATEWAY_ADMIN_KEY"
