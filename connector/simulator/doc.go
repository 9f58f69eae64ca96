// Package simulator is a HubSpot account on this machine: the CRM API over HTTP, as strict as HubSpot's.
package simulator
