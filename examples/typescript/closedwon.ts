// Tells a Slack channel of every deal that is won.
//
//   npm install && NATS_URL=nats://127.0.0.1:4222 SLACK_WEBHOOK_URL=https://hooks.slack.com/... npx tsx closedwon.ts
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connectToLog } from "./connect.js";
import type { Event } from "./event.js";

const slack = process.env.SLACK_WEBHOOK_URL ?? "";
const nc = await connectToLog();
const manager = await jetstreamManager(nc);
await manager.consumers.add("HUBSPOT", {
  durable_name: "closed-won-example-ts",
  filter_subject: "hubspot.*.deals.*",
  deliver_policy: DeliverPolicy.New, // deals won long ago are no news
  ack_policy: AckPolicy.Explicit,
  max_ack_pending: 1, // one message after the other: Slack takes about one a second
});
const consumer = await jetstream(nc).consumers.get("HUBSPOT", "closed-won-example-ts");
const messages = await consumer.consume();
process.on("SIGINT", () => messages.stop());
console.log("waiting for deals");

for await (const m of messages) {
  try {
    await tell(m.json<Event>());
    m.ack();
  } catch (err) {
    console.error(err);
    m.nak(10_000);
  }
}
await nc.drain();

// Keeps what people write into HubSpot from being a mention or a link: these three are Slack's control characters.
function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

async function tell(event: Event): Promise<void> {
  const isNew = event.op === "created"; // then nothing has changed
  if (event.properties.dealstage !== "closedwon" || (!isNew && !event.changed.includes("dealstage"))) {
    return;
  }
  const { dealname, amount } = event.properties;
  const text = `Won: ${escape(dealname ?? `deal ${event.id}`)} (${escape(amount ?? "no amount")})`;
  console.log(text);
  const response = await fetch(slack, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }),
    signal: AbortSignal.timeout(10_000),
  });
  if (!response.ok) {
    throw new Error(`slack: ${response.status}`);
  }
}
