"""Stripe's API as far as Farebox calls it: the same paths, parameters, refusals, objects and events."""
