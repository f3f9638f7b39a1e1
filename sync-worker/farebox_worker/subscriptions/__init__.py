"""What happens to subscriptions by itself, and what customers are told of their spending.

due.py      ends, changes, trials and pauses that have come due
alerts.py   thresholds that usage has passed
"""
