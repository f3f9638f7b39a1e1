"""The billing run: periods roll, those whose lines are all in are closed, and each gets one invoice.

    rolling.py   rows for periods that have begun
    closing.py   which periods are closed, and why the others wait (pure)
    reading.py   what a batch of invoices needs, read at one moment
    writing.py   locks what was read, compares it, and records what was billed
    run.py       the run itself: read, draft, write, batch by batch
    report.py    what a run says it has done

A run may be killed at any point and started again, or be started twice: a batch is one transaction, the
unique key on the period holds, and a run that finds nothing to do changes nothing.
"""

from farebox_worker.billing.report import BillingReport, Failure, Waiting
from farebox_worker.billing.run import run

__all__ = ["BillingReport", "Failure", "Waiting", "run"]
