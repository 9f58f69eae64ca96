// Reacts to contacts whose lifecycle stage changes.
//
//   npm install && NATS_URL=nats://127.0.0.1:4222 npx tsx lifecycle.ts
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connectToLog } from "./connect.js";
import type { Event } from "./event.js";

const nc = await connectToLog();
const manager = await jetstreamManager(nc);
// A durable consumer remembers, on the server, what was acknowledged: a restart goes on where it stopped.
await manager.consumers.add("HUBSPOT", {
  durable_name: "lifecycle-example-ts",
  filter_subject: "hubspot.*.contacts.*",
  deliver_policy: DeliverPolicy.New, // when it is made; afterwards its own place counts
  ack_policy: AckPolicy.Explicit,
});
const consumer = await jetstream(nc).consumers.get("HUBSPOT", "lifecycle-example-ts");
const messages = await consumer.consume();
process.on("SIGINT", () => messages.stop());
console.log("waiting for changes");

for await (const m of messages) {
  const event = m.json<Event>();
  // A snapshot is a record seen for the first time by a full read: no news.
  if (event.op !== "snapshot" && event.changed.includes("lifecyclestage")) {
    const [before, now] = [event.previous.lifecyclestage ?? "", event.properties.lifecyclestage ?? ""];
    console.log(`contact ${event.id}: lifecycle stage "${before}" -> "${now}"`);
  }
  m.ack(); // if it gets lost the message comes again
}
await nc.drain();
