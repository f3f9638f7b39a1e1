"""The verdict, for people and for programs."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from farebox_cli.verify import files
from farebox_cli.verify.checks import Check, all_checks, known_rules
from farebox_cli.verify.document import Proof, UnreadableProofError, load
from farebox_cli.verify.recount import Recount, recount

EQUAL: Final = 0
DIFFERS: Final = 1
UNCHECKED: Final = 2
_VERDICTS: Final = {EQUAL: "equal", DIFFERS: "differs", UNCHECKED: "cannot be checked"}
_MARKS: Final = {"equal": "  ok     ", "differs": "  DIFFERS", "unchecked": "  ?      ", "note": "  note   "}


@dataclass(frozen=True, slots=True)
class Report:
    """Every check of one invoice. `exit_code`: 0 equal, 1 differs, 2 cannot be checked."""

    number: str
    checks: Sequence[Check]

    @property
    def exit_code(self) -> int:
        """Return the worst that was found: one difference outweighs what could not be checked."""
        states = {check.state for check in self.checks}
        if "differs" in states:
            return DIFFERS
        return UNCHECKED if "unchecked" in states else EQUAL

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return {
            "invoice": self.number,
            "verdict": _VERDICTS[self.exit_code],
            "checks": [
                {
                    "name": check.name,
                    "state": check.state,
                    "text": check.text,
                    "claimed": check.claimed,
                    "derived": check.derived,
                }
                for check in self.checks
            ],
        }

    def as_text(self) -> Iterator[str]:
        """Yield the lines for a person, the verdict last."""
        yield f"Invoice {self.number}, derived again from the raw lines:"
        for check in self.checks:
            yield f"{_MARKS[check.state]}  {check.text}"
        yield f"Verdict: {_VERDICTS[self.exit_code]}."


def verify(invoice: Path, paths: Sequence[Path]) -> Report:
    """Check the exported invoice against the log files. Reads nothing else, and no network.

    Whatever keeps it from checking is part of the report, with the verdict that it cannot be checked.
    """
    try:
        proof = load(invoice)
    except UnreadableProofError as error:
        return Report(invoice.name, [Check("document", "unchecked", str(error))])
    unknown = list(known_rules(proof))
    if unknown:
        return Report(proof.number, unknown)
    try:
        result = _read(proof, paths)
    except (OSError, EOFError, zlib.error) as error:
        return Report(proof.number, [Check("file", "unchecked", f"a file cannot be read: {error}")])
    return Report(proof.number, all_checks(proof, result))


def _read(proof: Proof, paths: Sequence[Path]) -> Recount:
    return recount(proof, files.match(proof.segments, files.given(paths)))
