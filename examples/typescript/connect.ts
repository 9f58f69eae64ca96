// The connection of the examples: NATS_URL, with the user in it if the server wants one (this client reads no user from an
// URL), or with NATS_CREDS, a file of credentials.
import { readFileSync } from "node:fs";
import { connect, credsAuthenticator, type NatsConnection } from "@nats-io/transport-node";

export function connectToLog(): Promise<NatsConnection> {
  const urls = (process.env.NATS_URL ?? "nats://127.0.0.1:4222").split(",").map((url) => new URL(url));
  const { username, password } = urls[0];
  const login = process.env.NATS_CREDS
    ? { authenticator: credsAuthenticator(readFileSync(process.env.NATS_CREDS)) }
    : username
      ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) }
      : {};
  return connect({ servers: urls.map((url) => url.host), maxReconnectAttempts: -1, ...login });
}
