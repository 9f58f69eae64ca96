package localpg

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	// packageRoot is the folder every npm archive has its files in.
	packageRoot = "package"

	symlinkList = "native/pg-symlinks.json"

	maxUnpacked = 1 << 30
)

// unpack extracts an npm archive of server binaries into dir. os.Root keeps every
// file and link inside, whatever the names in the archive say.
func unpack(archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()

	if err := extract(tar.NewReader(io.LimitReader(plain, maxUnpacked)), root); err != nil {
		return err
	}
	if err := makeLinks(root); err != nil {
		return err
	}
	return openToReaders(dir)
}

func extract(files *tar.Reader, root *os.Root) error {
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			continue // made with the files in it
		}
		name, inside := strings.CutPrefix(header.Name, packageRoot+"/")
		if header.Typeflag != tar.TypeReg || !inside || !filepath.IsLocal(name) {
			return fmt.Errorf("unexpected entry %q", header.Name)
		}
		if err := writeFile(root, name, header.FileInfo().Mode()&0o111 != 0, files); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
}

func writeFile(root *os.Root, name string, executable bool, content io.Reader) error {
	mode := os.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, content); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}

// makeLinks makes the symbolic links of the libraries. npm archives cannot hold
// links, so the package lists them: target is the link, source what it points at.
func makeLinks(root *os.Root) error {
	text, err := root.ReadFile(symlinkList)
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("read %s: %w", symlinkList, err)
	}
	for _, link := range links {
		to, err := filepath.Rel(path.Dir(link.Target), link.Source)
		if err != nil || !filepath.IsLocal(link.Source) {
			return fmt.Errorf("unexpected link %q to %q", link.Target, link.Source)
		}
		if err := root.Symlink(to, link.Target); err != nil {
			return fmt.Errorf("make link: %w", err)
		}
	}
	return nil
}

// openToReaders undoes a strict umask: as root, the binaries are run by another
// account than the one that unpacks them.
func openToReaders(dir string) error {
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if entry.IsDir() || info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		return os.Chmod(name, mode)
	})
}
