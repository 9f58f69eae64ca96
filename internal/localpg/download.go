package localpg

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/hubtail/hubtail/internal/filelock"
)

const (
	defaultRegistry = "https://registry.npmjs.org"

	// defaultMajor is downloaded when any version will do: Supabase's default.
	defaultMajor = 17

	downloadTimeout = 10 * time.Minute
	answerTimeout   = 30 * time.Second
	downloadTries   = 3
	downloadPause   = time.Second
	maxArchive      = 200 << 20
)

// permanent marks a failure that another try would only repeat.
type permanent struct{ error }

// pin is one archive of server binaries: package @embedded-postgres/<platform>.
type pin struct {
	version string
	sha512  string // base64, as in the registry's "integrity"
}

// pins are the archives that may be executed. They come from the registry's
// metadata; a changed archive does not match and is refused.
var pins = map[string]map[int]pin{
	"linux-x64": {
		17: {"17.10.0-beta.17", "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="},
		15: {"15.18.0-beta.17", "TC0kHcDMAusLbQXRc+9KMz1BLJY+ntfPNbwFP79f9IURSxPRgFLy0Ig8oF1J8Wy9Wnj0XdZkMItV3Nov/LwqhA=="},
	},
	"linux-arm64": {
		17: {"17.10.0-beta.17", "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig=="},
		15: {"15.18.0-beta.17", "ape8eUuz4O2KrO8mySDMEKuHYEppJ71EJ4IanBa1fH6LOui9wifm4+iJnhFkaY+WGBa/Rgw/of+RlFHO2i+bLg=="},
	},
	"darwin-arm64": {
		17: {"17.10.0-beta.17", "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ=="},
		15: {"15.18.0-beta.17", "1hTznqARpTs+IaX3YYltEIJVNwXCuUoHhif+Xiub09SgtzpVhX1LRaJCpzp8kVJV0zxsBBFfv8kkT9TqJdJ32Q=="},
	},
	"darwin-x64": {
		17: {"17.10.0-beta.17", "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg=="},
		15: {"15.18.0-beta.17", "W4Vd2hDkezdUAniJesLY0MZIfVJtyN7DNg2Q6X0ciwuhGYw/dh8ZDdZLZxSFmVNvpz8Itfj2s2P4MTFPczMMnQ=="},
	},
}

func platform() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	return runtime.GOOS + "-" + arch
}

// download returns the pinned server binaries from the cache, fetched if need be.
func download(ctx context.Context, opts Options) (binaries, error) {
	major := opts.Major
	if major == 0 {
		major = defaultMajor
	}
	p, ok := pins[platform()][major]
	if !ok {
		return binaries{}, fmt.Errorf("there is none of PostgreSQL %d for %s", major, platform())
	}
	cache, err := cacheDir(opts.Env)
	if err != nil {
		return binaries{}, err
	}
	dir := filepath.Join(cache, "postgres-"+p.version+"-"+platform())
	if err := fetchOnce(ctx, opts, p, cache, dir); err != nil {
		return binaries{}, err
	}

	bin := binaries{dir: filepath.Join(dir, "native", "bin"), lib: filepath.Join(dir, "native", "lib")}
	if err := bin.readVersion(ctx); err != nil {
		// Typically Alpine: the binaries are made for glibc.
		return binaries{}, fmt.Errorf("the downloaded binaries do not run here: %w", err)
	}
	bin.source = fmt.Sprintf("PostgreSQL %s downloaded to %s", bin.version, dir)
	return bin, nil
}

// fetchOnce fills dir unless it is there. Parallel processes take turns, and dir
// appears complete or not at all.
func fetchOnce(ctx context.Context, opts Options, p pin, cache, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	registry, err := registryOf(opts.Env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	lock, err := filelock.Acquire(ctx, dir+".lock")
	if err != nil {
		return fmt.Errorf("wait for another download: %w", err)
	}
	defer lock.Unlock()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}

	work, err := os.MkdirTemp(cache, "download-")
	if err != nil {
		return fmt.Errorf("create download folder: %w", err)
	}
	defer os.RemoveAll(work)
	archive := filepath.Join(work, "archive.tgz")
	from := archiveURL(registry, p)
	opts.Logger.Info("downloading PostgreSQL, once", "version", p.version, "from", registry.Redacted(), "to", dir)
	if err := fetchRetrying(ctx, from, archive, p.sha512); err != nil {
		return fmt.Errorf("download %s: %w", from.Redacted(), err)
	}
	if err := unpack(archive, filepath.Join(work, "package")); err != nil {
		return fmt.Errorf("unpack %s: %w", from.Redacted(), err)
	}
	return os.Rename(filepath.Join(work, "package"), dir)
}

// registryOf returns the registry to ask: a mirror of ours, npm's setting, npm's
// own. An error says that downloads are switched off.
func registryOf(env func(string) string) (*url.URL, error) {
	text := defaultRegistry
	for _, name := range []string{"HUBTAIL_PG_MIRROR", "npm_config_registry", "NPM_CONFIG_REGISTRY"} {
		if value := env(name); value != "" {
			text = value
			break
		}
	}
	if text == "off" {
		return nil, errors.New("switched off by HUBTAIL_PG_MIRROR=off")
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("HUBTAIL_PG_MIRROR or npm_config_registry is not an http(s) address")
	}
	return u, nil
}

func archiveURL(registry *url.URL, p pin) *url.URL {
	return registry.JoinPath("@embedded-postgres", platform(), "-", platform()+"-"+p.version+".tgz")
}

func fetchRetrying(ctx context.Context, from *url.URL, to, sum string) error {
	for try := 1; ; try++ {
		err := fetch(ctx, from, to, sum)
		if err == nil || errors.As(err, &permanent{}) || try == downloadTries || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(downloadPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// fetch stores the archive and compares its checksum before anybody reads it.
func fetch(ctx context.Context, from *url.URL, to, sum string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone() // honours HTTPS_PROXY
	transport.ResponseHeaderTimeout = answerTimeout
	defer transport.CloseIdleConnections()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		var urlErr *url.Error // repeats the address, with its password
		if errors.As(err, &urlErr) {
			err = urlErr.Err
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("answer %s", resp.Status)
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			return permanent{err}
		}
		return err
	}

	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha512.New()
	n, err := io.Copy(io.MultiWriter(file, hash), io.LimitReader(resp.Body, maxArchive))
	if err != nil {
		return err
	}
	if resp.ContentLength >= 0 && n != resp.ContentLength {
		return io.ErrUnexpectedEOF
	}
	if got := base64.StdEncoding.EncodeToString(hash.Sum(nil)); got != sum {
		return permanent{fmt.Errorf("refused: its SHA-512 begins with %s, expected is %s", got[:12], sum[:12])}
	}
	return file.Close()
}
