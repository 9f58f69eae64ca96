package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
)

// checkNATS connects, and looks at the server's version and whether others can listen on the way.
func checkNATS(_ context.Context, d *doctor, f *findings) {
	nc, err := d.nats()
	switch {
	case errors.Is(err, errNotConfigured):
		f.none("no NATS_URL: the log is that of `hubtail up` in --data-dir %s; give it --nats-listen %s and set NATS_URL=nats://%[2]s here to look at it", d.dataDir, defaultNATSListen)
		return
	case err != nil:
		f.fail(natsTrouble(d.natsCreds, err))
		return
	}
	if err := jetlog.CheckServer(nc); err != nil {
		f.fail(err.Error(), "a page of records and its cursor are stored as one by atomic batches, which older servers do not have",
			"upgrade the NATS server to "+jetlog.MinServer+" or newer (image nats:2.12 or newer)")
		return
	}
	rtt, err := nc.RTT()
	if err != nil {
		f.fail("connected, but no answer: "+err.Error(), "nothing is logged or applied without NATS", "look at the server's log")
		return
	}
	f.ok("%s, nats-server %s, answers in %s", jetlog.ServerOf(nc), nc.ConnectedServerVersion(), rtt.Round(time.Microsecond))
	if _, err := nc.TLSConnectionState(); err != nil && isPublic(nc.ConnectedAddr()) {
		f.warn("the way to "+nc.ConnectedAddr()+" is not encrypted", "whoever is on it reads the whole CRM",
			"turn TLS on in the NATS server and use tls:// in NATS_URL, or a private network")
	}
}

// isPublic reports whether an address host:port is one of the internet.
func isPublic(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsGlobalUnicast() && !ip.IsPrivate()
}

func natsTrouble(creds string, err error) (what, why, fix string) {
	what, why = err.Error(), "nothing is logged or applied without NATS"
	text := strings.ToLower(what)
	switch {
	case errors.Is(err, os.ErrNotExist), strings.Contains(text, "no such file"):
		fix = strings.TrimSuffix("NATS_CREDS names a file that is not there: "+creds, ": ")
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(text, "authorization"), strings.Contains(text, "authentication"):
		fix = "user, password, token or credentials file are not those of the server: check NATS_URL (nats://user:password@host:4222) and NATS_CREDS"
	case errors.Is(err, nats.ErrSecureConnRequired), strings.Contains(text, "secure connection required"):
		fix = "the server wants TLS: use tls:// in NATS_URL"
	case errors.Is(err, nats.ErrSecureConnWanted), strings.Contains(text, "secure connection not available"):
		fix = "the server has no TLS: use nats:// in NATS_URL, or turn TLS on there"
	case strings.Contains(text, "invalid websocket connection"):
		fix = "what answers there is no NATS websocket, or a proxy whose NATS server is away: check that server, and NATS_URL"
	case errors.Is(err, nats.ErrNoServers) && networkAdvice(err, "NATS_URL") == "":
		fix = "nothing listens there, or it is no NATS server: start it, or check host and port of NATS_URL (`hubtail nats` is a server)"
	default:
		if fix = networkAdvice(err, "NATS_URL"); fix == "" {
			fix = "check NATS_URL; it looks like nats://user:password@host:4222"
		}
	}
	return what, why, fix
}

// jsTrouble says why the JetStream API does not answer: it is off, or the user may not ask.
func jsTrouble(err error, subject string) (what, why, fix string) {
	why = "the log is a JetStream stream"
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return "the server has no JetStream", why, "start it with `nats-server --jetstream --store_dir DIR`, or jetstream { store_dir: DIR } in its configuration"
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return "JetStream is not enabled for this account", why, "enable it for the account: jetstream: enabled in accounts { ... }, or limits in its JWT (`nsc edit account --js-enable 1`)"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrPermissionViolation):
		return "no answer to " + subject + ": " + err.Error(), why,
			"allow this user to publish there and to subscribe to _INBOX.>; if it may, the JetStream cluster has no leader: `nats server report jetstream`"
	}
	return err.Error(), why, "`nats account info` with the same user shows more"
}

