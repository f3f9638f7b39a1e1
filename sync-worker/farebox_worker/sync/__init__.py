"""Bringing each gateway to what was sold, and keeping it there.

progress.py    what the database remembers of it: applied revisions, failures, who writes
fence.py       nobody writes who no longer holds the gateway's lock
pushing.py     a plan's steps, sent with bounded concurrency, each failure its own
reconcile.py   the one way in which an organization or the catalogue is written
survey.py      all of a gateway compared with all of the database, page by page
full_pass.py   the survey, acted upon and reported
canary.py      whether what was pushed is what the data plane does
standing.py    the global rule and the marker, which are ours by their names
nodes.py       asking a node what it enforces
forms.py       what a node must hold of what was sold, as hashes
proof.py       looking again for what a node had not taken up
drift.py       every node compared with what was sold
drift_report.py, node_records.py    what was found, and keeping it
leader.py      the loops of the worker that holds a gateway's lock
"""
