//go:build linux || darwin

package main

import "syscall"

// diskSpace returns how many bytes of the disk that a directory is on are free for us, and how many it has.
func diskSpace(dir string) (free, total uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