// checkJetStream looks at the account's limits and what is left of them.
func checkJetStream(ctx context.Context, d *doctor, f *findings) {
	js, err := d.jetStream()
	if err != nil {
		return
	}
	ctx, cancel := shortly(ctx)
	defer cancel()
	account, err := js.AccountInfo(ctx)
	if err != nil {
		if _, streamErr := d.streamInfo(); streamErr == nil {
			f.none("account limits: this user may not ask for them ($JS.API.INFO)")
			return
		}
		f.fail(jsTrouble(err, "$JS.API.INFO"))
		return
	}
	l, before := account.Limits, len(f.list)
	tier := account.Tier
	if named, ok := account.Tiers[fmt.Sprintf("R%d", max(d.replicas, 1))]; ok {
		tier, l = named, named.Limits
	}
	_, missing := d.streamInfo()
	needStreams, needConsumers := 0, 0
	if errors.Is(missing, jetstream.ErrStreamNotFound) {
		needStreams, needConsumers = 3, 1+2*len(d.objects) // log, hints, lease; the sink's, and two queues of hints per type
	}
	short := func(what string, limit, used, need int) {
		if limit >= 0 && limit-used < need {
			f.fail(fmt.Sprintf("the account may have %d %s and has %d; hubtail needs %d more", limit, what, used, need),
				"source and sink cannot create what they need", "raise the account's limit of "+what+", or remove some that nobody needs (`nats stream ls`)")
		}
	}
	short("streams", l.MaxStreams, tier.Streams, needStreams)
	short("consumers", l.MaxConsumers, tier.Consumers, needConsumers)
	if l.MaxStore == 0 {
		f.fail("the account may store nothing in files", "the log is kept in files", "give the account disk storage (max_file in its JetStream limits)")
	}
	if l.MaxStore > 0 {
		judgeSpace(f, "the account's storage", tier.Store, uint64(l.MaxStore), "raise the account's max_file, or its server's max_file_store")
	}
	if l.MaxBytesRequired {
		f.fail("the account wants a size limit on every stream", "the log has none: it must not lose records", "turn max_bytes_required off for this account")
	}
	if len(f.list) == before {
		f.ok("%d streams, %d consumers, %s stored; %s", tier.Streams, tier.Consumers, bytesText(tier.Store), limitsText(l))
	}
}

func limitsText(l jetstream.AccountLimits) string {
	if l.MaxStore < 0 && l.MaxStreams < 0 && l.MaxConsumers < 0 {
		return "the account has no limits of its own"
	}
	return "within the account's limits"
}

// judgeSpace reports how full something is that has a limit in bytes.
func judgeSpace(f *findings, what string, used, limit uint64, fix string) {
	text := fmt.Sprintf("%s: %s of %s used", what, bytesText(used), bytesText(limit))
	const why = "a full log takes no events: the source stands still, nothing is lost"
	switch {
	case used >= limit/100*98:
		f.fail(text, why, fix)
	case used >= limit/100*80:
		f.warn(text, why, fix)
	}
}

// checkMessageSize compares the server's limit with what a record can have.
func checkMessageSize(_ context.Context, d *doctor, f *findings) {
	nc, err := d.nats()
	if err != nil {
		return
	}
	// HubSpot rule: a text property has up to 65,536 characters.
	if size := nc.MaxPayload(); size < localnats.MaxPayload {
		f.warn(fmt.Sprintf("max_payload of the NATS server is %s", bytesText(uint64(size))),
			"an event is a record's full state: one with many long texts, or with more than 16,000 links per MB, does not fit and becomes a dead letter",
			fmt.Sprintf("max_payload: %dMB in the server's configuration (reload suffices)", localnats.MaxPayload>>20))
		return
	}
	f.ok("max_payload is %s", bytesText(uint64(nc.MaxPayload())))
}

// probe is a subject that hubtail publishes to, and what for.
type probe struct{ subject, purpose string }

// probes are the subjects that the parts of this configuration publish to.
func (d *doctor) probes() []probe {
	log, hints, bucket, portal := d.stream, connector.HintsStream(d.stream), connector.LeaseBucket(d.stream), d.portalID()
	var all []probe
	add := func(purpose string, subjects ...string) {
		for _, s := range subjects {
			all = append(all, probe{s, purpose})
		}
	}
	add("to look at the log", "$JS.API.STREAM.INFO."+log, "$JS.API.DIRECT.GET."+log)
	if d.needsSource() {
		add("so that a source logs what it reads", "hubspot."+portal+".contacts.1", "hubspot."+portal+"._cursor.contacts")
		add("so that webhooks are stored", "hubspot-hints."+portal+".contacts.1")
		add("so that webhooks are worked off", "$JS.API.CONSUMER.CREATE."+hints+".x", "$JS.API.CONSUMER.MSG.NEXT."+hints+".x", "$JS.ACK."+hints+".x.0.0.0.0.0")
		add("so that one source leads", "$KV."+bucket+"."+portal, "$JS.API.STREAM.INFO.KV_"+bucket, "$JS.API.DIRECT.GET.KV_"+bucket+".$KV."+bucket+"."+portal)
		add("so that a source makes its streams", "$JS.API.STREAM.CREATE."+log, "$JS.API.STREAM.CREATE."+hints, "$JS.API.STREAM.CREATE.KV_"+bucket)
		add("so that a privacy deletion erases a record's history", "$JS.API.STREAM.PURGE."+log)
		add("so that the log is read back", "$JS.API.CONSUMER.CREATE."+log+".x", "$JS.API.CONSUMER.MSG.NEXT."+log+".x")
	}
	if d.needsSink() {
		add("so that a sink reads the log", "$JS.API.CONSUMER.INFO."+log+"."+d.consumer, "$JS.API.CONSUMER.CREATE."+log+"."+d.consumer,
			"$JS.API.CONSUMER.MSG.NEXT."+log+"."+d.consumer, "$JS.ACK."+log+"."+d.consumer+".0.0.0.0.0")
	}
	return all
}

