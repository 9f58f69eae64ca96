package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func healthcheckCommand() *cli.Command {
	return &cli.Command{
		Name:  "healthcheck",
		Usage: "ask a hubtail on this machine whether it lives, as container engines do",
		Description: "Exit code 0 if it does, 3 if not. --ready asks whether it can do its work as well: whether NATS and Postgres answer it.\n\n" +
			"Example:\n  HEALTHCHECK CMD [\"/hubtail\", \"healthcheck\"]   (Dockerfile)",
		Flags:  flags(adminFlag, &cli.BoolFlag{Name: "ready", Usage: "ask for /readyz"}),
		Before: noArguments,
		Action: func(c *cli.Context) error {
			addr := adminAddr(c)
			if addr == "" {
				return usageError{errors.New("nobody listens: --admin-addr is off")}
			}
			path := "/healthz"
			if c.Bool("ready") {
				path = "/readyz"
			}
			url, err := adminURL(addr)
			if err != nil {
				return usageError{err}
			}
			if err := askHealth(c.Context, url+path); err != nil {
				return unhealthyError{err}
			}
			return nil
		},
	}
}

// adminURL returns where to ask a process that listens at addr.
func adminURL(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("--admin-addr is %q; it should look like %s", addr, defaultAdminAddr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost" // it listens everywhere
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// askHealth asks an admin listener, and returns what it says if that is not yes.
func askHealth(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second} // past every proxy
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, strings.Join(strings.Fields(string(body)), " "))
	}
	return nil
}
