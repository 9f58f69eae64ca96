"""Reacts to contacts whose lifecycle stage changes.

    pip install -r requirements.txt
    NATS_URL=nats://127.0.0.1:4222 python3 lifecycle.py
"""
import asyncio
import json
import os

import nats
from nats.errors import TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy


async def main():
    nc = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1)
    # A durable consumer remembers, on the server, what was acknowledged: a restart goes on where it stopped.
    subscription = await nc.jetstream().pull_subscribe(
        "hubspot.*.contacts.*", durable="lifecycle-example-py", stream="HUBSPOT",
        config=ConsumerConfig(
            deliver_policy=DeliverPolicy.NEW,  # when it is made; afterwards its own place counts
            ack_policy=AckPolicy.EXPLICIT,
        ),
    )
    print("waiting for changes")
    while True:
        try:
            # What is there, at once; if there is nothing, what comes within the second.
            messages = await subscription.fetch(100, timeout=1)
        except TimeoutError:
            continue
        for m in messages:
            handle(json.loads(m.data))
            await m.ack()  # if it gets lost the message comes again


def handle(event):
    # A snapshot is a record seen for the first time by a full read: no news.
    if event["op"] == "snapshot" or "lifecyclestage" not in event["changed"]:
        return
    before = event["previous"].get("lifecyclestage", "")
    now = event["properties"].get("lifecyclestage", "")
    print(f'contact {event["id"]}: lifecycle stage "{before}" -> "{now}"')


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