// checkPermissions publishes a message to every subject that hubtail needs, in a way that nobody gets it.
func checkPermissions(ctx context.Context, d *doctor, f *findings) {
	nc, err := d.nats()
	if err != nil || jetlog.CheckServer(nc) != nil {
		return
	}
	refused, known, err := d.refusedSubjects(ctx)
	if err != nil {
		f.fail(natsTrouble(d.natsCreds, err))
		return
	}
	var purposes []string
	subjects := map[string][]string{}
	for _, p := range d.probes() {
		if refused[p.subject] {
			if subjects[p.purpose] == nil {
				purposes = append(purposes, p.purpose)
			}
			subjects[p.purpose] = append(subjects[p.purpose], p.subject)
		}
	}
	for _, purpose := range purposes {
		f.fail("this user may not publish to "+strings.Join(subjects[purpose], ", "), "needed "+purpose,
			"add the subjects to publish: { allow: [...] } of the user; if it is for another part (source or sink), run doctor with that part's settings only")
	}
	if refused[inbox] {
		f.fail("this user may not subscribe to _INBOX.>", "every answer of NATS comes there", `add "_INBOX.>" to subscribe: { allow: [...] } of the user`)
	}
	switch {
	case !known:
		f.none("what else this user may not do cannot be tried before that")
	case len(f.list) == 0:
		f.ok("this user may do what %s", d.roleText())
	}
}

func (d *doctor) roleText() string {
	switch {
	case d.needsSource() && d.needsSink():
		return "source and sink need"
	case d.needsSource():
		return "a source needs"
	case d.needsSink():
		return "a sink needs"
	}
	return "reading the log needs"
}

// inbox stands for a subscription to answers among what was refused.
const inbox = "subscribe"

// refusedSubjects tries all probes and returns what the server refused; known is false if they could not be tried.
//
// NATS rule: a message with Nats-Trace-Only is delivered to no one, after the user's permissions were checked; but only if
// the user may publish to Nats-Trace-Dest, where the server then tells the message's way. So that is a subject where it may,
// and where nobody minds: an inbox, or a request for the log that names nobody to answer.
func (d *doctor) refusedSubjects(ctx context.Context) (refused map[string]bool, known bool, err error) {
	anywhere := nats.NewInbox()
	harmless := []string{anywhere, "$JS.API.DIRECT.GET." + d.stream, "$JS.API.STREAM.INFO." + d.stream}
	first, err := d.tryPublish(ctx, harmless, func(subject string) *nats.Msg { return nats.NewMsg(subject) })
	if err != nil {
		return nil, false, err
	}
	i := slices.IndexFunc(harmless, func(subject string) bool { return !first[subject] })
	if i < 0 {
		return first, false, nil
	}
	var subjects []string
	for _, p := range d.probes() {
		subjects = append(subjects, p.subject)
	}
	refused, err = d.tryPublish(ctx, subjects, func(subject string) *nats.Msg {
		m := nats.NewMsg(subject)
		m.Header.Set("Nats-Trace-Dest", harmless[i])
		m.Header.Set("Nats-Trace-Only", "true")
		// Were it delivered nevertheless, no stream and no API would take it.
		m.Header.Set(jetstream.ExpectedStreamHeader, "hubtail-doctor-changes-nothing")
		m.Data = []byte("{")
		return m
	})
	return refused, true, err
}

// tryPublish publishes to subjects on a connection of its own, subscribes to an inbox, and returns what was refused.
func (d *doctor) tryPublish(ctx context.Context, subjects []string, message func(subject string) *nats.Msg) (map[string]bool, error) {
	refused := map[string]bool{} // written by the connection's one goroutine for callbacks until closed is closed
	closed := make(chan struct{})
	note := func(_ *nats.Conn, sub *nats.Subscription, err error) {
		switch text := strings.ToLower(err.Error()); {
		case !strings.Contains(text, "permissions violation"):
		case sub != nil || strings.Contains(text, "for subscription"):
			refused[inbox] = true
		default:
			for _, s := range subjects {
				refused[s] = refused[s] || strings.Contains(text, `"`+strings.ToLower(s)+`"`)
			}
		}
	}
	nc, err := jetlog.Connect(ctx, jetlog.Config{URL: d.natsURL, Creds: d.natsCreds, Name: "hubtail doctor", Options: []nats.Option{
		nats.Timeout(3 * time.Second), nats.NoReconnect(), nats.ErrorHandler(note),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
	}})
	if err != nil {
		return nil, err
	}
	for _, s := range subjects {
		if err == nil {
			err = nc.PublishMsg(message(s))
		}
	}
	if err == nil {
		_, err = nc.SubscribeSync(nc.NewInbox())
	}
	if err == nil {
		err = nc.FlushWithContext(ctx)
	}
	nc.Close()
	<-closed // comes after all errors
	return refused, err
}
