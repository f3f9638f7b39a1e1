"""Charging for dunning: between two transactions, under a request key that makes it happen once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from farebox import ids, problems
from farebox.dunning import service as dunning
from farebox.dunning import stepping
from farebox.dunning.stepping import Charge
from farebox.payments import providers
from farebox.payments import service as payments
from farebox.payments.accounts import Till
from farebox.payments.model import Payment
from farebox.problems import Refusal

if TYPE_CHECKING:
    from farebox_worker.jobs.outbox_row import Context

NOTHING_WAS_TRIED: Final = {
    problems.NO_PAYMENT_METHOD.code: "there is no card to charge",
    problems.NOTHING_TO_PAY.code: "nothing was open any more",
    problems.NOT_FOUND.code: "the invoice is gone",
    problems.COLLECTED_BY_STRIPE.code: "a subscription at Stripe collects it",
}
"""Refusals after which there is nothing to wait for, each with what the step then says."""


async def carry_out(till: Till, charge: Charge) -> bool:
    """Charge, and write down what came of it; False while that is not known yet: look again later.

    Asked again after a kill it gets the payment that was made, and charges nothing.
    """
    try:
        payment = await payments.collect(
            till, charge.organization_id, charge.invoice_id, actor=dunning.ACTOR,
            request_key=charge.request_key,
        )  # fmt: skip
    except Refusal as refusal:
        outcome = NOTHING_WAS_TRIED.get(refusal.problem.code)
        if outcome is None and not till.providers.switched_on:
            outcome = "no payment provider is set up"
        if outcome is None:
            return False
        await _finish(till, charge, outcome, None)
        return True
    said = _said(payment)
    if said is None:
        return False
    await _finish(till, charge, said, payment.id)
    return True


async def collect_issued(
    context: "Context", organization_id: UUID | None, payload: Mapping[str, Any]
) -> None:
    """Charge what is open of an invoice that was issued; a failure leaves it to dunning at its due date.

    Raises `Refusal` where it must be tried again: another payment is under way, the provider is away.
    """
    if organization_id is None:
        return
    async with providers.opened(context.settings) as opened:
        if not opened.switched_on:
            return
        till = Till(context.database, opened, context.clock, context.settings.public_url)
        try:
            await payments.collect(
                till, organization_id, ids.decode("inv", payload["invoice"]), actor="system collection",
                request_key=f"issued {payload['invoice']}",
            )  # fmt: skip
        except Refusal as refusal:
            if refusal.problem.code not in NOTHING_WAS_TRIED:
                raise


def _said(payment: Payment) -> str | None:
    if payment.state in {"created", "processing"}:
        return None
    if payment.state == "succeeded":
        return "paid"
    if payment.state == "requires_action":
        return "the bank asks the holder of the card"
    return f"{payment.state}: {payment.failure_reason or 'no reason given'}"


async def _finish(till: Till, charge: Charge, outcome: str, payment_id: UUID | None) -> None:
    async with till.database.transaction() as session:
        await stepping.finish(session, charge, outcome=outcome, payment_id=payment_id, wall=till.now())
