package sink_test

import (
	"os"
	"syscall"
	"testing"
)

// tinyDisk mounts a disk of 16 MB that the owner of data may write to. Without the right to mount the test is skipped.
func tinyDisk(t *testing.T, data string) string {
	t.Helper()
	info, err := os.Stat(data)
	if err != nil {
		t.Skip("the database server is not on this machine: ", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Skip("no owner of the data")
	}
	dir, err := os.MkdirTemp("/tmp", "hubtail-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m,mode=0755"); err != nil {
		t.Skip("it takes the right to mount a disk: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	space := dir + "/space"
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(space, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	return dir
}
