package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// checkSecretFiles looks at who may read the files with secrets.
func checkSecretFiles(_ context.Context, d *doctor, f *findings) {
	files := []string{d.envFile}
	if d.envFile == "" {
		files = []string{defaultEnvFile}
	}
	if d.natsCreds != "" {
		files = append(files, d.natsCreds)
	}
	looked := 0
	for _, file := range files {
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			f.warn(err.Error(), "it cannot be read by this user either", "")
			continue
		}
		looked++
		if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
			f.warn(fmt.Sprintf("%s can be read by others (mode %04o)", file, mode), "tokens and passwords are in it", "chmod 600 "+file)
		}
	}
	switch {
	case looked == 0:
		f.none("no .env here: secrets are in the environment")
	case len(f.list) == 0:
		f.ok("readable by their owner only")
	}
}

const (
	littleDisk = 1 << 30 // a log of a small portal is below
	noDisk     = 100 << 20
)

// checkDataDir looks at the directory of an embedded NATS, and at the room on its disk.
func checkDataDir(_ context.Context, d *doctor, f *findings) {
	dir := filepath.Clean(d.dataDir)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && d.natsURL != "":
		f.none("no --data-dir %s: the log is in NATS_URL", dir)
		return
	case errors.Is(err, fs.ErrNotExist):
		dir = filepath.Dir(dir) // it will be made here
	case err != nil:
		f.warn(err.Error(), "", "")
		return
	case !info.IsDir():
		f.fail("--data-dir "+dir+" is no directory", "the embedded NATS keeps the log there", "give another --data-dir (HUBTAIL_DATA_DIR)")
		return
	case info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		if inner, err := os.Stat(filepath.Join(dir, "nats")); err == nil && inner.Mode().Perm()&0o077 != 0 {
			f.warn(fmt.Sprintf("%s can be read by others (mode %04o)", filepath.Join(dir, "nats"), inner.Mode().Perm()), "the whole CRM is in it", "chmod 700 "+filepath.Join(dir, "nats"))
		}
	}
	free, total, err := diskSpace(dir)
	if err != nil {
		f.none("room on the disk of %s not known: %v", dir, err)
		return
	}
	judgeDisk(f, dir, free, total)
}

func judgeDisk(f *findings, dir string, free, total uint64) {
	text := fmt.Sprintf("%s: %s of %s free", dir, bytesText(free), bytesText(total))
	const why = "the embedded NATS keeps the log there: when the disk is full the source stands still"
	fix := "make room, or give --data-dir (HUBTAIL_DATA_DIR) a larger disk"
	switch {
	case free < noDisk:
		f.fail(text, why, fix)
	case free < littleDisk:
		f.warn(text, why, fix)
	default:
		f.ok("%s", text)
	}
}
