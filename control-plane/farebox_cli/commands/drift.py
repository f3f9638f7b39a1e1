"""`farebox drift`: what each node enforces against what was sold, and having it put right."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from farebox.settings import Settings
from farebox_cli.commands.gateway import GATEWAY, run_pass, target_named, with_gateway
from farebox_cli.environment import pass_settings
from farebox_cli.errors import Exit
from farebox_cli.output import Table, emit, json_option, say

if TYPE_CHECKING:
    from farebox_worker.sync.drift_report import Report


@click.command("drift")
@GATEWAY
@click.option("--repair", is_flag=True, help="Run a full pass if anything differs, then look again.")
@json_option
@pass_settings
def drift(settings: Settings, *, gateway: str, repair: bool, as_json: bool) -> None:
    """Compare every node of the gateway with what was sold; exit 1 if anything differs or a node is silent.

    The worker does the same every FAREBOX_DRIFT_SECONDS and repairs what it can; `docs/drift.md` says what
    each line means.
    """

    async def act(database: Any) -> tuple["Report", dict[str, Any]]:
        found, documents = await _compare(settings, database, gateway)
        if repair and found.drifts:
            await run_pass(settings, database, gateway, "all", overwrite_newer=False)
            found, documents = await _compare(settings, database, gateway)
        return found, documents

    report, documents = with_gateway(settings, act)
    rows = [_row(code, documents[code]) for code in sorted(documents)]
    heads = ("node", "drift", "on its way", "due", "trouble")
    tables = [Table(heads, rows, title=f"gateway {gateway}")]
    lines: list[Sequence[object]] = [
        (code, each["worker"], each["sort"], each["name"], " ".join(each["fields"]), each["remedy"])
        for code in sorted(documents)
        for each in documents[code]["differences"]
    ]
    if lines:
        tables.append(Table(("node", "worker", "sort", "what", "in", "remedy"), lines))
    emit({"gateway": gateway, "drifts": report.drifts, "nodes": documents}, as_json=as_json, tables=tables)
    silent = any(node.trouble for node in report.nodes.values() if not node.optional)
    if report.drifts or silent:
        raise SystemExit(Exit.PROBLEM)
    if not as_json:
        say("Every node enforces what was sold.")


def _row(code: str, document: dict[str, Any]) -> Sequence[object]:
    counts = ", ".join(f"{number} {sort}" for sort, number in document["drift"].items())
    if document["unconfirmed"]:
        counts = f"{counts}, {document['unconfirmed']} more".removeprefix(", ")
    return (code, counts or "none", document["waiting"], document["due"], document["trouble"] or "")


async def _compare(settings: Settings, database: Any, gateway: str) -> tuple["Report", dict[str, Any]]:
    from farebox_worker.sync import drift as comparison
    from farebox_worker.sync import node_records
    from farebox_worker.sync.reading import reader

    target = target_named(settings, gateway)
    async with reader(target, database) as reconciler:
        report = await comparison.compare(reconciler)
        async with database.transaction() as session:
            documents = await node_records.record(session, reconciler.gateway_id, target, report)
    return report, documents
