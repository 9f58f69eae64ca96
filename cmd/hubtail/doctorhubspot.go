package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// appSettings is where a private app is found.
const appSettings = "HubSpot: Settings, Integrations, Private Apps, the app"

func (d *doctor) openClient() (*hubspot.Client, error) {
	if !d.asksHubSpot() {
		return nil, errNotConfigured
	}
	own := *d.parts
	own.httpClient = d.wire.client()
	own.quotaShare, own.burstShare = 1, 0 // a day that is used up is to be reported, not waited for
	return own.newClient()
}

func (d *doctor) readAccount(ctx context.Context) (hubspot.Account, error) {
	client, err := d.client()
	if err != nil {
		return hubspot.Account{}, err
	}
	ctx, cancel := d.wire.once(ctx)
	defer cancel()
	return client.Account(ctx)
}

func checkToken(_ context.Context, d *doctor, f *findings) {
	switch {
	case !d.needsSource():
		f.none("no HUBSPOT_ACCESS_TOKEN: there is no source here")
		return
	case !d.hubspot:
		f.none("--no-hubspot")
		return
	}
	account, err := d.account()
	if err != nil {
		f.fail(hubspotTrouble(d, err))
		return
	}
	f.ok("portal %d (%s, %s), whose day ends at midnight in %s", account.PortalID, strings.ToLower(account.AccountType), account.DataHostingLocation, account.TimeZone)
	if d.portal != "" && d.portal != fmt.Sprint(account.PortalID) {
		f.fail(fmt.Sprintf("--portal is %s, the token is of portal %d", d.portal, account.PortalID),
			"a source refuses that, so that no portal's records get into another one's log", "leave --portal (HUBTAIL_PORTAL) out, or use a token of that portal")
	}
}

// hubspotTrouble says what stands between us and HubSpot.
func hubspotTrouble(d *doctor, err error) (what, why, fix string) {
	what, why = err.Error(), "nothing can be read without HubSpot"
	token := "copy the token again (" + appSettings + ", Auth) into HUBSPOT_ACCESS_TOKEN"
	switch {
	case errors.Is(err, hubspot.ErrUnauthorized):
		if d.hubspotRefreshToken != "" {
			token = "connect the app to the account again and set HUBSPOT_REFRESH_TOKEN, HUBSPOT_CLIENT_ID and HUBSPOT_CLIENT_SECRET of that app"
		} else if !strings.HasPrefix(d.hubspotToken, "pat-") {
			token = "this is no token of a private app (pat-...): API keys ended in 2022; make one (HubSpot: Settings, Integrations, Private Apps, Create), `hubtail init` says with which scopes"
		}
		return "HubSpot does not accept the token", why, token
	case errors.Is(err, hubspot.ErrDailyLimit):
		return "the account's requests of today are used up: " + what, "nothing is read before midnight in the account's time zone",
			"find who spends them (HubSpot: Development, Monitoring, API calls); a lower --quota-share leaves more to others"
	case errors.Is(err, hubspot.ErrRateLimited):
		return what, "the 10-second limit of this token is used up: another program has the same token, or a load is under way",
			"give every program a private app of its own: the 10-second limit is per app"
	case usageErr(err):
		return what, why, token
	}
	if fix = networkAdvice(err, "--hubspot-url (HUBTAIL_HUBSPOT_URL)"); fix == "" {
		fix = "try again; see https://status.hubspot.com"
	}
	return what, why, fix
}

func usageErr(err error) bool {
	var usage usageError
	return errors.As(err, &usage)
}

// chosenTypes are the object types of --objects.
type chosenTypes struct {
	types   []hubspot.Object
	owners  bool
	all     bool     // nobody named them: what may not be read is left out
	unknown []string // names that are of no type
}

