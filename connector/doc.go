// Package connector turns a HubSpot portal into an ordered, replayable log on NATS JetStream.
package connector
