// Package hubspot is the client of HubSpot's CRM API.
package hubspot
