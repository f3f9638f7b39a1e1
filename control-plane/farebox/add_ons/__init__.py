"""Add-ons: what can be had beside a plan, and who has how many of it."""
