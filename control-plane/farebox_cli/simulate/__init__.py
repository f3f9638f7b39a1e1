"""What-if: any plan run over real past usage, for what it would have earned and what it would have refused.

    demand.py   the requests of one organization, out of the raw usage lines
    replay.py   a plan's limits and quota over them, request by request (pure)
    pricing.py  a plan's charges over the metered periods
    outcome.py  the two put together, for people and for programs

Nothing here writes anything.
"""
