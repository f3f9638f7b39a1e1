"""What a paper says, word by word, out of an exported invoice or credit note. Pure.

Made of what never changes after issuing (lines, taxes, snapshot, statement), so the same invoice gives the
same paper for ever; what was paid since stands on the invoice's page, not here. Knows no PDF and no database.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from farebox.papers.speaking import Speech, instant, speech

MOST_NODES: Final = 6


@dataclass(frozen=True, slots=True)
class Row:
    """A line: `working` are the steps that lead to the amount."""

    description: str
    quantity: str
    amount: str
    working: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sum:
    """A line of the sums; `note` stands beside its name, `strong` sets it off."""

    name: str
    amount: str
    note: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Party:
    """A name and address, line by line."""

    heading: str
    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A paper, ready to be set. `issued` is None on a draft."""

    language: str
    title: str
    number: str
    issued: datetime | None
    seller: Party
    buyer: Party
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, str, str]
    rows: tuple[Row, ...]
    sums: tuple[Sum, ...]
    notes: tuple[str, ...]
    proof_title: str
    proof: tuple[str, ...]
    digest_name: str
    digest: str
    page: str


def of_invoice(exported: Mapping[str, Any]) -> Document:
    """Return the paper of an invoice, as `farebox.invoices.service.export` gives it."""
    invoice = exported["invoice"]
    basis = invoice["basis"]
    said = _speech(invoice)
    words = said.words
    issued = None if invoice["finalized_at"] is None else instant(invoice["finalized_at"])
    number = invoice["number"] or words.draft
    period = invoice["period"]
    facts = [(words.number, number)]
    if issued is not None:
        facts.append((words.issued, said.day(issued)))
    if invoice["due_at"] is not None:
        facts.append((words.due, said.day(instant(invoice["due_at"]))))
    facts.append((words.period, said.stretch(instant(period["start"]), instant(period["end"]))))
    return Document(
        language=said.language,
        title=words.invoice,
        number=number,
        issued=issued,
        seller=_party(words.seller, basis.get("seller"), basis.get("issuer", ""), said),
        buyer=_party(words.buyer, basis.get("buyer"), _organization(basis), said),
        facts=tuple(facts),
        columns=(words.item, words.quantity, words.amount),
        rows=tuple(_row(line, invoice, said) for line in invoice["lines"]),
        sums=tuple(_sums(invoice, said)),
        notes=tuple(_notes(invoice, number, issued, said)),
        proof_title=words.proof,
        proof=tuple(_proof(exported, said)),
        digest_name=words.digest,
        digest=exported["statement"]["digest"],
        page=words.page,
    )


def of_credit_note(exported: Mapping[str, Any]) -> Document:
    """Return the paper of a credit note, as `farebox.credit_notes.exporting.export` gives it."""
    note, invoice = exported["credit_note"], exported["invoice"]
    basis = invoice["basis"]
    said = _speech(invoice)
    words = said.words
    issued = instant(note["issued_at"])
    period = invoice["period"]
    effects = [
        (words.taken_off, note["taken_off_minor"]),
        (words.returned, note["returned_minor"]),
        (words.to_balance, note["balance_minor"]),
        (words.to_refund, note["refund_minor"]),
    ]
    return Document(
        language=said.language,
        title=words.credit_note,
        number=note["number"],
        issued=issued,
        seller=_party(words.seller, basis.get("seller"), basis.get("issuer", ""), said),
        buyer=_party(words.buyer, basis.get("buyer"), _organization(basis), said),
        facts=(
            (words.number, note["number"]),
            (words.issued, said.day(issued)),
            (words.of_invoice, f"{invoice['number']}, {said.day(instant(invoice['finalized_at']))}"),
            (words.period, said.stretch(instant(period["start"]), instant(period["end"]))),
            (words.reason, note["reason"]),
        ),
        columns=(words.item, words.quantity, words.amount),
        rows=tuple(
            Row(_description(line, invoice, said), "", said.amount(line["amount_minor"]))
            for line in note["lines"]
        ),
        sums=(
            Sum(words.subtotal, said.amount(note["subtotal_minor"])),
            *_taxes(note["taxes"], said),
            Sum(words.credited, said.amount(note["total_minor"]), strong=True),
        ),
        notes=(
            *(
                text.format(invoice=invoice["number"], amount=said.amount(minor))
                for text, minor in effects
                if minor
            ),
            *_tax_sentences(note["taxes"], said),
        ),
        proof_title="",
        proof=(),
        digest_name="",
        digest="",
        page=words.page,
    )


def _speech(invoice: Mapping[str, Any]) -> Speech:
    basis = invoice["basis"]
    language = basis.get("buyer", {}).get("language")
    return speech(language, invoice["currency"], basis.get("time_zone", "UTC"))


def _organization(basis: Mapping[str, Any]) -> str:
    return str(basis.get("organization", {}).get("name", ""))


def _party(heading: str, known: Mapping[str, Any] | None, otherwise: str, said: Speech) -> Party:
    facts = known or {}
    place = " ".join(filter(None, (facts.get("postal_code"), facts.get("city"))))
    lines = [
        facts.get("line1"),
        facts.get("line2"),
        place,
        facts.get("region"),
        said.country(facts.get("country")),
    ]
    if facts.get("tax_id"):
        lines.append(f"{said.words.tax_id}: {facts['tax_id']}")
    lines.append(facts.get("email"))
    return Party(heading, facts.get("legal_name") or otherwise, tuple(filter(None, lines)))


def _row(line: Mapping[str, Any], invoice: Mapping[str, Any], said: Speech) -> Row:
    quantity = "" if line["kind"] in {"discount", "included_tax"} else said.number(line["quantity"])
    return Row(
        _description(line, invoice, said),
        quantity,
        said.amount(line["amount_minor"]),
        tuple(_working(line.get("detail") or {}, said)),
    )


