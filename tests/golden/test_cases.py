"""The files of cases, through `farebox rate` and through the independent pricer of `farebox verify`."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from farebox.invoices import cases
from farebox.money import MINOR_DIGITS
from farebox_cli.commands.rate import rate
from farebox_cli.verify import pricing
from farebox_cli.verify.rating import Metered, number

FILES = sorted((Path(__file__).parent / "cases").glob("*.json"))
CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in FILES
    for case in json.loads(path.read_text())["cases"]
]


def test_every_case_holds() -> None:
    """`farebox rate FILES` prints a table and exits 0: each case comes to what it says."""
    result = CliRunner().invoke(rate, [str(path) for path in FILES], standalone_mode=False)
    assert result.return_value == 0, result.output
    assert f"{len(CASES)} cases, 0 come to something else" in result.output


def test_a_case_that_does_not_hold_is_shown(tmp_path: Path) -> None:
    """Exit code 1, and what it comes to instead."""
    document = {"cases": [{"name": "wrong", "charges": CASES[0].values[0]["charges"],  # type: ignore[index]
                           "quantities": {"units": "1"}, "expect": {"total": "0.01"}}]}  # fmt: skip
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document))
    result = CliRunner().invoke(rate, [str(path)], standalone_mode=False)
    assert result.return_value == 1
    assert "expected 0.01" in result.output


@pytest.mark.parametrize("case", CASES)
def test_the_independent_pricer_agrees(case: dict[str, Any]) -> None:
    """Line by line, without our parser, our decimals or our order of steps."""
    [ours] = cases.run({"cases": [case]})
    currency = case.get("currency", "USD")
    usage = {}
    for meter, value in case["quantities"].items():
        given = value if isinstance(value, dict) else {"total": value}
        amounts = [Fraction(each) for each in given["amounts"]] if "amounts" in given else None
        total = sum(amounts, Fraction(0)) if amounts is not None else number(given["total"])
        usage[meter] = Metered(total, given.get("events", None if amounts is None else len(amounts)), amounts)
    share = Fraction(case.get("share", "1"))
    if "period" in case:
        share = {"2026-11-11": Fraction(1, 3), "2026-11-02": Fraction(1, 30), "2026-11-16": Fraction(1, 2)}[
            case["period"]["end"][:10]
        ]
    scale = 10 ** MINOR_DIGITS[currency]
    theirs = pricing.price(
        case["charges"],
        usage,
        currency,
        time_share=share,
        quota=int(case["quota"]) if "quota" in case else None,
        coupons=[
            {
                "code": each["code"],
                "percent": each.get("percent"),
                "amount_minor": int(Fraction(each["amount"]) * scale) if "amount" in each else None,
            }
            for each in case.get("discounts", [])
        ],
    )
    assert [(line.kind, line.code, line.amount.minor) for line in ours.lines] == [
        (line.kind, line.code, line.minor) for line in theirs
    ]
    named = [
        pricing.Tax(each.tax.kind, each.tax.name, Fraction(each.tax.rate), each.tax.inclusive)
        for each in ours.taxes
    ]
    assert pricing.levy(named, sum(line.minor for line in theirs)) == [
        each.amount.minor for each in ours.taxes
    ]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"currency": "XXX"}, "cases[0].currency"),
        ({"quantities": {"units": 5}}, "cases[0].quantities.units"),
        ({"quantities": {"units": {}}}, "cases[0].quantities.units"),
        ({"share": "a third"}, "cases[0].share"),
        ({"surprise": 1}, "cases[0].surprise"),
        ({"expect": {"total": "1.001"}}, "cases[0].expect"),
        ({"discounts": [{"code": "x"}]}, "cases[0].discounts[0]"),
    ],
)
def test_what_cannot_be_read_is_named(change: dict[str, Any], place: str) -> None:
    """With its place, never guessed."""
    with pytest.raises(cases.CaseError) as caught:
        cases.run({"cases": [CASES[0].values[0] | change]})  # type: ignore[operator]
    assert str(caught.value).startswith(place)
