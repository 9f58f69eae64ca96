package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/joho/godotenv"
)

// settings are lines for a file of settings, in order.
type settings struct {
	names   []string
	values  map[string]string
	dropped []string // names that must not stay in the file
}

func (s *settings) set(name, value string) {
	if s.values == nil {
		s.values = map[string]string{}
	}
	if _, there := s.values[name]; !there {
		s.names = append(s.names, name)
	}
	s.values[name] = value
}

func (s *settings) get(name string) string { return s.values[name] }

func (s *settings) drop(names ...string) { s.dropped = append(s.dropped, names...) }

// aliases are the names of one setting: the first that is set counts.
var aliases = [][]string{
	{"HUBTAIL_HUBSPOT_TOKEN", "HUBSPOT_ACCESS_TOKEN", "HUBSPOT_API_KEY"},
	{"HUBTAIL_HUBSPOT_CLIENT_SECRET", "HUBSPOT_CLIENT_SECRET"},
	{"HUBTAIL_NATS_URL", "NATS_URL"},
	{"HUBTAIL_NATS_CREDS", "NATS_CREDS"},
	{"HUBTAIL_DATABASE_URL", "DATABASE_URL"},
}

func aliasesOf(name string) []string {
	for _, group := range aliases {
		if slices.Contains(group, name) {
			return group
		}
	}
	return []string{name}
}

// settingLine matches the beginning of a line NAME=value.
var settingLine = regexp.MustCompile(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*[=:]`)

// write puts the settings into a file, new ones at its end. Lines of other names stay; a setting that is there under another
// of its names keeps that name, so that programs which use it go on.
func (s *settings) write(file string) error {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	} else if _, err := os.Lstat(file); err == nil {
		return usageError{fmt.Errorf("%s is a link to a file that is not there: make that file, or remove the link", file)}
	}
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", file, err)
	}
	text := s.merge(string(before))
	if err := s.check(file, string(before), text); err != nil {
		return err
	}
	return replaceFile(file, text)
}

// merge returns the content of a file with the settings in it.
func (s *settings) merge(before string) string {
	var lines []string
	written := map[string]bool{}
	for _, line := range strings.Split(strings.TrimRight(before, "\n"), "\n") {
		name := ""
		if m := settingLine.FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		ours := s.nameFor(name)
		switch {
		case slices.Contains(s.dropped, name):
		case ours == "":
			lines = append(lines, line)
		case !written[ours] && s.values[ours] != "":
			written[ours] = true
			lines = append(lines, name+"="+quoteSetting(s.values[ours]))
		}
	}
	if before == "" {
		lines = []string{"# Settings of hubtail, written by `hubtail init`; `hubtail COMMAND --help` names all there are."}
	}
	for _, name := range s.names {
		if !written[name] && s.values[name] != "" {
			lines = append(lines, name+"="+quoteSetting(s.values[name]))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// nameFor returns our name of the setting that a line of a file is about, "" if it is none of ours.
func (s *settings) nameFor(name string) string {
	for _, ours := range s.names {
		if slices.Contains(aliasesOf(ours), name) {
			return ours
		}
	}
	return ""
}

// check reads the new content as any program would: every value has to come out as it was, ours and those of others.
func (s *settings) check(file, before, after string) error {
	was, err := godotenv.Unmarshal(before)
	if err != nil {
		return usageError{fmt.Errorf("%s, line %d: not a NAME=value line, or a quote that does not end: mend it first", file, badLine([]byte(before)))}
	}
	is, err := godotenv.Unmarshal(after)
	if err != nil {
		return fmt.Errorf("%s would not be readable with these settings, so it is left as it was", file)
	}
	for name, value := range was {
		if s.nameFor(name) == "" && !slices.Contains(s.dropped, name) && is[name] != value {
			return usageError{fmt.Errorf("%s has a value of several lines (%s), which cannot be kept: write the settings by hand", file, name)}
		}
	}
	for _, ours := range s.names {
		found := slices.ContainsFunc(aliasesOf(ours), func(alias string) bool { return is[alias] == s.values[ours] })
		if s.values[ours] != "" && !found {
			return fmt.Errorf("the value of %s cannot be written to %s: it has characters that no such file can hold", ours, file)
		}
	}
	return nil
}

var plainSetting = regexp.MustCompile(`^[A-Za-z0-9_./:,@%+=-]*$`)

// quoteSetting writes a value so that godotenv, docker compose, systemd and a shell read the same.
func quoteSetting(value string) string {
	switch {
	case plainSetting.MatchString(value):
		return value
	case !strings.Contains(value, "'"):
		return "'" + value + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(value) + `"`
}

// replaceFile writes a file for its owner only, whole or not at all.
func replaceFile(file, text string) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), ".hubtail-init-*") // its mode is 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	_, err = temporary.WriteString(text)
	if err == nil {
		err = temporary.Sync()
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
