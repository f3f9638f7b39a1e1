"""`farebox rate`: the rater as a tool, for one quantity or for a file of cases."""

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farebox_cli.errors import CommandError, Exit
from farebox_cli.invoice_tables import working
from farebox_cli.output import Table, emit, json_option

if TYPE_CHECKING:
    from farebox.invoices.cases import Result

_PATH = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("rate")
@click.argument("cases", nargs=-1, type=_PATH)
@click.option(
    "--charge", "path", type=_PATH, help="JSON: one charge, or a list of charges (docs/charges.md)."
)
@click.option("--units", help="How many units, such as 15000 or 0.5.")
@click.option("--currency", default="USD", show_default=True, help="ISO 4217.")
@json_option
def rate(
    *, cases: tuple[Path, ...], path: Path | None, units: str | None, currency: str, as_json: bool
) -> int:
    """Price files of CASES, or the charges of --charge for --units.

    Each case has charges, quantities, and what they should come to; exit code 1 if one comes to something
    else (docs/charges.md has the format).
    """
    if cases and (path or units):
        raise click.UsageError("give files of cases, or --charge with --units")
    if cases:
        return _run_cases(cases, as_json=as_json)
    if path is None or units is None:
        raise click.UsageError("give files of cases, or --charge with --units")
    _price_one(path, units, currency, as_json=as_json)
    return Exit.OK


def _run_cases(paths: tuple[Path, ...], *, as_json: bool) -> int:
    from farebox.invoices import cases

    results: list[tuple[Path, Result]] = []
    for path in paths:
        try:
            results += [(path, result) for result in cases.run(json.loads(path.read_bytes()))]
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            raise CommandError(f"{path}: {error}") from None
    rows = [
        (
            path.name,
            result.name,
            result.subtotal,
            result.tax,
            result.total,
            result.due,
            "; ".join(result.differences) or "holds",
        )
        for path, result in results
    ]
    wrong = sum(bool(result.differences) for _, result in results)
    emit(
        {"cases": [_shown(path, result) for path, result in results], "wrong": wrong},
        as_json=as_json,
        tables=Table(
            ("file", "case", "subtotal", "tax", "total", "due", "expected"),
            rows,
            note=f"{len(results)} cases, {wrong} come to something else",
        ),
    )
    return Exit.PROBLEM if wrong else Exit.OK


def _shown(path: Path, result: "Result") -> dict[str, Any]:
    return {
        "file": path.name,
        "case": result.name,
        "lines": [
            {"kind": line.kind, "code": line.code, "amount_minor": line.amount.minor} | line.explain()
            for line in result.lines
        ],
        "subtotal_minor": result.subtotal.minor,
        "tax_minor": result.tax.minor,
        "total_minor": result.total.minor,
        "credits_minor": result.credits.minor,
        "due_minor": result.due.minor,
        "differences": list(result.differences),
    }


def _price_one(path: Path, units: str, currency: str, *, as_json: bool) -> None:
    from farebox.invoices import charges, rating
    from farebox.money import CurrencyError, Money

    try:
        document = json.loads(path.read_bytes())
        parsed = charges.parse(document) if isinstance(document, list) else (charges.parse_one(document),)
        lines = rating.rate(parsed, Decimal(units), currency)
    except InvalidOperation:
        raise CommandError(f"--units: {units!r} is no decimal number", exit_code=Exit.USAGE) from None
    except (charges.ChargeError, rating.RatingError, CurrencyError) as error:
        raise CommandError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path} is no JSON: {error}") from None
    total = sum((line.amount for line in lines), Money(currency, 0))
    data = {
        "currency": currency,
        "units": rating.plain(Decimal(units)),
        "lines": [
            {"code": line.code, "amount_minor": line.amount.minor, "amount": f"{line.amount.decimal:f}"}
            | line.explain()
            for line in lines
        ],
        "total_minor": total.minor,
    }
    emit(data, as_json=as_json, tables=working(lines, str(total)))
