"""What members see of dunning: the open cases of their organization."""

from farebox import problems
from farebox.dunning.fields import CasesView, CaseWithSteps, read_case, read_cases
from farebox.endpoints import Call, Endpoints, endpoint
from farebox.fields import Nothing
from farebox.organizations.permissions import Permission
from farebox.problems import Refusal
from farebox.web import Answer

_TAG = "Billing"


@endpoint(
    "GET", "/billing/dunning", "List unpaid invoices and what follows",
    tag=_TAG, permission=Permission.VIEW_BILLING, data=CasesView,
)  # fmt: skip
async def list_cases(call: Call[Nothing, Nothing]) -> Answer[CasesView]:
    """Lists the overdue invoices, each with its next step and when requests are refused unless it is paid."""
    found = await read_cases(call.session, organization_id=call.organization_id)
    return Answer(CasesView(items=[view for _, view in found]), "Overdue invoices listed.")


@endpoint(
    "GET", "/billing/dunning/{case_id}", "Show what was done about an unpaid invoice",
    tag=_TAG, permission=Permission.VIEW_BILLING, data=CaseWithSteps, identifiers={"case_id": "dun"},
    refusals=(problems.NOT_FOUND,),
)  # fmt: skip
async def show(call: Call[Nothing, Nothing]) -> Answer[CaseWithSteps]:
    """Shows reminders and charges, each with what came of it."""
    found = await read_case(call.session, call.uuid("case_id"))
    if found is None:
        raise Refusal(problems.NOT_FOUND)
    return Answer(found, "Case shown.")


ENDPOINTS: Endpoints = (list_cases, show)