def _description(line: Mapping[str, Any], invoice: Mapping[str, Any], said: Speech) -> str:
    """Return the line's own words; what we wrote ourselves, in the reader's language."""
    words, detail, text = said.words, line.get("detail") or {}, str(line["description"])
    if line["kind"] == "included_tax":
        levied = [tax for tax in invoice["taxes"] if tax["inclusive"]]
        return words.included_tax.format(taxes=said.listed([_tax_name(tax, said) for tax in levied]))
    if line["kind"] == "correction":
        period = detail.get("period", invoice["period"])
        stretch = said.stretch(instant(period["start"]), instant(period["end"]))
        own = words.unpriced if line["charge_code"] == "usage" else text.partition(": ")[2] or text
        return words.correction.format(period=stretch, what=own)
    if line["charge_code"] == "usage" and line["amount_minor"] == 0 and not detail.get("steps"):
        known = {"trial": words.trial, "paused": words.paused}
        return known.get(str(detail.get("model")), words.unpriced)
    return text


def _working(detail: Mapping[str, Any], said: Speech) -> Iterable[str]:
    words, steps = said.words, detail.get("steps") or ()
    for step in steps:
        if step["units"] == "1" and step["flat_amount"] == "0" and len(steps) == 1:
            continue
        parts = [f"{said.number(step['units'])} \N{MULTIPLICATION SIGN} {said.price(step['unit_price'])}"]
        if step["flat_amount"] != "0":
            parts.append(said.price(step["flat_amount"]))
        above, up_to = step["above"], step["up_to"]
        within = ""
        if above != "0" and up_to is not None:
            within = words.between.format(above=said.number(above), up_to=said.number(up_to))
        elif above != "0":
            within = words.above.format(above=said.number(above))
        elif up_to is not None:
            within = words.up_to.format(up_to=said.number(up_to))
        worked = f"{' + '.join(parts)} = {said.price(step['amount'])}"
        yield f"{within}: {worked}" if within else worked
    if detail.get("share"):
        yield words.share.format(share=said.share(detail["share"]))


def _sums(invoice: Mapping[str, Any], said: Speech) -> Iterable[Sum]:
    words = said.words
    if invoice["taxes"]:
        yield Sum(words.subtotal, said.amount(invoice["subtotal_minor"]))
        yield from _taxes(invoice["taxes"], said)
    total, credits_ = invoice["total_minor"], invoice["credits_minor"]
    yield Sum(words.total, said.amount(total), strong=True)
    if credits_:
        yield Sum(words.credits_used, said.amount(-credits_))
    if credits_ or total < 0:
        yield Sum(words.amount_due, said.amount(max(0, total) - credits_), strong=True)


def _taxes(taxes: Iterable[Mapping[str, Any]], said: Speech) -> Iterable[Sum]:
    for tax in taxes:
        base = said.words.tax_on.format(base=said.amount(tax["base_minor"]))
        yield Sum(_tax_name(tax, said), said.amount(tax["amount_minor"]), base)


def _tax_name(tax: Mapping[str, Any], said: Speech) -> str:
    return said.words.tax.format(name=tax["name"], rate=said.number(tax["rate"]))


def _tax_sentences(taxes: Iterable[Mapping[str, Any]], said: Speech) -> Iterable[str]:
    for tax in taxes:
        if tax["kind"] == "reverse_charge":
            yield said.words.reverse_charge
        elif tax["kind"] == "exempt":
            yield said.words.exempt.format(name=tax["name"])


def _notes(invoice: Mapping[str, Any], number: str, issued: datetime | None, said: Speech) -> Iterable[str]:
    words, basis = said.words, invoice["basis"]
    yield from _tax_sentences(invoice["taxes"], said)
    if invoice["total_minor"] < 0:
        yield words.balance
    elif invoice["due_at"] is None or issued is None:
        yield words.nothing_due
    else:
        due = instant(invoice["due_at"])
        yield words.terms.format(due=said.day(due), days=round((due - issued).total_seconds() / 86_400))
        if basis.get("buyer", {}).get("collection", "automatic") == "automatic":
            yield words.charged
        else:
            yield words.transfer.format(number=number)


def _proof(exported: Mapping[str, Any], said: Speech) -> Iterable[str]:
    words, basis, body = said.words, exported["invoice"]["basis"], exported["statement"]["body"]
    if "metered" in basis:
        yield words.usage.format(
            units=said.number(basis["metered"]["units"]),
            requests=said.number(basis["metered"]["requests"]),
            billable=said.number(basis["billable"]["units"]),
        )
        if basis.get("excluded"):
            reasons = [f"{name} {said.number(count['units'])}" for name, count in basis["excluded"].items()]
            yield words.excluded.format(reasons=said.listed(reasons))
    if "streams" in body:
        yield words.counted.format(
            streams=said.number(len(body["streams"])), segments=said.number(len(body["segments"]))
        )
        missing, unread = body["missing_lines"], body["quarantined"]
        yield (
            words.lost.format(missing=said.number(missing), quarantined=said.number(unread))
            if missing or unread
            else words.none_lost
        )
        read = [
            f"{node['code']} ({said.minute(instant(node['read_to_end_at']))})"
            for node in body["nodes"]
            if node["state"] == "active" and node["read_to_end_at"]
        ]
        if read:
            more = [f"+ {len(read) - MOST_NODES}"] if len(read) > MOST_NODES else []
            yield words.read_until.format(nodes=said.listed(read[:MOST_NODES] + more))
        if basis.get("retired_nodes"):
            yield words.retired.format(nodes=said.listed([node["node"] for node in basis["retired_nodes"]]))
    yield words.verify
