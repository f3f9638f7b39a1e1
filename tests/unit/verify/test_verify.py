"""`farebox verify` agrees with an honest invoice, and finds whatever was changed."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.verify.forge import ORG, SUB, Forge, ms

from farebox_cli.verify.report import DIFFERS, EQUAL, UNCHECKED, Report, verify


def said(report: Report, state: str) -> str:
    return "\n".join(check.text for check in report.checks if check.state == state)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("compress", [False, True])
def test_an_honest_invoice_is_equal(tmp_path: Path, seed: int, *, compress: bool) -> None:
    """Random months, plain or compressed under other names, in any order and beside foreign files."""
    forge = Forge(tmp_path, seed=seed, segment_lines=37)
    forge.month()
    invoice = forge.export()
    paths = forge.write(compress=compress)
    foreign = tmp_path / "notes.txt"
    foreign.write_text("not a log\n")
    report = verify(invoice, [foreign, *reversed(paths)])
    assert report.exit_code == EQUAL, said(report, "differs") + said(report, "unchecked")
    assert report.as_json()["verdict"] == "equal"
    assert list(report.as_text())[-1] == "Verdict: equal."


def test_a_changed_number_is_found_and_its_segment_named(tmp_path: Path) -> None:
    """One digit of one line: the segment, its lines in the file, and what the units come to instead."""
    forge = Forge(tmp_path)
    for day in range(1, 29):
        for _ in range(5):
            forge.line(f"2026-11-{day:02d}T12:00", units=2)
    invoice = forge.export()
    forge.files["gw-1.log"][120] = forge.files["gw-1.log"][120].replace(b'"units": 2', b'"units": 9')
    report = verify(invoice, forge.write())
    assert report.exit_code == DIFFERS
    text = said(report, "differs")
    assert "(lines 101 to 140 of" in text
    assert "billable units: the invoice says 280, derived 287" in text
    assert "total: the invoice says USD 12.70, derived USD 12.80" in text


def test_a_renamed_file_is_known_by_its_first_line_and_its_change_is_found(tmp_path: Path) -> None:
    """The name alone never decides: a plain file under another name, changed in the middle, differs."""
    forge = Forge(tmp_path)
    for day in range(1, 29):
        forge.line(f"2026-11-{day:02d}T12:00", units=2)
    invoice = forge.export()
    renamed = [path.rename(path.with_name(f"renamed-{number}")) for number, path in enumerate(forge.write())]
    assert verify(invoice, renamed).exit_code == EQUAL
    renamed[0].write_bytes(renamed[0].read_bytes().replace(b'"seq": 9,', b'"seq": 8,'))
    report = verify(invoice, renamed)
    assert report.exit_code == DIFFERS
    assert "renamed-0" in said(report, "differs")


def test_a_line_that_no_longer_parses_is_named(tmp_path: Path) -> None:
    """By its number in the file and what is wrong with it."""
    forge = Forge(tmp_path)
    forge.month(300)
    invoice = forge.export()
    forge.files["gw-2.log"][77] = forge.files["gw-2.log"][77].replace(b'"v": 1', b'"v": 7')
    report = verify(invoice, forge.write())
    assert report.exit_code == DIFFERS
    assert "line 78 is no usage line: `v` is not a whole number from 1 to 1" in said(report, "differs")


def test_a_deleted_line_is_found(tmp_path: Path) -> None:
    """The bytes differ, the file ends early, and the stream has a hole that nobody declared."""
    forge = Forge(tmp_path)
    for _ in range(20):
        forge.line("2026-11-05T12:00")
    invoice = forge.export()
    del forge.files["gw-1.log"][9]
    report = verify(invoice, forge.write())
    text = said(report, "differs")
    assert "bytes too early" in text
    assert "gw-1/b1/0: number 10 was neither read nor declared missing" in text


def test_a_changed_first_line_is_found_by_the_files_name(tmp_path: Path) -> None:
    """A file is known by its first line; if that was changed, by its name."""
    forge = Forge(tmp_path)
    forge.month(50)
    invoice = forge.export()
    forge.files["gw-1.log"][0] = forge.files["gw-1.log"][0].replace(b'"us": 3', b'"us": 4')
    report = verify(invoice, forge.write())
    assert report.exit_code == DIFFERS
    assert "(lines 1 to" in said(report, "differs")


def test_lines_behind_the_statement_do_not_matter(tmp_path: Path) -> None:
    """The log goes on after the invoice was made."""
    forge = Forge(tmp_path)
    forge.month(50)
    invoice = forge.export()
    forge.line("2026-12-05T00:00")
    assert verify(invoice, forge.write()).exit_code == EQUAL


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """What cannot be checked is not called equal, nor different."""
    forge = Forge(tmp_path)
    forge.month(100)
    invoice = forge.export()
    paths = forge.write()
    report = verify(invoice, paths[:1])
    assert report.exit_code == UNCHECKED
    assert f"{paths[1].name} bytes 0 to" in said(report, "unchecked")


def test_a_file_of_another_month_is_not_needed(tmp_path: Path) -> None:
    """Segments without lines of the period may be left out; the report says that they were."""
    forge = Forge(tmp_path)
    forge.line("2026-10-05T12:00", "gw-0.log")
    forge.month(100)
    invoice = forge.export()
    report = verify(invoice, [path for path in forge.write() if "gw-0" not in path.name])
    assert report.exit_code == EQUAL
    assert "1 segments without lines of these periods were not given" in said(report, "note")


def _set(*place: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for step in place[:-1]:
            document = document[step]
        document[place[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (_set("invoice", "total_minor", to=1), "total"),
        (_set("invoice", "subtotal_minor", to=1), "subtotal"),
        (_set("invoice", "tax_minor", to=1), "tax"),
        (_set("invoice", "lines", 1, "amount_minor", to=1), "line 2, charge requests"),
        (_set("invoice", "lines", 1, "quantity", to="1"), "line 2, charge requests"),
        (_set("invoice", "lines", 0, "charge_code", to="x"), "line 1"),
        (lambda document: document["invoice"]["lines"].pop(), "number of lines"),
        (_set("invoice", "basis", "billable", "units", to=1), "billable units"),
        (_set("invoice", "basis", "billable", "requests", to=1), "billable requests"),
        (_set("invoice", "basis", "excluded", "test_key", to={"requests": 0, "units": 0}), "test_key"),
        (_set("invoice", "basis", "charges", 1, "unit_price", to="0.01"), "line 2"),
        (_set("invoice", "basis", "minor_digits", to=3), "minor digits"),
        (_set("invoice", "basis", "period", "end", to="2026-12-02T00:00:00Z"), "not the edges"),
        (_set("invoice", "basis", "anchor_day", to=5), "not the edges"),
        (_set("invoice", "basis", "statement_digest", to="0" * 64), "digest of the statement"),
        (_set("statement", "body", "missing_lines", to=1), "digest of the statement"),
        (_set("statement", "body", "streams", 0, "highest", to=5), "above the declared end"),
        (_set("statement", "body", "streams", 0, "gaps", to=[[3, 4]]), "although it is declared missing"),
        (_set("statement", "body", "segments", 0, "lines", to=5), "lines and malformed lines"),
        (lambda document: document["statement"]["body"]["streams"].pop(), "is not in the statement"),
        (lambda document: document["statement"]["body"]["segments"].pop(), "neither read nor declared"),
    ],
)  # fmt: skip
def test_whatever_is_changed_in_the_document_is_found(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], names: str
) -> None:
    """Each claim is derived, so each lie is named."""
    forge = Forge(tmp_path)
    forge.month()
    document = forge.document()
    change(document)
    report = verify(forge.export(document), forge.write())
    assert report.exit_code == DIFFERS
    assert names in said(report, "differs")


def test_a_declared_loss_is_said_and_is_no_difference(tmp_path: Path) -> None:
    """Numbers 3 and 4 were lost: the statement says so, and the invoice is what the rest comes to."""
    forge = Forge(tmp_path, gaps={("gw-1", "b1", 0): [(3, 4)]})
    forge.line("2026-11-05T12:00")
    forge.line("2026-11-05T12:00")
    forge.line("2026-11-05T12:00", skip=2)
    report = verify(forge.export(), forge.write())
    assert report.exit_code == EQUAL
    assert "lines declared lost: 2" in said(report, "equal")


def test_a_statement_speaks_only_of_its_own_time(tmp_path: Path) -> None:
    """A segment lies across the month's edge: it holds the end of a stream that ended before, the middle of
    one that began before, and the file goes on with segments that the statement does not name.
    """
    forge = Forge(tmp_path, since="2026-11-01", until="2026-12-01", segment_lines=4)
    for when in ("2026-10-28", "2026-10-29", "2026-10-30", "2026-10-30"):
        forge.line(when, boot="b0")
        forge.line(when)
    forge.line("2026-10-31", boot="b0")
    for when in ("2026-10-31", "2026-11-01", "2026-11-05", "2026-11-30", "2026-12-01", "2026-12-05"):
        forge.line(when)
        forge.line(when, worker=1)
    document = forge.document()
    streams = {(each["boot"], each["worker"]) for each in document["statement"]["body"]["streams"]}
    assert streams == {("b1", 0), ("b1", 1)}
    assert 0 < len(document["statement"]["body"]["segments"]) < 6
    invoice = forge.export(document)
    report = verify(invoice, forge.write())
    assert report.exit_code == EQUAL, said(report, "differs")

    document["statement"]["body"]["streams"][0]["highest"] = 6
    assert "above the declared end" in said(verify(forge.export(document), forge.write()), "differs")


def test_lines_that_came_twice_count_once(tmp_path: Path) -> None:
    """In one file, in another, and out of order."""
    forge = Forge(tmp_path)
    first = forge.line("2026-11-05T12:00", units=50)
    second = forge.line("2026-11-05T12:01", units=70)
    forge.raw(first)
    forge.raw(second, "late.log")
    forge.raw(first, "late.log")
    report = verify(forge.export(), forge.write())
    assert report.exit_code == EQUAL
    assert "3 doubled lines were counted once" in said(report, "equal")


def test_garbage_and_lines_without_a_stream_are_billed_to_nobody(tmp_path: Path) -> None:
    """They stand in the statement's counts, and in no quantity."""
    forge = Forge(tmp_path)
    forge.line("2026-11-05T12:00", units=7)
    forge.raw(b'{"v":1,')
    forge.raw(b"")
    forge.raw(b"\xff\xfe garbage")
    forge.line("2026-11-05T12:00", boot="", seq=0, units=9)
    forge.line("2026-11-05T12:00", "gw-2.log", org="somebody01", sub="another001", units=9)
    assert verify(forge.export(), forge.write()).exit_code == EQUAL


