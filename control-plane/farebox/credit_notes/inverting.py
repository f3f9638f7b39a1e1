"""What a credit note says, out of its invoice and the notes before it. Pure, in minor units.

Lines are chosen, taxes follow: each tax is credited in proportion to the lines credited so far, rounded half
to even, less what was credited before. So an invoice and its notes sum to zero, line by line and tax by tax,
however it was cut; and no note in between credits more of anything than was invoiced. A line that holds the
tax within the prices follows the taxes, as it does on the invoice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction


class CreditError(ValueError):
    """That cannot be credited. `position` is the line's, None where the whole is meant; `left` is what could
    be, in minor units.
    """

    def __init__(self, problem: str, *, position: int | None = None, left: int = 0) -> None:
        """Say what is wrong."""
        super().__init__(problem)
        self.position = position
        self.left = left


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the invoice. `within`: it takes the tax out that the prices hold."""

    position: int
    minor: int
    within: bool = False


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax of the invoice."""

    position: int
    minor: int
    inclusive: bool = False


@dataclass(frozen=True, slots=True)
class Inverted:
    """A credit note's amounts, by the position of line and tax; below zero where the invoice's are above."""

    lines: Mapping[int, int]
    taxes: Mapping[int, int] = field(default_factory=dict)

    @property
    def subtotal(self) -> int:
        """The sum of the lines, which is also the base of each tax."""
        return sum(self.lines.values())

    @property
    def tax(self) -> int:
        """The sum of the taxes."""
        return sum(self.taxes.values())

    @property
    def total(self) -> int:
        """What is credited, below zero."""
        return self.subtotal + self.tax


def invert(
    lines: Sequence[Line],
    taxes: Sequence[Tax],
    before: Iterable[Inverted],
    wanted: Mapping[int, int | None] | None = None,
) -> Inverted:
    """Return the next note: `wanted` amounts of lines (without sign; None: all that is left of the line), or
    all that is left of the invoice.

    Raises `CreditError`: nothing is left, a line is unknown, or too much of one is asked for.
    """
    earlier = tuple(before)
    priced = {line.position: line for line in lines if not line.within}
    credited = Counter[int]()
    for note in earlier:
        credited.update(note.lines)
    left = {position: line.minor + credited[position] for position, line in priced.items()}
    whole = sum(line.minor for line in priced.values())
    so_far = whole - sum(left.values())
    if whole <= 0:
        raise CreditError("the invoice asked for nothing, so there is nothing to credit")
    if sum(left.values()) == 0:
        raise CreditError("everything of this invoice has been credited")
    chosen = _all(left) if wanted is None else _chosen(left, wanted)
    gross = -sum(chosen.values())
    if gross <= 0:
        raise CreditError("these lines together come to nothing that could be credited")
    if so_far + gross > whole:
        raise CreditError("that is more than is left of the invoice", left=whole - so_far)
    share = Fraction(so_far + gross, whole)
    taken = {
        tax.position: -round(tax.minor * share) - sum(note.taxes.get(tax.position, 0) for note in earlier)
        for tax in taxes
    }
    within = -sum(taken[tax.position] for tax in taxes if tax.inclusive)
    made = chosen | {line.position: within for line in lines if line.within and within}
    return Inverted(dict(sorted(made.items())), taken)


def _all(left: Mapping[int, int]) -> dict[int, int]:
    return {position: -minor for position, minor in left.items() if minor}


def _chosen(left: Mapping[int, int], wanted: Mapping[int, int | None]) -> dict[int, int]:
    chosen: dict[int, int] = {}
    for position, amount in wanted.items():
        if position not in left:
            raise CreditError("is no line that can be credited by itself", position=position)
        rest = left[position]
        size = abs(rest) if amount is None else amount
        if not 0 < size <= abs(rest):
            raise CreditError(
                "must be above zero and at most what is left of the line", position=position, left=abs(rest)
            )
        chosen[position] = -size if rest > 0 else size
    return chosen
