package statuspage

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// onlyNames refuses requests for names that are not this process' own. A website could otherwise point a name of its own at
// 127.0.0.1 and have its visitors' browsers read the page (DNS rebinding). An address of numbers is nobody's name. own are
// further names; without any, a listener that is not on loopback answers to every name, since nobody can list them.
func onlyNames(loopback bool, own []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := hostname(r.Host)
		ip := net.ParseIP(name)
		switch {
		case loopback && (ip != nil && ip.IsLoopback() || name == "localhost" || strings.HasSuffix(name, ".localhost")),
			!loopback && (ip != nil || name == "localhost" || len(own) == 0),
			slices.ContainsFunc(own, func(o string) bool { return strings.EqualFold(o, name) }):
			next.ServeHTTP(w, r)
		default:
			http.Error(w, "this is no name of hubtail's admin listener: ask for localhost, or give the name to --admin-hosts", http.StatusMisdirectedRequest)
		}
	})
}

// hostname returns a Host header without its port, in lower case.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}