def test_a_test_clock_moves_lines_into_later_months(tmp_path: Path) -> None:
    """From the wall's 5 November on, time runs 30 days ahead: those lines are December's."""
    for start, end, expected in (("2026-11-01", "2026-12-01", 10), ("2026-12-01", "2027-01-01", 5)):
        folder = tmp_path / start
        folder.mkdir()
        forge = Forge(folder, start=start, end=end, clock=[("2026-11-05T00:00", 30 * 86_400_000)])
        forge.line(ms("2026-11-05T00:00") - 1, units=10)
        forge.line(ms("2026-11-05T00:00"), units=5)
        report = verify(forge.export(), forge.write())
        assert report.exit_code == EQUAL, said(report, "differs")
        assert f"billable units: {expected}" in said(report, "equal")


def test_first_and_last_periods_reach_beyond_their_edges(tmp_path: Path) -> None:
    """An edge whose clock is wrong cannot make a unit fall between."""
    forge = Forge(tmp_path, is_first=True, is_last=True)
    forge.line("2026-10-31T23:59:59")
    forge.line("2026-11-15T12:00")
    forge.line("2026-12-01T00:00:00")
    report = verify(forge.export(), forge.write())
    assert report.exit_code == EQUAL
    assert "billable units: 3" in said(report, "equal")


