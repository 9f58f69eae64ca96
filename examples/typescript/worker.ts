// Does something for every change of a company, such as telling another system: it tries again when that fails, later and
// later, and gives up visibly. Several of them share the work.
//
//   npm install && NATS_URL=nats://127.0.0.1:4222 npx tsx worker.ts http://127.0.0.1:9000/companies
import { AckPolicy, type JsMsg, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import { connectToLog } from "./connect.js";

const maxTries = 8; // over about a quarter of an hour, with the waits below
const url = process.argv[2];
if (!url) {
  console.error("usage: worker.ts URL");
  process.exit(2);
}

const nc = await connectToLog();
const manager = await jetstreamManager(nc);
await manager.consumers.add("HUBSPOT", {
  durable_name: "worker-example-ts",
  filter_subject: "hubspot.*.companies.*",
  ack_policy: AckPolicy.Explicit,
  ack_wait: nanos(30_000), // a worker that died: its messages go to another one
  max_deliver: maxTries + 1,
  max_ack_pending: 16, // at work at a time, over all workers
});
const consumer = await jetstream(nc).consumers.get("HUBSPOT", "worker-example-ts");
const messages = await consumer.consume({ max_messages: 16 });
process.on("SIGINT", () => messages.stop());
console.log("waiting for changes");

for await (const m of messages) {
  await work(m);
}
await nc.drain();

// A change can come twice, and an older one after a newer one when tries overlap: the receiver keeps the greatest
// Stream-Sequence it has seen of a company, and drops what is not above it.
async function work(m: JsMsg): Promise<void> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "Idempotency-Key": m.headers?.get("ce-id") ?? "",
        "Stream-Sequence": String(m.seq),
      },
      body: m.string(),
      signal: AbortSignal.timeout(10_000),
    });
    if (!response.ok) {
      throw new Error(`${response.status} ${response.statusText}`);
    }
    m.ack();
  } catch (err) {
    if (m.info.deliveryCount >= maxTries) {
      console.error(`given up after ${m.info.deliveryCount} tries: ${m.subject}, sequence ${m.seq}: ${err}`);
      m.term();
      return;
    }
    m.nak(1000 * 2 ** m.info.deliveryCount);
  }
}
