package sink_test

import (
	"fmt"
	"os"
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
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		var utime, stime int64
		fields := strings.Fields(after)
		_, _ = fmt.Sscan(fields[11]+" "+fields[12], &utime, &stime)
		total += time.Duration(utime+stime) * 10 * time.Millisecond
	}
	return total
}