def test_a_correction_is_derived_from_the_earlier_periods_lines(tmp_path: Path) -> None:
    """October's late lines: what October comes to now, less what was billed of it."""
    late = {"start": "2026-10-01", "end": "2026-11-01", "billed_units": 110}
    forge = Forge(tmp_path, corrections=[late])
    forge.line("2026-10-05T12:00", "october.log", units=110)
    forge.line("2026-11-05T12:00", units=3)
    forge.line("2026-10-31T23:59:59", units=7)
    document = forge.document()
    assert [line["amount_minor"] for line in document["invoice"]["lines"]] == [1000, 0, 11]
    report = verify(forge.export(document), forge.write())
    assert report.exit_code == EQUAL, said(report, "differs")

    incomplete = verify(
        forge.export(document), [path for path in forge.write() if "october" not in path.name]
    )
    assert incomplete.exit_code == UNCHECKED
    assert f"sub_{SUB} from 2026-10-01T00:00:00Z: units cannot be counted" in said(incomplete, "unchecked")
    assert f"sub_{SUB} from 2026-11-01T00:00:00Z: billable units: 3" in said(incomplete, "equal")

    document["invoice"]["lines"][2]["amount_minor"] = 12
    assert "line 3, correction requests" in said(verify(forge.export(document), forge.write()), "differs")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is no JSON"),
        ("[]", "no export of an invoice"),
        ('{"format": "farebox-invoice", "version": 2}', "version 2 is not known"),
        ('{"format": "farebox-invoice", "version": 1}', "the member 'invoice' is missing"),
    ],
)
def test_what_is_no_proof_cannot_be_checked(tmp_path: Path, content: str, problem: str) -> None:
    """Exit code 2 and the reason, never a traceback."""
    path = tmp_path / "invoice.json"
    path.write_text(content)
    report = verify(path, [])
    assert report.exit_code == UNCHECKED
    assert problem in said(report, "unchecked")


