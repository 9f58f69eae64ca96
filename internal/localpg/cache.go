package localpg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cacheDir returns a folder for downloads in which others cannot write, and, as
// root, one that the account postgres runs as can read.
func cacheDir(env func(string) string) (string, error) {
	var tried []string
	for _, dir := range cacheCandidates(env) {
		err := usableCache(dir)
		if err == nil {
			return dir, nil
		}
		tried = append(tried, err.Error())
	}
	return "", fmt.Errorf("no folder for the download (set HUBTAIL_CACHE_DIR): %s", strings.Join(tried, "; "))
}

func cacheCandidates(env func(string) string) []string {
	if dir := env("HUBTAIL_CACHE_DIR"); dir != "" {
		return []string{dir}
	}
	var dirs []string
	if os.Geteuid() == 0 {
		dirs = append(dirs, "/var/cache/hubtail") // /root/.cache is closed to others
	} else if dir, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(dir, "hubtail"))
	}
	return append(dirs, filepath.Join(os.TempDir(), fmt.Sprintf("hubtail-cache-%d", os.Geteuid())))
}

func usableCache(dir string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	// In the temp folder another user may have made it first.
	if err := ownedByUs(dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, mode); err != nil { // MkdirAll follows the umask
		return err
	}
	if err := unprivileged("").cannotEnter(dir); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, "probe-")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
