"""Dunning as the worker does it: cases open, steps are done, cards are charged between transactions.

passing.py     one pass: open, heed, step; case by case, each in transactions of its own
charging.py    a card is charged, for a step or for an invoice that was just issued
trials.py      a trial that ends soon is told of, once
recurring.py   the parts of the recurring work
"""