// resolveObjects finds the object types by name, as a source does.
func (d *doctor) resolveObjects(ctx context.Context) (found chosenTypes, err error) {
	var others []string
	for _, name := range d.objects {
		switch object, ok := hubspot.ObjectByName(name); {
		case ok:
			found.types = append(found.types, object)
		case name == "owners":
			found.owners = true
		case name == "all":
			found.all, found.owners = true, true
			found.types = append(found.types, hubspot.Objects()...)
		case name != "pipelines":
			others = append(others, name)
		}
	}
	if len(others) == 0 && !found.all {
		return found, nil
	}
	client, err := d.client()
	if err != nil {
		return found, err
	}
	ctx, cancel := d.wire.once(ctx)
	defer cancel()
	custom, err := client.CustomObjects(ctx)
	if err != nil {
		return found, err
	}
	if found.all {
		found.types = append(found.types, custom...)
	}
	for _, name := range others {
		i := slices.IndexFunc(custom, func(o hubspot.Object) bool {
			return name == o.Name || name == o.Singular || name == o.TypeID || name == o.FullyQualifiedName
		})
		if i < 0 {
			found.unknown = append(found.unknown, name)
		} else {
			found.types = append(found.types, custom[i])
		}
	}
	return found, nil
}

// readable is whether the token may read an object type.
type readable struct {
	object string
	err    error
}

// tryObjects reads one record of every object type, and its property definitions. Nothing is known before the account is.
func (d *doctor) tryObjects(ctx context.Context) []readable {
	client, err := d.client()
	if err != nil {
		return nil
	}
	chosen, err := d.chosen()
	if err != nil {
		return nil
	}
	var mu sync.Mutex // guards all
	var all []readable
	try := func(object string, read func(context.Context) error) func() error {
		return func() error {
			ctx, cancel := d.wire.once(ctx)
			defer cancel()
			r := readable{object, read(ctx)}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, r)
			return nil
		}
	}
	var group errgroup.Group
	group.SetLimit(5)
	for _, o := range chosen.types {
		group.Go(try(o.Name, func(ctx context.Context) error {
			_, err := client.List(ctx, hubspot.ListRequest{Object: o, Limit: 1, Properties: []string{"hs_object_id"}})
			if err != nil || chosen.all {
				return err
			}
			_, err = client.Properties(ctx, o)
			return err
		}))
	}
	if chosen.owners {
		group.Go(try("owners", func(ctx context.Context) error {
			_, err := client.Owners(ctx, false)
			return err
		}))
	}
	_ = group.Wait() // none fails
	slices.SortFunc(all, func(a, b readable) int { return cmp.Compare(a.object, b.object) })
	return all
}

// checkScopes names the scopes that the token lacks.
func checkScopes(_ context.Context, d *doctor, f *findings) {
	if _, err := d.account(); err != nil {
		return // checkToken says so
	}
	chosen, err := d.chosen()
	switch {
	case errors.Is(err, hubspot.ErrForbidden):
		f.fail("the token may not read the definitions of custom object types", "--objects names one, or all",
			"tick the scopes crm.schemas.custom.read and crm.objects.custom.read ("+appSettings+", Scopes), and use the new token")
		return
	case err != nil:
		f.fail(hubspotTrouble(d, err))
		return
	}
	if len(chosen.unknown) > 0 {
		f.fail("no object type is called "+joinList(chosen.unknown)+didYouMean(chosen.unknown[0], standardObjects()), "a source ends with an error then",
			"write --objects with standard names, as in "+defaultObjects+", and p_<name> for custom ones")
	}
	var may, mayNot []string
	for _, r := range d.readables() {
		switch {
		case r.err == nil:
			may = append(may, r.object)
		case errors.Is(r.err, hubspot.ErrForbidden) && chosen.all:
			mayNot = append(mayNot, r.object)
		case errors.Is(r.err, hubspot.ErrForbidden):
			f.fail("the token may not read "+r.object, "the source reads the other types and says so; this one's table stays empty",
				fmt.Sprintf("tick the scope %s (%s, Scopes), and use the token that HubSpot shows then", missingScope(r), appSettings))
		default:
			what, _, fix := hubspotTrouble(d, r.err)
			f.warn(r.object+": "+what, "whether the token may read it is not known", fix)
		}
	}
	if len(may) > 0 {
		f.ok("the token may read %s", strings.Join(may, ", "))
	}
	if len(mayNot) > 0 {
		f.none("left out, the token may not read them: %s", strings.Join(mayNot, ", "))
	}
}

