package localpg

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// binaries is a folder with initdb and postgres.
type binaries struct {
	dir     string
	lib     string // for LD_LIBRARY_PATH; "" for installed ones
	major   int
	version string // "17.10"
	source  string // for people
}

// binaryGlobs are the folders where packages put server binaries that are not
// on PATH: Debian, RHEL, source builds, Homebrew, Postgres.app.
var binaryGlobs = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// findBinaries returns what is installed, in the order to try: PG_BIN, PATH, then
// the known folders with the newest version first. PG_BIN=off finds nothing.
// searched is for the error.
func findBinaries(ctx context.Context, env func(string) string, major int) (found []binaries, searched string) {
	if env("PG_BIN") == "off" {
		return nil, "nothing (PG_BIN=off)"
	}
	var first []string
	places := []string{"PG_BIN (not set)"}
	if dir := env("PG_BIN"); dir != "" {
		first = append(first, dir)
		places[0] = "PG_BIN=" + dir
	}
	first = append(first, filepath.SplitList(env("PATH"))...)

	var known []string
	for _, glob := range binaryGlobs {
		dirs, _ := filepath.Glob(glob)
		known = append(known, dirs...)
	}

	explicit := inspectAll(ctx, first)
	installed := inspectAll(ctx, known)
	slices.SortStableFunc(installed, func(a, b binaries) int { return cmp.Compare(b.major, a.major) })

	seen := map[string]bool{}
	for _, bin := range append(explicit, installed...) {
		if seen[bin.dir] || bin.major < MinMajor || major != 0 && bin.major != major {
			continue
		}
		seen[bin.dir] = true
		found = append(found, bin)
	}
	return found, strings.Join(append(places, "PATH", binaryGlobs[0]), ", ")
}

func inspectAll(ctx context.Context, dirs []string) []binaries {
	var all []binaries
	for _, dir := range dirs {
		if bin, err := inspect(ctx, dir); err == nil {
			all = append(all, bin)
		}
	}
	return all
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) ((\d+)(?:[.\w]*))`)

// inspect asks the binaries in dir for their version. Client packages have
// neither initdb nor postgres.
func inspect(ctx context.Context, dir string) (binaries, error) {
	// PATH may hold a link into the real folder, next to which share/ is found.
	postgres, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil {
		return binaries{}, err
	}
	bin := binaries{dir: filepath.Dir(postgres)}
	if _, err := os.Stat(filepath.Join(bin.dir, "initdb")); err != nil {
		return binaries{}, err
	}
	if err := bin.readVersion(ctx); err != nil {
		return binaries{}, err
	}
	bin.source = fmt.Sprintf("PostgreSQL %s from %s", bin.version, bin.dir)
	return bin, nil
}

func (b *binaries) readVersion(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path("postgres"), "--version")
	cmd.Env = b.env("")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run %s --version: %w", b.path("postgres"), err)
	}
	m := versionLine.FindStringSubmatch(string(out))
	if m == nil {
		return fmt.Errorf("%s --version: unexpected answer %q", b.path("postgres"), out)
	}
	b.version = m[1]
	b.major, err = strconv.Atoi(m[2])
	return err
}

func (b *binaries) path(name string) string { return filepath.Join(b.dir, name) }

// env is the whole environment of a server: PG* variables and a foreign locale
// of the user must not leak in, both break initdb.
func (b *binaries) env(home string) []string {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=" + home}
	if b.lib != "" {
		env = append(env, "LD_LIBRARY_PATH="+b.lib)
	}
	return env
}
