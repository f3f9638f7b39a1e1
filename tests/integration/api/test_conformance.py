"""The OpenAPI document tells the truth: whatever is sent, every answer is one that the document describes."""

import asyncio
from collections.abc import Mapping
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import text
from tests.support import planting
from tests.support.api_client import Api

from farebox import openapi
from farebox.app import ENDPOINTS
from farebox.clock import ManualClock
from farebox.db import Database
from farebox.endpoints import PREFIX, Endpoint

DOCUMENT = openapi.document(ENDPOINTS, server="http://127.0.0.1")
OPERATIONS = {
    operation.label: operation
    for operation in (
        result.ok()  # type: ignore[union-attr]
        for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    )
}
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
TAGS = sorted({declared.tag for declared in ENDPOINTS})
CASES = [pytest.param(tag, mode, id=f"{tag}-{mode.value}") for tag in TAGS for mode in MODES]
TAKES_NOTHING = {"GET /api/v1/plans", "GET /api/v1/add-ons"}
"""What has no parameter and no body cannot be asked wrongly."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12


def label_of(declared: Endpoint[Any, Any, Any]) -> str:
    """Return what schemathesis calls an endpoint."""
    return f"{declared.method} {PREFIX}{declared.path}"


def explore(
    declared: Endpoint[Any, Any, Any], mode: GenerationMode, address: str, token: str, own: Mapping[str, str]
) -> None:
    """Send generated requests, every other one with ids that exist, and hold each answer to the document."""
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
    strategy = OPERATIONS[label_of(declared)].as_strategy(generation_mode=mode)
    # What would ask a payment provider is only rehearsed: there is none here, and 503 says so.
    if not declared.begins:
        checks = [check for check in checks if check is not not_a_server_error]
    rehearsed = {"Dry-Run": "true"} if declared.effect and not declared.begins else {}

    @hypothesis.seed(20_260_301)
    @hypothesis.settings(
        max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @hypothesis.given(case=strategy, existing=st.booleans())
    def examples(case: schemathesis.Case[Any], existing: bool) -> None:
        if existing and mode is GenerationMode.POSITIVE:
            for variable in case.path_parameters or {}:
                case.path_parameters[variable] = own.get(variable, case.path_parameters[variable])
        headers = {} if "Dry-Run" in (case.headers or {}) else rehearsed
        response = case.call(base_url=address, headers={"Authorization": f"Bearer {token}", **headers})
        case.validate_response(response, checks=checks)

    examples()


@pytest.mark.parametrize(("tag", "mode"), CASES)
async def test_every_answer_is_described(
    api: Api, worker: Database, clock: ManualClock, tag: str, mode: GenerationMode
) -> None:
    """Valid and invalid requests alike: status, content type, headers and body are those of the document, and
    what the document forbids is refused.
    """
    ada = await api.sign_up()
    await api.verify(worker, ada, now=clock.now())
    async with worker.transaction() as session:
        await session.execute(text("UPDATE users SET is_operator = true"))
    organization = await planting.organization_uuid(worker, ada)
    key = (await api.post("/keys", {"name": "one"}, by=ada)).data["id"]
    await planting.usage(worker, organization, clock.now(), key=key, requests=7)
    own = {
        "key_id": key,
        "code": "api",
        "invoice_id": await planting.invoice(worker, organization, number="N-1", at=clock.now(), minor=100),
    }
    wrong: dict[str, str] = {}
    for declared in ENDPOINTS:
        label = label_of(declared)
        if declared.tag != tag or (mode is GenerationMode.NEGATIVE and label in TAKES_NOTHING):
            continue
        try:
            await asyncio.to_thread(explore, declared, mode, api.address, ada.token, own)
        except Exception as error:  # noqa: BLE001 - every endpoint is looked at, then all faults are shown
            wrong[label] = str(error)
    assert not wrong, "\n\n".join(f"{label}: {said}" for label, said in wrong.items())


async def test_the_document_is_served_and_valid(api: Api) -> None:
    """What is served is valid OpenAPI 3.1 and is made from the declarations."""
    served: dict[str, Any] = (await api.call("GET", "//api/openapi.json")).body
    validate(served)
    assert served["openapi"] == "3.1.0"
    assert set(served["paths"]) == set(DOCUMENT["paths"])


async def test_the_reference_shows_every_endpoint(api: Api) -> None:
    """The page has each path, each error code's page entry, and nothing from elsewhere."""
    page = await api.call("GET", "//api/docs")
    for declared in ENDPOINTS:
        assert f"/api/v1{declared.path}" in page.body
        assert declared.summary.replace("'", "&#39;") in page.body
    assert "<script" not in page.body
    assert 'src="http' not in page.body
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    errors = await api.call("GET", "//api/docs/errors")
    assert 'id="email_taken"' in errors.body
    assert (await api.call("GET", "//api/docs/style.css")).status == 200
