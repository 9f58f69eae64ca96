"""Starts from the current state of all deals and then follows it: one consumer does both.

    pip install -r requirements.txt
    NATS_URL=nats://127.0.0.1:4222 python3 mirror.py
"""
import asyncio
import json
import os

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy


async def main():
    nc = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1)
    # An ordered consumer has no state on the server: each start reads the last event of every deal, which is all there is
    # to know of it, and then what comes.
    subscription = await nc.jetstream().subscribe(
        "hubspot.*.deals.*", stream="HUBSPOT", ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT),
    )
    deals, complete = {}, False
    async for m in subscription.messages:
        event = json.loads(m.data)
        if event["archived"]:  # in the recycle bin, merged away or deleted for privacy
            deals.pop(event["id"], None)
        else:
            deals[event["id"]] = event["properties"]
        if complete:
            print(f'deal {event["id"]} {event["op"]}; {len(deals)} deals')
        elif m.metadata.num_pending == 0:
            complete = True
            print(f"the state is complete: {len(deals)} deals")


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
