"""Does something for every change of a company, such as telling another system: it tries again when that fails, later and
later, and gives up visibly. Several of them share the work.

    pip install -r requirements.txt
    NATS_URL=nats://127.0.0.1:4222 python3 worker.py http://127.0.0.1:9000/companies
"""
import asyncio
import os
import sys
import urllib.request

import nats
from nats.errors import TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig

MAX_TRIES = 8  # over about a quarter of an hour, with the waits below


async def main(url):
    nc = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1)
    subscription = await nc.jetstream().pull_subscribe(
        "hubspot.*.companies.*", durable="worker-example-py", stream="HUBSPOT",
        config=ConsumerConfig(
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=30,  # seconds; a worker that died: its messages go to another one
            max_deliver=MAX_TRIES + 1,
            max_ack_pending=16,  # at work at a time, over all workers
        ),
    )
    print("waiting for changes")
    while True:
        try:
            # What is there, at once; if there is nothing, what comes within the second.
            messages = await subscription.fetch(16, timeout=1)
        except TimeoutError:
            continue
        await asyncio.gather(*(work(url, m) for m in messages))


async def work(url, m):
    """A change can come twice, and an older one after a newer one when tries overlap: the receiver keeps the greatest
    Stream-Sequence it has seen of a company, and drops what is not above it."""
    try:
        await asyncio.to_thread(send, url, m)
        await m.ack()
    except Exception as err:
        tries = m.metadata.num_delivered
        if tries >= MAX_TRIES:
            print(f"given up after {tries} tries: {m.subject}, sequence {m.metadata.sequence.stream}: {err}", file=sys.stderr)
            await m.term()
            return
        await m.nak(delay=2**tries)


def send(url, m):
    request = urllib.request.Request(url, data=m.data, method="POST", headers={
        "Content-Type": "application/json",
        "Idempotency-Key": m.headers["ce-id"],
        "Stream-Sequence": str(m.metadata.sequence.stream),
    })
    urllib.request.urlopen(request, timeout=10).close()  # raises for anything but 2xx


if len(sys.argv) != 2:
    sys.exit("usage: worker.py URL")
try:
    asyncio.run(main(sys.argv[1]))
except KeyboardInterrupt:
    pass
