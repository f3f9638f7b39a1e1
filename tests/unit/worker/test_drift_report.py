"""What a comparison of nodes says: members that differ, clocks that are off, streams that lag."""

from datetime import UTC, datetime

import pytest

from farebox_worker.sync.drift_report import Difference, NodeReport, Remedy, fields_of
from farebox_worker.sync.nodes import WorkerStatus

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_MS = 1_795_262_400_000


@pytest.mark.parametrize(
    ("sold", "held", "fields"),
    [
        ('["consumer","a","g1",{}]', '["consumer","a","g2",{}]', ("group",)),
        (
            '["consumer","a","g",{"farebox-auth":{"state":"suspended"}}]',
            '["consumer","a","g",{"farebox-auth":{"state":"active"},"cors":{"x":1}}]',
            ("cors.x", "farebox-auth.state"),
        ),
        (
            '["credential","a",{"farebox-auth":{"digest":"1"}}]',
            '["credential","a",[]]',
            ("farebox-auth.digest",),
        ),
        ('["credential","a",[]]', "null", ()),
    ],
)
def test_the_members_that_differ_are_named(sold: str, held: str, fields: tuple[str, ...]) -> None:
    """The names say where to look, and nothing of what stands there."""
    assert fields_of(sold.encode(), held.encode()) == fields


@pytest.mark.parametrize(("ahead", "skewed"), [(0, False), (1_900, False), (-2_100, True), (60_000, True)])
def test_a_clock_that_is_off_is_said_so(ahead: int, skewed: bool) -> None:
    """A node decides about periods and expiries by its own clock, so one that is off by seconds is shown."""
    worker = WorkerStatus(worker=0, boot="b", seq=9, now=NOW_MS + ahead, settled=True)
    report = NodeReport("gw-1", optional=False, workers=[worker])
    document = report.document(NOW, {("gw-1", "b", 0): 7})
    assert document["clock_skewed"] is skewed
    assert document["workers"][0]["clock_ahead_ms"] == ahead
    assert document["workers"][0]["stream"] == {"boot": "b", "seq": 9, "collected": 7}


def test_a_silent_worker_is_trouble_and_no_drift() -> None:
    """What nobody said is not taken for a difference, and is not passed over either."""
    workers = [
        WorkerStatus(worker=0, settled=True),
        WorkerStatus(worker=1, error="it did not answer in time"),
    ]
    report = NodeReport("gw-1", optional=False, workers=workers)
    assert not report.drifts
    assert report.trouble == "worker 1: it did not answer in time"
    report.add(Difference("acme", "missing", 0, Remedy.STORE))
    assert report.drifts
