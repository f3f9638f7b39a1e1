"""What the worker does besides the gateways: mail, billing, counters, tidying up; see docs/jobs.md."""
