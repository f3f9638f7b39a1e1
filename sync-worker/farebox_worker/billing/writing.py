"""Writing a batch: what was read is locked and compared, then invoices and what was billed are recorded.

What does not hold any more (another run, a change of plan, an advanced test clock) is left to the next run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from farebox import ids
from farebox.clock import OrganizationTime
from farebox.coupons import service as coupons
from farebox.invoices import proof
from farebox.invoices.reading import time_lines
from farebox.invoices.sequence import Drafted
from farebox.invoices.terms import Term
from farebox.organizations import test_clock
from farebox.usage.model import UsageStatement

_LOCK: Final = text(
    "SELECT id, state = 'invoiced' AS invoiced, starts_at, ends_at, is_last, billed_units "
    "FROM billing_periods WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"
)
_BILLED: Final = text(
    "UPDATE billing_periods p SET state = 'invoiced', billed_units = t.units "
    "FROM unnest(CAST(:ids AS uuid[]), CAST(:units AS bigint[])) AS t(id, units) WHERE p.id = t.id"
)
# An own period is counted once more with the organization's next invoice: whoever was adding lines to it when
# it was read did not know that it would be invoiced. What was counted again is done with until it is touched.
_TALLY: Final = text(
    """
    INSERT INTO period_tallies AS t (period_id, organization_id, billed, touches, counted, corrections)
    SELECT r.period, r.organization, r.billed::jsonb, 1, r.counted, r.corrections
    FROM unnest(CAST(:periods AS uuid[]), CAST(:organizations AS uuid[]), CAST(:billed AS text[]),
                CAST(:counted AS bigint[]), CAST(:corrections AS int[]))
         AS r(period, organization, billed, counted, corrections)
    ORDER BY r.period
    ON CONFLICT (period_id) DO UPDATE
    SET billed = excluded.billed, counted = excluded.counted, corrections = excluded.corrections
    """
)


@dataclass(slots=True)
class Statement:
    """A statement of completeness; it is stored with the first batch that rests on it."""

    id: UUID
    body: Mapping[str, Any]
    digest: bytes
    stored: bool = False

    @classmethod
    def of(cls, body: Mapping[str, Any], last: "Statement | None") -> "Statement":
        """Return the last one again if nothing but its date has changed, else a new one."""
        if last is not None and {**last.body, "taken_at": None} == {**body, "taken_at": None}:
            return last
        return cls(ids.uuid7(), body, proof.digest(body))

    async def store(self, session: AsyncSession, *, now: datetime) -> None:
        """Write it unless an earlier batch has."""
        if not self.stored:
            row = {"id": self.id, "taken_at": now, "body": dict(self.body), "digest": self.digest}
            await session.execute(insert(UsageStatement), row)


async def record(session: AsyncSession, written: Sequence[Drafted]) -> None:
    """Keep what was billed of every period, and which changes were counted."""
    billed = {period: meters for each in written for period, meters in each.draft.billed.items()}
    await session.execute(
        _BILLED, {"ids": list(billed), "units": [meters["units"] for meters in billed.values()]}
    )
    rows = [(each.draft.party.id, one, one is each.own) for each in written for one in each.read]
    await session.execute(
        _TALLY,
        {
            "periods": [one.term.period_id for _, one, _ in rows],
            "organizations": [organization for organization, _, _ in rows],
            "billed": [json.dumps(dict(one.meters)) for _, one, _ in rows],
            "counted": [0 if is_own else one.term.touches for _, one, is_own in rows],
            "corrections": [one.term.corrections for _, one, _ in rows],
        },
    )
    await coupons.use(session, [redemption for each in written for redemption in each.draft.used])


async def still_true(session: AsyncSession, drafted: Sequence[Drafted]) -> list[Drafted]:
    """Lock what the drafts rest on and return those for which it is as it was read.

    An organization is taken whole or not at all: its later invoices follow from its first one's corrections.
    """
    await test_clock.hold_still(session)
    drafts = [each.draft for each in drafted]
    times = await time_lines(session, {each.party.id for each in drafts})
    periods = [one.term.period_id for each in drafted for one in each.read]
    locked = await session.execute(_LOCK, {"ids": periods})
    rows = {row.id: row for row in locked}
    overtaken = {
        each.party.id
        for each in drafts
        if times.get(each.party.id, OrganizationTime()) != each.party.time
        or not all(_unchanged(term, rows[term.period_id]) for term in each.terms)
    }
    return [each for each in drafted if each.draft.party.id not in overtaken]


def _unchanged(term: Term, row: Any) -> bool:
    return (row.invoiced, row.starts_at, row.ends_at, row.is_last, row.billed_units) == (
        term.invoiced, term.starts_at, term.ends_at, term.is_last, term.billed_units,
    )  # fmt: skip
