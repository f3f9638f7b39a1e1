"""The commands, one module per group. `farebox_cli.registry` names them; they are imported when they run."""