@pytest.mark.parametrize("name", ["number", "digest", "lines", "start"])
def test_wrong_types_in_a_proof_are_named(tmp_path: Path, name: str) -> None:
    """A document that was edited by hand into nonsense is refused as a whole."""
    forge = Forge(tmp_path)
    forge.month(10)
    document = forge.document()
    changes = {
        "number": _set("invoice", "lines", 0, "amount_minor", to=1.5),
        "digest": _set("statement", "body", "segments", 0, "start", to="0"),
        "lines": _set("invoice", "lines", to=7),
        "start": _set("invoice", "basis", "period", "start", to="2026-11-01"),
    }
    changes[name](document)
    report = verify(forge.export(document), forge.write())
    assert report.exit_code == UNCHECKED
    assert "a member cannot be read" in said(report, "unchecked")


def test_an_unknown_rule_cannot_be_checked(tmp_path: Path) -> None:
    """A rule of a later version is not guessed."""
    forge = Forge(tmp_path)
    forge.month(10)
    document = forge.document()
    document["invoice"]["basis"]["billable_rule"] = "served_v9"
    assert "'served_v9' is not known" in said(verify(forge.export(document), forge.write()), "unchecked")


def test_a_broken_archive_cannot_be_checked(tmp_path: Path) -> None:
    """A gzip file that was cut is named, not half counted."""
    forge = Forge(tmp_path)
    forge.month(100)
    invoice = forge.export()
    [first, _] = forge.write(compress=True)
    first.write_bytes(first.read_bytes()[:-20])
    report = verify(invoice, [tmp_path])
    assert report.exit_code == UNCHECKED
    assert "cannot be read" in said(report, "unchecked")


def test_of_two_files_that_begin_alike_the_right_one_is_taken(tmp_path: Path) -> None:
    """A copy that was changed further down does not hide the true file."""
    forge = Forge(tmp_path)
    forge.month(100)
    invoice = forge.export()
    [true, other] = forge.write()
    copy = tmp_path / "a-copy.log"
    content = true.read_bytes().replace(b'"us": 3', b'"us": 4')
    copy.write_bytes(true.read_bytes()[:200] + content[200:])
    assert verify(invoice, [copy, true, other]).exit_code == EQUAL


def test_a_line_without_end_is_not_held_in_memory(tmp_path: Path) -> None:
    """A gigantic line is malformed like any other; the file after it is read on."""
    forge = Forge(tmp_path)
    forge.line("2026-11-05T12:00")
    forge.raw(b"x" * 5_000_000)
    forge.line("2026-11-05T12:00")
    assert verify(forge.export(), forge.write()).exit_code == EQUAL


def test_a_compressed_file_may_have_any_name(tmp_path: Path) -> None:
    """Whether it is compressed is seen from its content."""
    forge = Forge(tmp_path)
    forge.month(20)
    invoice = forge.export()
    for number, path in enumerate(forge.write()):
        (tmp_path / f"{number}.bin").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert verify(invoice, [tmp_path]).exit_code == EQUAL
    assert ORG not in said(verify(invoice, [tmp_path]), "note")
