package main

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"
)

// composeFile is what of docker-compose.yml is looked at.
type composeFile struct {
	Services map[string]composeService
	Volumes  map[string]any
}

type composeService struct {
	Profiles        []string
	Image           string
	Entrypoint      []string
	Command         []string
	Environment     map[string]string
	Ports           []string
	Volumes         []string
	ReadOnly        bool          `yaml:"read_only"`
	CapDrop         []string      `yaml:"cap_drop"`
	SecurityOpt     []string      `yaml:"security_opt"`
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`
	Restart         string
	Healthcheck     struct{ Test []string }
	DependsOn       map[string]struct {
		Condition string
		Required  *bool
	} `yaml:"depends_on"`
}

// readCompose reads the file as compose does with the settings of a user's .env.
func readCompose(t *testing.T, settings map[string]string) (f composeFile) {
	t.Helper()
	text, err := os.ReadFile("../../docker-compose.yml")
	must(t, err)
	interpolated := regexp.MustCompile(`\$\{(\w+):([-+])([^}]*)\}`).ReplaceAllStringFunc(string(text), func(s string) string {
		name, rest, _ := strings.Cut(strings.Trim(s, "${}"), ":")
		switch given := settings[name]; {
		case given == "" && rest[0] == '-', given != "" && rest[0] == '+':
			return rest[1:]
		default:
			return given
		}
	})
	must(t, yaml.Unmarshal([]byte(interpolated), &f))
	return f
}

func (s composeService) isOurs() bool { return s.Image == "hubtail:latest" }

// TestComposeServicesAreClosedAndKnown reads every service of docker-compose.yml as an operator does.
func TestComposeServicesAreClosedAndKnown(t *testing.T) {
	t.Parallel()
	f := readCompose(t, nil)
	known := append(variables(commands()), "PGPASSWORD")
	ours := 0
	for name, s := range f.Services {
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: others reach port %s", name, port)
			}
		}
		for _, volume := range s.Volumes {
			if volume, _, _ = strings.Cut(volume, ":"); !declared(f.Volumes, volume) {
				t.Errorf("%s: no volume %s", name, volume)
			}
		}
		if len(s.Profiles) != 1 || s.Restart != "unless-stopped" {
			t.Errorf("%s: profiles %v, restart %q", name, s.Profiles, s.Restart)
		}
		for on, how := range s.DependsOn {
			other, there := f.Services[on]
			if !there || how.Condition == "service_healthy" && len(other.Healthcheck.Test) == 0 {
				t.Errorf("%s waits for %s for ever", name, on)
			}
			if optional := how.Required != nil && !*how.Required; !optional && !slices.Equal(s.Profiles, other.Profiles) {
				t.Errorf("%s needs %s, which profile %v has not", name, on, s.Profiles)
			}
		}
		if !s.isOurs() {
			continue
		}
		ours++
		if complaint := complaintAbout(s.Command); complaint != "" {
			t.Errorf("%s: %s", name, complaint)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s may do too much: %+v", name, s)
		}
		if s.Command[0] != "simulator" && s.StopGracePeriod <= stopBound+5*time.Second {
			t.Errorf("%s is killed after %s, before it has stopped", name, s.StopGracePeriod)
		}
		for variable := range s.Environment {
			if !slices.Contains(known, variable) {
				t.Errorf("%s: nothing reads %s", name, variable)
			}
		}
	}
	if ours != 5 {
		t.Errorf("%d services of ours, want 5", ours)
	}
}

func declared(volumes map[string]any, name string) bool {
	_, there := volumes[name]
	return there
}

// composeRun are the services of a profile as processes of this machine.
type composeRun struct {
	*stack
	file composeFile
	own  *strings.Replacer // what names the other services in a container, to where they are here

	webhooks string // where the source that was started receives them
}

// start starts a service of ours with its command and its environment, waits until its health check says yes, and returns it.
func (r *composeRun) start(name string, more ...string) *process {
	r.t.Helper()
	service := r.file.Services[name]
	r.env = nil
	for _, v := range r.environ() { // a container has nothing but what the file gives it
		if variable, _, _ := strings.Cut(v, "="); slices.Contains(variables(commands()), variable) {
			r.env = append(r.env, variable+"=")
		}
	}
	if _, port, err := net.SplitHostPort(service.Environment["HUBTAIL_ADMIN_ADDR"]); err == nil {
		_, free, _ := net.SplitHostPort(freeAddress(r.t.(*testing.T)))
		service.Environment["HUBTAIL_ADMIN_ADDR"] = strings.Replace(service.Environment["HUBTAIL_ADMIN_ADDR"], port, free, 1)
	}
	if addr := service.Environment["HUBTAIL_WEBHOOK_ADDR"]; addr != "" {
		r.webhooks = freeAddress(r.t.(*testing.T))
		service.Environment["HUBTAIL_WEBHOOK_ADDR"] = r.webhooks
	}
	for variable, value := range service.Environment {
		r.env = append(r.env, variable+"="+r.own.Replace(value))
	}
	args := slices.Clone(service.Command)
	for i := range args {
		args[i] = strings.Replace(args[i], "0.0.0.0:8080", "127.0.0.1:0", 1)
	}
	p := r.stack.start(append(args, more...)...)
	if test := service.Healthcheck.Test; len(test) > 0 {
		if len(test) < 3 || test[0] != "CMD" || test[1] != "/hubtail" {
			r.t.Fatalf("%s: the health check is %v", name, test)
		}
		r.eventually(runBound, name+" is healthy", func() bool { return r.run(nil, test[2:]...).code == exitDone }, p)
	}
	return p
}

// newComposeRun starts the NATS server of a profile from the configuration that its service has. The stack's Postgres and,
// in profile prod, its simulator stand for the others.
func newComposeRun(t *testing.T, settings map[string]string, natsService, postgresService string) *composeRun {
	t.Helper()
	r := &composeRun{stack: newStack(t, smallPortal())}
	u, err := url.Parse(r.database)
	must(t, err)
	password, _ := u.User.Password()
	settings["HUBTAIL_HUBSPOT_URL"], settings["POSTGRES_PASSWORD"] = r.hubspot, password
	r.file = readCompose(t, settings)
	conf := regexp.MustCompile(`(?s)<<CONF\n(.*\n)CONF\n`).FindStringSubmatch(r.file.Services[natsService].Entrypoint[2])
	path := filepath.Join(t.TempDir(), "nats.conf")
	must(t, os.WriteFile(path, []byte(strings.Replace(conf[1], "/data", t.TempDir(), 1)), 0o600))
	opts, err := server.ProcessConfigFile(path)
	must(t, err)
	opts.Host, opts.Port, opts.HTTPPort, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, 0, true, true
	ns, err := server.NewServer(opts)
	must(t, err)
	go ns.Start() // returns once it listens
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	if !ns.ReadyForConnections(time.Minute) {
		t.Fatal("NATS does not start")
	}
	if !opts.SyncAlways || opts.MaxPayload != 8<<20 {
		t.Errorf("NATS: %+v", opts)
	}
	database := url.URL{Scheme: "postgres", User: url.User(u.User.Username()), Host: u.Host, Path: u.Path, RawQuery: u.RawQuery}
	r.own = strings.NewReplacer("nats://"+natsService+":4222", ns.ClientURL(),
		"postgres://postgres@"+postgresService+":5432/hubtail?sslmode=disable", database.String())
	return r
}

// TestTheComposeProfilesRun starts both profiles of docker-compose.yml, each service with its own command, environment and
// health check, after those it depends on, until the records are in Postgres.
func TestTheComposeProfilesRun(t *testing.T) {
	t.Parallel()
	t.Run("prod", func(t *testing.T) {
		t.Parallel()
		r := newComposeRun(t, map[string]string{
			"HUBSPOT_ACCESS_TOKEN": "pat-simulator", "HUBTAIL_POLL_INTERVAL": "500ms", "HUBTAIL_SETTLE_TIME": "2s", "HUBTAIL_LOG_FORMAT": "json",
			"HUBSPOT_CLIENT_SECRET": canary, "HUBTAIL_WEBHOOK_URL": "https://hooks.example.com/hubspot",
		}, "nats", "postgres")
		conn, now := r.connect(), r.simulator.Now()
		source, sink := r.start("source"), r.start("sink")
		r.eventually(runBound, "the tables are complete", func() bool { return r.completeThrough(conn, portalObjects, now) }, source, sink)
		r.requireEqual(conn, portalObjects)
		if response, err := http.Post("http://"+r.webhooks+"/hubspot", "application/json", strings.NewReader("[]")); err != nil || response.Body.Close() != nil || response.StatusCode != http.StatusUnauthorized {
			t.Errorf("a webhook without a signature: %+v, %v", response, err)
		}
		requireGraceful(t, source)
		requireGraceful(t, sink)
	})
	t.Run("demo", func(t *testing.T) {
		t.Parallel()
		r := newComposeRun(t, map[string]string{}, "nats-demo", "postgres-demo")
		// Fewer records than it has by default, for the time it takes.
		hub := r.start("simulator", "--contacts", "50", "--companies", "10", "--deals", "10", "--tickets", "5", "--calls", "10", "--index-lag", "1ms")
		address := r.printed(hub, `simulated HubSpot on http://(\S+)`)
		source, sink := r.file.Services["source-demo"].Environment, r.file.Services["sink-demo"].Environment
		source["HUBTAIL_HUBSPOT_URL"] = strings.Replace(source["HUBTAIL_HUBSPOT_URL"], "simulator:8080", address, 1)
		sink["PGPASSWORD"] = r.file.Services["sink"].Environment["PGPASSWORD"] // of the server that is here
		reads, writes := r.start("source-demo"), r.start("sink-demo")
		conn := r.connect()
		contacts := func(since time.Time) (n int) {
			if err := conn.QueryRow(t.Context(), "select count(*) from hubspot.contacts where _updated_at > $1", since).Scan(&n); err != nil {
				return 0 // there are no tables yet
			}
			return n
		}
		r.eventually(runBound, "the contacts arrive", func() bool { return contacts(time.Time{}) >= 50 }, hub, reads, writes)
		now := time.Now()
		r.eventually(runBound, "they keep changing", func() bool { return contacts(now) > 0 }, hub, reads, writes)
		for _, p := range []*process{reads, writes, hub} {
			requireGraceful(t, p)
		}
	})
}
