package sink_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// backendCPU returns the CPU time of all server processes of this database, as far as /proc tells: 0 where it does not.
func backendCPU(b *bundle) (total time.Duration) {
	rows, err := b.pool.Query(b.t.Context(), `select pid from pg_stat_activity where datname = current_database()`)
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			b.t.Fatal(err)
		}
		total += processCPU(pid)
	}
	return total
}

// postgresCPU returns the CPU time of the whole database server, processes that are gone included.
func (c *contest) postgresCPU() (total time.Duration) {
	var backend int
	if err := c.pool.QueryRow(c.t.Context(), `select pg_backend_pid()`).Scan(&backend); err != nil {
		c.t.Fatal(err)
	}
	fields := processStat(backend)
	if fields == nil {
		return 0
	}
	postmaster, _ := strconv.Atoi(fields[1])
	total = processCPU(postmaster)
	if fields = processStat(postmaster); fields != nil {
		total += ticks(fields[13]) + ticks(fields[14]) // of children that ended
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	for _, pid := range strings.Fields(string(children)) {
		n, _ := strconv.Atoi(pid)
		total += processCPU(n)
	}
	return total
}

// processCPU returns the CPU time of a process, 0 where /proc does not tell.
func processCPU(pid int) time.Duration {
	fields := processStat(pid)
	if fields == nil {
		return 0
	}
	return ticks(fields[11]) + ticks(fields[12])
}

// processStat returns the fields of /proc/<pid>/stat from the state on, nil if there is none.
func processStat(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(after)
}

func ticks(field string) time.Duration {
	n, _ := strconv.ParseInt(field, 10, 64)
	return time.Duration(n) * 10 * time.Millisecond
}
