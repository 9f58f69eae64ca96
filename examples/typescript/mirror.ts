// Starts from the current state of all deals and then follows it: one consumer does both.
//
//   npm install && NATS_URL=nats://127.0.0.1:4222 npx tsx mirror.ts
import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { connectToLog } from "./connect.js";
import type { Event } from "./event.js";

const nc = await connectToLog();
// An ordered consumer has no state on the server: each start reads the last event of every deal, which is all there is to
// know of it, and then what comes.
const consumer = await jetstream(nc).consumers.get("HUBSPOT", {
  filter_subjects: "hubspot.*.deals.*", // a list would make this client ask in an old way that a reader has no right to
  deliver_policy: DeliverPolicy.LastPerSubject,
});
const messages = await consumer.consume();
process.on("SIGINT", () => messages.stop());

const deals = new Map<string, Record<string, string>>();
let complete = false;
for await (const m of messages) {
  const event = m.json<Event>();
  if (event.archived) {
    deals.delete(event.id); // in the recycle bin, merged away or deleted for privacy
  } else {
    deals.set(event.id, event.properties);
  }
  if (complete) {
    console.log(`deal ${event.id} ${event.op}; ${deals.size} deals`);
  } else if (m.info.pending === 0) {
    complete = true;
    console.log(`the state is complete: ${deals.size} deals`);
  }
}
await nc.close();
