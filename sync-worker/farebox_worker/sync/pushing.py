"""A plan's steps, sent to the gateway: in order, bounded, and each failure its own.

A resource that the gateway refuses stops nobody else: the steps after it are still tried, because a
revocation must not wait for a broken consumer. A gateway that does not answer ends the whole push.
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby

from farebox_gateway.client import AdminClient, GatewayRefusedError
from farebox_gateway.planner import Step
from farebox_worker.sync.fence import Fence


async def push(
    client: AdminClient,
    steps: Iterable[Step],
    *,
    fence: Fence,
    slots: asyncio.Semaphore,
    ordered: bool = True,
) -> list[str]:
    """Send the steps; steps of one verb and kind at once, as many as there are `slots`.

    Where the caller knows that no step needs another (`ordered` false), all are sent at once.

    Returns what was refused, in the gateway's words. Raises `GatewayUnreachableError`, `GatewayDeniedError`
    and `LockLostError`: then nothing is known of the steps that were under way.
    """
    refused: list[str] = []
    for _, group in groupby(steps, key=lambda step: (step.verb, step.ref.kind) if ordered else None):
        together: Sequence[Step] = list(group)
        if len(together) == 1:
            refused += await _send(client, together[0], fence, slots)
            continue
        sent = await asyncio.gather(
            *(_send(client, step, fence, slots) for step in together), return_exceptions=True
        )
        for result in sent:
            if isinstance(result, BaseException):
                raise result
            refused += result
    return refused


async def _send(client: AdminClient, step: Step, fence: Fence, slots: asyncio.Semaphore) -> list[str]:
    async with slots:
        await fence.check()
        try:
            if step.body is None:
                await client.delete(step.ref)
            else:
                await client.put(step.ref, step.body)
        except GatewayRefusedError as error:
            return [str(error)]
    return []
