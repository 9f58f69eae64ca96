package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// manifest is what of a Kubernetes object is looked at.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template    podTemplate
		JobTemplate struct {
			Spec struct{ Template podTemplate }
		} `yaml:"jobTemplate"`
	}
}

type podTemplate struct{ Spec podSpec }

type podSpec struct {
	Grace           int `yaml:"terminationGracePeriodSeconds"`
	SecurityContext struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
		RunAsUser    int  `yaml:"runAsUser"`
	} `yaml:"securityContext"`
	Containers []struct {
		Args            []string
		LivenessProbe   healthProbe `yaml:"livenessProbe"`
		ReadinessProbe  healthProbe `yaml:"readinessProbe"`
		SecurityContext struct {
			ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
			Escalation   *bool `yaml:"allowPrivilegeEscalation"`
			Capabilities struct{ Drop []string }
		} `yaml:"securityContext"`
		Resources struct{ Limits struct{ Memory string } }
	}
}

type healthProbe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// TestKubernetesManifestsFitTheProgram reads deploy/kubernetes: commands and variables that exist, probes that are served,
// time to stop, and pods that may do no more than they need.
func TestKubernetesManifestsFitTheProgram(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../deploy/kubernetes/*.yaml")
	must(t, err)
	pods := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
			var m manifest
			if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for name := range m.Data {
				if m.Kind == "ConfigMap" && !slices.Contains(variables(commands()), name) {
					t.Errorf("%s: nothing reads %s", file, name)
				}
			}
			spec, service := m.Spec.Template.Spec, true
			if m.Kind == "CronJob" {
				spec, service = m.Spec.JobTemplate.Spec.Template.Spec, false
			}
			if len(spec.Containers) == 0 {
				continue
			}
			pods++
			if bound := time.Duration(spec.Grace) * time.Second; service && bound <= stopBound+5*time.Second {
				t.Errorf("%s is killed after %s, before it has stopped", m.Metadata.Name, bound)
			}
			c := spec.Containers[0]
			if complaint := complaintAbout(c.Args); complaint != "" || len(c.Args) == 0 {
				t.Errorf("%s: %v: %s", m.Metadata.Name, c.Args, complaint)
			}
			if service && (c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz") {
				t.Errorf("%s: probes %+v, %+v", m.Metadata.Name, c.LivenessProbe, c.ReadinessProbe)
			}
			security := c.SecurityContext
			if !spec.SecurityContext.RunAsNonRoot || spec.SecurityContext.RunAsUser != 65532 || !security.ReadOnly || security.Escalation == nil || *security.Escalation ||
				!slices.Equal(security.Capabilities.Drop, []string{"ALL"}) || c.Resources.Limits.Memory == "" {
				t.Errorf("%s may do too much: %+v", m.Metadata.Name, spec)
			}
		}
	}
	if pods != 3 {
		t.Errorf("%d kinds of pods, want source, sink and sync", pods)
	}
}

// TestSystemdUnitsFitTheProgram has systemd look at the units, where it is installed.
func TestSystemdUnitsFitTheProgram(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("../../deploy/systemd/hubtail@.service")
	must(t, err)
	var bound time.Duration
	if m := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindSubmatch(unit); m != nil {
		bound, err = time.ParseDuration(string(m[1]) + "s")
		must(t, err)
	}
	if bound <= stopBound+5*time.Second {
		t.Errorf("it is killed after %s, before it has stopped", bound)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze")
	}
	dir, binary := t.TempDir(), os.Args[0] // systemd wants the program to be there
	var units []string
	for from, to := range map[string]string{
		"hubtail@.service": "hubtail@source.service", "hubtail-sync.service": "hubtail-sync.service", "hubtail-sync.timer": "hubtail-sync.timer",
	} {
		text, err := os.ReadFile("../../deploy/systemd/" + from)
		must(t, err)
		units = append(units, filepath.Join(dir, to))
		must(t, os.WriteFile(units[len(units)-1], bytes.ReplaceAll(text, []byte("/usr/local/bin/hubtail"), []byte(binary)), 0o600))
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	if strings.Contains(string(out), "hubtail") {
		t.Errorf("%v\n%s", err, out)
	} else if err != nil {
		t.Skipf("systemd-analyze does not work here: %v\n%s", err, out)
	}
}

// ofOthers are variables of deploy/ that other programs read.
var ofOthers = []string{"NATS_NAME", "NATS_STORE", "NATS_ROUTES", "NATS_PASSWORD", "NATS_ROUTE_PASSWORD", "NATS_SOURCE_PASSWORD",
	"NATS_SINK_PASSWORD", "NATS_READER_PASSWORD", "NATS_PORT", "NATS_CREDS_TEXT", "HUBSPOT_HINTS", "HUBSPOT_ALERTS", "HUBSPOT_LEASE"}

// TestDeploymentFilesNameWhatExists reads the commands and variables that the files of deploy/, docker-compose.yml and the
// documents of both name.
func TestDeploymentFilesNameWhatExists(t *testing.T) {
	t.Parallel()
	files := []string{"../../docker-compose.yml", "../../examples/README.md", "../../docs/migration.md", "../../docs/supabase.md", "../../docs/operations.md"}
	more, err := filepath.Glob("../../deploy/*/*")
	must(t, err)
	known := append(variables(commands()), ofOthers...)
	command := regexp.MustCompile(`\bhubtail((?: --env-file \S+)? (?:sync|status|source|sink|up|nats|backfill)(?: --?[^\s|>&\x60]+(?: [^\s-][^\s|>&\x60]*)?)*)`)
	variable := regexp.MustCompile(`\b(?:HUBTAIL|HUBSPOT|NATS|SUPABASE)_[A-Z_]*[A-Z]\b`)
	commandsSeen, variablesSeen := 0, 0
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, m := range command.FindAllStringSubmatch(string(text), -1) {
			commandsSeen++
			if complaint := complaintAbout(strings.Fields(m[1])); complaint != "" {
				t.Errorf("%s: hubtail%s: %s", file, m[1], complaint)
			}
		}
		for _, name := range variable.FindAllString(string(text), -1) {
			variablesSeen++
			if !slices.Contains(known, name) && !slices.ContainsFunc(otherPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
				t.Errorf("%s: nothing reads %s", file, name)
			}
		}
	}
	if commandsSeen < 15 || variablesSeen < 60 {
		t.Errorf("%d commands, %d variables: too few to be true", commandsSeen, variablesSeen)
	}
}

// TestTheMigrationGuideWorks runs the SQL of docs/migration.md, which are the scripts' own queries, on tables of a first load.
func TestTheMigrationGuideWorks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/migration.md")
	must(t, err)
	s := newStack(t, smallPortal())
	s.must(nil, "backfill", "contacts")
	conn := s.connect()
	statements := 0
	for _, block := range regexp.MustCompile(`(?m)(?:^ {6}\S.*\n(?: {8}.*\n)*)+`).FindAllString(string(text), -1) {
		for _, statement := range strings.SplitAfter(strings.TrimSpace(block), ";") {
			if statement == "" {
				continue
			}
			statements++
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
	if statements != 5 {
		t.Errorf("%d statements, want 5", statements)
	}
	if rows := queryRows(t, conn, "select hubspot_id, email from public.hubspot_contacts_v2"); len(rows) != 130 {
		t.Errorf("the view has %d contacts, want 130", len(rows))
	}
}
