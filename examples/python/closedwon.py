"""Tells a Slack channel of every deal that is won.

    pip install -r requirements.txt
    NATS_URL=nats://127.0.0.1:4222 SLACK_WEBHOOK_URL=https://hooks.slack.com/... python3 closedwon.py
"""
import asyncio
import html
import json
import os
import sys
import urllib.request

import nats
from nats.errors import TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy


async def main():
    nc = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1)
    subscription = await nc.jetstream().pull_subscribe(
        "hubspot.*.deals.*", durable="closed-won-example-py", stream="HUBSPOT",
        config=ConsumerConfig(
            deliver_policy=DeliverPolicy.NEW,  # deals won long ago are no news
            ack_policy=AckPolicy.EXPLICIT,
            max_ack_pending=1,  # one message after the other: Slack takes about one a second
        ),
    )
    print("waiting for deals")
    while True:
        try:
            [m] = await subscription.fetch(1, timeout=30)
        except TimeoutError:
            continue
        try:
            await asyncio.to_thread(tell, json.loads(m.data))
            await m.ack()
        except Exception as err:
            print(err, file=sys.stderr)
            await m.nak(delay=10)


def tell(event):
    is_new = event["op"] == "created"  # then nothing has changed
    values = event["properties"]
    if values.get("dealstage") != "closedwon" or not is_new and "dealstage" not in event["changed"]:
        return
    # Escaped, so that what people write into HubSpot is no mention or link in Slack.
    name = html.escape(values.get("dealname") or "deal " + event["id"], quote=False)
    text = f'Won: {name} ({html.escape(values.get("amount") or "no amount", quote=False)})'
    print(text)
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(os.environ["SLACK_WEBHOOK_URL"], data=body, headers={"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
