"""Everything of Farebox on one machine, started, watched and stopped as one: what `farebox up` runs.

The demo and the tests use the same code in a folder of their own:

    async with running_stack(StackOptions(home=folder, ports="free")) as stack:
        stack.addresses.gateway
        await stack.kill("edge")          # SIGKILL
        await stack.back("edge")          # running and ready again, as another process

Start it from the main thread, and keep its event loop running: it restarts what dies.
"""

from farebox_cli.stack.configuration import Addresses, ConfigurationError, StackOptions
from farebox_cli.stack.running import Stack, running_stack
from farebox_cli.stack.state import StackState, read_state
from farebox_cli.stack.supervisor import MemberFailedError

__all__ = [
    "Addresses",
    "ConfigurationError",
    "MemberFailedError",
    "Stack",
    "StackOptions",
    "StackState",
    "read_state",
    "running_stack",
]
