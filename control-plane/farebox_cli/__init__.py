"""The `farebox` command: the top of the house, which may import everything and which nothing imports."""
