"""Starts from the current state of all deals and then follows it: one consumer does both.

    pip install -r requirements.txt
    NATS_URL=nats://127.0.0.1:4222 python3 mirror.py
"""
import asyncio
import json
import os

import nats
from nats.errors import TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy


async def main():
    nc = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1)
    # A consumer of this process only, which the server forgets: each start reads the last event of every deal, which is all
    # there is to know of it, and then what comes.
    subscription = await nc.jetstream().pull_subscribe(
        "hubspot.*.deals.*", stream="HUBSPOT",
        config=ConsumerConfig(
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            ack_policy=AckPolicy.EXPLICIT,
            inactive_threshold=300,  # seconds without this process
        ),
    )
    deals, sequences, complete = {}, {}, False
    while True:
        try:
            # What is there, at once; if there is nothing, what comes within the second.
            messages = await subscription.fetch(500, timeout=1)
        except TimeoutError:
            continue
        for m in messages:
            event, sequence = json.loads(m.data), m.metadata.sequence.stream
            await m.ack()
            if sequence <= sequences.get(event["id"], 0):
                continue  # an acknowledgement was lost, and the message came again
            sequences[event["id"]] = sequence
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
