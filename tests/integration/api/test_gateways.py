"""What operators see of gateways and nodes: in `/admin/drift`, `/admin/sync` and the figures."""

from sqlalchemy import text
from tests.integration.api.test_operators import Command, farebox, operator  # noqa: F401 - a fixture
from tests.support.api_client import Api

from farebox.db import Database


async def test_a_silent_node_and_its_drift_are_shown_with_their_age(
    api: Api,
    farebox: Command,  # noqa: F811 - the fixture
    worker: Database,
) -> None:
    """Operators see which node is silent since when, and what the last report found; figures say so too."""
    root = await operator(api, farebox)
    async with worker.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO gateway_nodes (gateway_id, code, error, error_since, drift, drift_at, "
                "drift_since) "
                "SELECT id, 'gw-9', 'no answer', now() - interval '1 hour', "
                """CAST('{"drift": {"missing": 2}, "unconfirmed": 1}' AS jsonb), now(), now() FROM gateways"""
            )
        )
    answer = (await api.get("/admin/drift", by=root)).data
    assert answer["drifts"]
    [node] = answer["gateways"][0]["nodes"]
    assert (node["code"], node["error"], node["differences"]) == ("gw-9", "no answer", 3)
    [trouble] = (await api.get("/admin/sync", by=root)).data["gateways"]
    assert (trouble["node"], trouble["error"]) == ("gw-9", "no answer")
    assert trouble["since"] is not None
    shown = await api.call("GET", "//metrics")
    assert 'farebox_node_differences{gateway="default",node="gw-9"} 3.0' in shown.body
