"""`farebox verify`: re-derives an invoice from raw log lines, with no database and none of our other code.

Whoever checks an invoice must not trust the code that made it. So this package imports nothing of ours: its
own reader of lines, its own calendar and clock, its own list of billable outcomes, and its own rater, which
works with fractions where the other works with decimals. It is short enough to be read before it is believed.

    document.py   the exported invoice and its proof, read into values
    calendar.py   period edges and the test clock
    lines.py      one raw line; which lines are billable
    files.py      which file is which, and the stretches of bytes that the proof names
    streams.py    which numbers of a stream were seen
    recount.py    one pass over the files, in bounded memory
    meters.py     what a plan's meters measure
    rating.py     what a charge comes to
    pricing.py    what a period comes to: bounds, short periods, coupons, corrections, taxes
    checks.py     claimed beside derived, check by check
    report.py     the result for people and for programs
"""