// missingScope returns the scope that HubSpot says is missing, or the one that usually is.
func missingScope(r readable) string {
	if e := (*hubspot.Error)(nil); errors.As(r.err, &e) && len(e.Scopes) > 0 {
		return strings.Join(e.Scopes, " or ")
	}
	return strings.Join(scopesOf(r.object), " and ")
}

// checkSearch tries the one endpoint that changes are found by.
func checkSearch(ctx context.Context, d *doctor, f *findings) {
	if _, err := d.account(); err != nil {
		return
	}
	i := slices.IndexFunc(d.readables(), func(r readable) bool { return r.err == nil && r.object != "owners" })
	if i < 0 {
		f.none("no object type can be read")
		return
	}
	chosen, _ := d.chosen()
	name := d.readables()[i].object
	o := chosen.types[slices.IndexFunc(chosen.types, func(o hubspot.Object) bool { return o.Name == name })]
	client, err := d.client()
	if err != nil {
		return
	}
	ctx, cancel := d.wire.once(ctx)
	defer cancel()
	if _, err := client.Search(ctx, hubspot.SearchRequest{Object: o, Limit: 1, Properties: []string{"hs_object_id"}}); err != nil {
		what, _, fix := hubspotTrouble(d, err)
		f.warn("searching "+name+": "+what, "changes are found by search unless webhooks tell of them", fix)
		return
	}
	f.ok("answers; the account has 5 searches per second, HubSpot does not say how many are left")
}

// checkQuota says which plan the limits are of and what is left. HubSpot rule: 100 requests in 10 s and 250,000 a day with
// Free and Starter, 190 and 625,000 with Professional, 190 and 1,000,000 with Enterprise, more with a limit increase; 110
// and no daily limit for an OAuth app.
func checkQuota(_ context.Context, d *doctor, f *findings) {
	if _, err := d.account(); err != nil {
		return
	}
	d.readables() // the headers of the last answer count
	q := d.wire.limits()
	if q.burst == 0 {
		f.none("HubSpot's answers had no rate limit headers")
		return
	}
	window := fmt.Sprintf("%d of %d requests in 10 s left", q.burstLeft, q.burst)
	if q.daily == 0 {
		f.ok("%s; no daily limit (%s)", window, q.plan())
		return
	}
	day := fmt.Sprintf("%s of %s left today (%s)", thousands(int64(q.dailyLeft)), thousands(int64(q.daily)), q.plan())
	ours := float64(q.daily) * (1 - d.quotaShare)
	const why = "the daily quota is of the account: all its apps share it"
	switch {
	case float64(q.dailyLeft) <= ours:
		f.fail(day+", which is what --quota-share leaves to other apps", why+"; a source reads nothing until midnight in the account's time zone",
			"find who spends it (HubSpot: Development, Monitoring, API calls), or raise --quota-share")
	case q.dailyLeft < q.daily/5:
		f.warn(day, why+"; what is left may not last", "find who spends it (HubSpot: Development, Monitoring, API calls)")
	default:
		f.ok("%s; %s", day, window)
	}
}

func checkHubSpotClock(_ context.Context, d *doctor, f *findings) {
	if _, err := d.account(); err != nil {
		return
	}
	if skew, known := d.wire.skew(); known {
		judgeClock(f, "HubSpot", skew, "hubtail corrects it for reads and signatures; times in logs and lags in status are off")
	}
}
