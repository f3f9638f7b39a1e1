"""How invoices and the working of charges look on a terminal."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from farebox_cli.output import Table

if TYPE_CHECKING:
    from farebox.invoices.rating import RatedLine
    from farebox.invoices.service import InvoiceView


def summary(view: "InvoiceView") -> dict[str, Any]:
    """Return an invoice of a list as plain JSON."""
    return {
        "id": view.public_id,
        "number": view.number,
        "state": view.state,
        "period_start": view.period_start,
        "period_end": view.period_end,
        "currency": view.total.currency,
        "total_minor": view.total.minor,
        "due_at": view.due_at,
    }


def invoice_tables(view: "InvoiceView", exported: dict[str, Any]) -> list[Table]:
    """Return an invoice for a person: its lines, its units by reason, its statement of completeness."""
    basis, statement = view.snapshot, exported["statement"]["body"]
    lines: list[tuple[object, ...]] = [
        (line.position, line.description, f"{line.quantity.normalize():f}", line.amount)
        for line in view.lines
    ]
    taxes = [(f"{tax.name} {tax.rate.normalize():f} %, {tax.kind}", tax.amount) for tax in view.taxes]
    sums = [("Subtotal", view.subtotal), *(taxes or [("Tax", view.tax)]), ("Total", view.total)]
    settled = (("Credits", view.credits), ("Credit notes", view.credited), ("Paid", view.paid))
    sums += [(name, -amount) for name, amount in settled if amount.minor]
    if view.open.minor:
        sums.append(("Open", view.open))
    lines += [(None, name, None, amount) for name, amount in sums]
    excluded = [(reason, count["requests"], count["units"]) for reason, count in basis["excluded"].items()]
    nodes = [(node["code"], node["state"], node["read_to_end_at"]) for node in statement["nodes"]]
    return [
        Table(
            ("#", "line", "quantity", "amount"),
            lines,
            title=f"Invoice {view.number or '(no number)'} · {view.state} · {basis['organization']['name']}"
            f" · plan {basis['plan']} · {_minute(view.period_start)} to {_minute(view.period_end)} UTC",
        ),
        Table(
            ("metered", "requests", "units"),
            [("billable", basis["billable"]["requests"], basis["billable"]["units"]), *excluded],
            title=f"Units, by the rule {basis['billable_rule']}",
        ),
        Table(
            ("node", "state", "read to its end at"),
            nodes,
            title="Statement of completeness",
            note=f"{len(statement['streams'])} streams, {statement['missing_lines']} lines missing, "
            f"{statement['quarantined']} quarantined, {len(statement['segments'])} segments; "
            f"digest {exported['statement']['digest']}",
        ),
    ]


def working(lines: tuple["RatedLine", ...], total: str) -> Table:
    """Return the working of rated charges, step by step."""
    from farebox.invoices.rating import plain

    rows: list[tuple[object, ...]] = []
    for line in lines:
        for step in line.steps:
            upper = "" if step.up_to is None else f" up to {plain(step.up_to)}"
            rows.append(
                (
                    line.code,
                    f"above {plain(step.above)}{upper}" if line.model != "flat" else "flat",
                    plain(step.units),
                    plain(step.unit_price),
                    plain(step.flat_amount),
                    plain(step.amount),
                )
            )
        rows.append((line.code, f"= {plain(line.exact)}, rounded", None, None, None, str(line.amount)))
    return Table(
        ("charge", "units", "quantity", "unit price", "flat amount", "amount"), rows, note=f"Total {total}"
    )


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
