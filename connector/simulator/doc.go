// Package simulator is a HubSpot account on this machine: the CRM API over HTTP, with HubSpot's limits, lags, errors and
// surprises, and a control API that changes the account, breaks answers and tells the truth. It is for the demo, the
// tests and the benchmarks. What HubSpot rejects, it rejects; where HubSpot's behaviour is not known it takes the stricter
// reading, or has an option.
//
//	s := simulator.New(simulator.DemoOptions())
//	url, err := s.Start("127.0.0.1:0")  // or http.ListenAndServe(addr, s.Handler())
//	defer s.Close()
//
// # Promises
//
//   - Same seed, same account: base data is a pure function of the seed and the id. Only changed records are stored; a
//     million contacts take about 60 MB and a second (TestSameSeedSameAccount).
//   - A read of the primary store (list, get, batch read, associations) sees every change that was made before it
//     (TestReadsSeeEveryChangeAtOnce).
//   - Search reads an index that trails behind: every change arrives after a lag of its own, so changes surface late and
//     out of order; a record that matched by its older state is shown with its current values at its old position.
//     Archived records leave search at once (TestSearchTrailsBehind, TestSearchSeesChangesOutOfOrder,
//     TestSearchShowsNewValuesAtTheOldPosition, TestSearchNeverShowsArchived).
//   - Totals are exact, rows of equal sort key come in another order on every request, and no search goes past 10,000
//     (TestSearchEqualsAScan, TestSearchTiesComeInAnotherOrderEachTime, TestSearchCapsAtTenThousand).
//   - Limits are exact rolling windows, counted on arrival: nothing is admitted that would exceed them in any interval
//     (TestWindowNeverAdmitsMoreThanItsLimit, TestBurstLimitIsARollingWindow).
//   - The truth is one moment of the primary store, whatever search shows and whatever faults are on
//     (TestTruthIsOneMoment, TestTruthEqualsTheAPI).
//
// Sizes, limits, latencies, the index lag and everything that is not known about HubSpot are fields of Options, each of
// which says what zero means.
//
// # API
//
// All paths also in their dated form (/crm/objects/2026-03/...). Object types by plural, singular or type id; custom ones
// by type id, p_<name> or p<portal>_<name>, never by bare name.
//
//	GET    /crm/v3/objects/{type}                 limit 10 (100, 50 with history), after, properties, propertiesWithHistory, associations, archived
//	GET    /crm/v3/objects/{type}/{id}            the same and idProperty; a merged-away id shows the winner
//	POST   /crm/v3/objects/{type}                 create; 400 for unknown and read-only properties, 409 for a known e-mail
//	PATCH  /crm/v3/objects/{type}/{id}            update
//	DELETE /crm/v3/objects/{type}/{id}            archive, always 204
//	POST   /crm/v3/objects/{type}/search          limit 10 (200), after as offset, 5 groups, 6 filters each, 18 in all, one sort
//	POST   /crm/v3/objects/{type}/batch/read      100 inputs (50 with history), 207 with one error for all missing ids
//	POST   /crm/v3/objects/{type}/batch/archive   100 inputs
//	POST   /crm/v3/objects/{type}/merge           primaryObjectId, objectIdToMerge
//	POST   /crm/v3/objects/contacts/gdpr-delete   objectId, idProperty
//	GET    /crm/v4/objects/{from}/{id}/associations/{to}
//	POST   /crm/v4/associations/{from}/{to}/batch/read
//	GET    /crm/v4/associations/{from}/{to}/labels
//	GET    /crm/v3/properties/{type}[/{name}]     archived, dataSensitivity
//	GET    /crm/v3/pipelines/{type}
//	GET    /crm/v3/owners[/{id}]                  limit 100 (500), after, email, archived
//	GET    /crm/v3/schemas[/{type}]               custom object types; also /crm-object-schemas/v3/schemas
//	GET    /account-info/v3/details
//	POST   /oauth/{v1|v3|date}/token              grant_type=refresh_token; access tokens live 30 minutes
//
// Order of checks: length of the address (414), token (401), limits (429), path (404, 405), injected fault, object type
// (400), scope (403), the request itself (400, 415). Answers are made on arrival and then held back for the latency, so
// like HubSpot's they may be older than what the caller knows when they come.
//
// Webhooks (Options.Webhooks or POST /_control/webhooks) are posted to a URL in batches, signed v3 and v1, shuffled, some
// of them twice, with up to ten retries; see Webhooks. Not simulated: the webhooks journal, lists, imports, exports.
//
// # Control
//
// No token is needed and no limit applies: whoever reaches the port may use it. Bodies and answers are JSON; an unknown
// object type or record is 404. Every route is a method of Simulator too.
//
//	GET    /_control/truth                    {"objects":[{object, live, archived, gone}]}
//	GET    /_control/truth/{object}           NDJSON, ascending by id: id, properties (not empty), createdAt, updatedAt, archived, archivedAt, mergedInto, purged
//	GET    /_control/truth/{object}/links/{to}  NDJSON, ascending by id and to: id, to, types; live records only
//	GET    /_control/links/{object}/{id}/{to} {"links":[{to, types}]}
//	GET    /_control/ids/{object}?from=&n=    ids of live records
//	GET    /_control/owners                   all owners; GET /_control/pipelines/{object}, /_control/property/{object}/{name}
//	GET    /_control/stats                    Stats; DELETE sets them to zero
//	GET    /_control/index                    {pending, until}; POST index/flush lets search catch up, index/wait waits until it has
//	GET    /_control/clock                    POST {"advance":"10m"} moves it forward: limits, tokens, lags and stamps follow
//	POST   /_control/create                   {object, properties} or {object, n}
//	POST   /_control/update                   {object, id, properties}, "silent" for no new last-modified time; in bulk with
//	                                          {object, ids | n, properties, at}: all stamped with one millisecond
//	POST   /_control/archive, restore, purge  {object, id}
//	POST   /_control/merge                    {object, id, other} -> {id}
//	POST   /_control/link, unlink             {object, id, to, toId, types}
//	POST   /_control/property                 {object, name, type, label, archived, ...}: add or change a definition
//	POST   /_control/owner                    an Owner, added or replaced; POST /_control/pipelines {object, pipelines}
//	POST   /_control/access                   {revoke, allow: token; expire; revokeRefresh; deny, permit: scope}
//	POST   /_control/spend                    {token, burst, searches, daily}: what other programs use of the budgets
//	POST   /_control/faults                   a Fault: {kind, endpoint, object, status, policy, retryAfter, delay (ns), rate, count}; DELETE clears all
//	POST   /_control/webhooks                 a Webhooks, field names as in Go, times in ns
//	POST   /_control/live?rate=20&for=30s     Live; answers with what it did
package simulator
