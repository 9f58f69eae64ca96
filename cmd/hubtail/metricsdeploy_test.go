package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/sink"
)

// servedNames are the names of all metrics.
func servedNames() (names []string) {
	var m metricsText
	m.process()
	m.leads(true)
	m.objects([]connector.ObjectStatus{{Object: "contacts"}})
	m.hubspot(hubspot.Usage{Daily: hubspot.Daily{Limit: 1}})
	m.sink(sink.Stats{})
	m.tables(&status{Tables: &tablesStatus{}})
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (\w+) `).FindAllStringSubmatch(m.String(), -1) {
		names = append(names, match[1])
	}
	return names
}

// grafana is what of a dashboard is looked at.
type grafana struct {
	Title      string
	Panels     []grafanaPanel
	Templating struct{ List []struct{ Name string } }
}

type grafanaPanel struct {
	ID      int
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, RefID string }
}

// TestAlertRulesAndDashboardFitTheMetrics holds deploy/ and what is served together, and has promtool look at both.
func TestAlertRulesAndDashboardFitTheMetrics(t *testing.T) {
	t.Parallel()
	const folder = "../../deploy/"
	rules, err := os.ReadFile(folder + "prometheus/alerts.yml")
	must(t, err)
	text, err := os.ReadFile(folder + "grafana/hubtail.json")
	must(t, err)
	var board grafana
	must(t, json.Unmarshal(text, &board))
	served := servedNames()
	used := regexp.MustCompile(`hubtail_\w+`)
	for _, name := range used.FindAllString(string(rules), -1) {
		if !slices.Contains(served, name) {
			t.Errorf("alerts.yml uses %s, which is not served", name)
		}
	}
	var expressions strings.Builder
	for i, p := range board.Panels {
		if p.Title == "" || p.ID != i+1 || p.GridPos.W <= 0 || p.GridPos.X+p.GridPos.W > 24 || len(p.Targets) == 0 {
			t.Errorf("panel %d: %+v", i, p)
		}
		for _, target := range p.Targets {
			names := used.FindAllString(target.Expr, -1)
			for _, name := range names {
				if !slices.Contains(served, name) {
					t.Errorf("panel %q uses %s, which is not served", p.Title, name)
				}
			}
			if len(names) == 0 && !strings.Contains(target.Expr, "up{") {
				t.Errorf("panel %q asks for none of our metrics: %s", p.Title, target.Expr)
			}
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", "hubtail").Replace(target.Expr)
			fmt.Fprintf(&expressions, "      - record: panel:%d:%s\n        expr: '%s'\n", p.ID, target.RefID, expr)
		}
	}
	if expressions.Len() == 0 || strings.Contains(expressions.String(), "$") {
		t.Errorf("expressions of the dashboard:\n%s", expressions.String())
	}

	promtool, err := exec.LookPath("promtool")
	if err != nil {
		pgtest.Count(t, "promtool", "skipped (no promtool on PATH)")
		t.Skip("SKIPPED: rules and dashboard were compared with the metrics' names only; apt-get install prometheus brings promtool, which checks the rest")
	}
	pgtest.Count(t, "promtool", "ran")
	panels := filepath.Join(t.TempDir(), "panels.yml")
	must(t, os.WriteFile(panels, []byte("groups:\n  - name: panels\n    rules:\n"+expressions.String()), 0o600))
	for _, args := range [][]string{
		{"check", "rules", folder + "prometheus/alerts.yml"}, {"test", "rules", folder + "prometheus/alerts_test.yml"}, {"check", "rules", panels},
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1)
	tests, err := os.ReadFile(folder + "prometheus/alerts_test.yml")
	must(t, err)
	for _, a := range alerts {
		if !regexp.MustCompile(`alertname: ` + a[1] + `\n +exp_alerts:\n`).Match(tests) {
			t.Errorf("no test has %s fire", a[1])
		}
	}
}
