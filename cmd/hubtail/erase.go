package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/hubtail/hubtail/connector"
)

func eraseCommand() *cli.Command {
	return &cli.Command{
		Name:      "erase",
		Usage:     "erase records for good, from log and tables: a privacy deletion by hand",
		ArgsUsage: "object id...",
		Description: "Does what HubSpot's privacy deletion does where a webhook announces it: the history of the records, of all records\n" +
			"merged into them, the links from them and their dead letters are erased from the log, and then from the tables, where rows without\n" +
			"values stay, so that nothing brings them back. It does not delete them in HubSpot, and there is no way back.\n" +
			"A running source does the work; without one the command does. If it is interrupted, a source or the next erase goes on.\n" +
			"The tables follow at once with a running sink, or if a database is given; so do their copies: what a rebuild fills or keeps,\n" +
			"and tables as of some time.\n\n" +
			"Examples:\n  hubtail erase contacts 713492963559\n" +
			"  hubtail erase --yes contacts 713492963559 713492963560      without asking, for scripts",
		Flags: flags(natsFlags, replicasFlag, postgresFlags, consumerFlag, portalFlag, dataDirFlag,
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"}),
		Action: withParts(runErase),
	}
}

func runErase(c *cli.Context, p *parts) error {
	object, ids, err := erasable(c.Args().Slice())
	if err != nil {
		return err
	}
	js, err := p.connectLog(c.Context)
	if err != nil {
		return err
	}
	portal, err := p.onlyPortal(c.Context, js)
	if err != nil {
		return err
	}
	if err := confirmErase(c, portal, object, ids); err != nil {
		return err
	}
	var unseen []string
	erase := func(ctx context.Context) error {
		err := connector.Erase(ctx, connector.EraseConfig{
			JetStream: js, Stream: p.stream, Replicas: p.replicas, Portal: portal, Logger: p.log,
			Unseen: func(id string) { unseen = append(unseen, id) },
		}, object, ids...)
		if errors.Is(err, connector.ErrNotInLog) {
			return usageError{err}
		}
		return err
	}
	if p.databaseURL == "" {
		if err := erase(c.Context); err != nil {
			return err
		}
		printErased(c, object, len(ids), unseen, "the log; the tables follow when a sink meets it")
		return nil
	}
	err = untilStopped(c.Context, func(ctx context.Context) error {
		s, _, err := p.newSink(ctx, js)
		if err != nil {
			return err
		}
		err = passAndApply(ctx, s, erase, func(ctx context.Context) error { return waitApplied(ctx, js, p.stream, portal, s) })
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, copiesErased)
		defer cancel()
		if err := s.EraseCopies(ctx); err != nil {
			return err
		}
		return s.CheckErased(ctx, object, numbers(ids)...)
	})
	if err != nil {
		return err
	}
	printErased(c, object, len(ids), unseen, "log and tables")
	return nil
}

// printErased says what was erased, and of what there was nothing.
func printErased(c *cli.Context, object string, ids int, unseen []string, from string) {
	if n := ids - len(unseen); n > 0 {
		printf(c.App.Writer, "%d %s erased from %s\n", n, object, from)
	}
	for _, id := range unseen {
		printf(c.App.Writer, "%s %s: the log never had it, so nothing of it was here; a mark keeps it out from now on. Is the id right?\n", object, id)
	}
}

// copiesErased is how long the command waits for locks on copies of the tables: a rebuild's, or tables as of some time.
const copiesErased = time.Minute

// erasable returns the arguments, each id once.
func erasable(args []string) (object string, ids []string, err error) {
	if len(args) < 2 {
		return "", nil, usageError{errors.New("name an object type and the ids of its records: hubtail erase contacts 713492963559")}
	}
	for _, arg := range args[1:] {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || n <= 0 {
			return "", nil, usageError{fmt.Errorf("%q is not a record id: those are numbers", arg)}
		}
		if id := strconv.FormatInt(n, 10); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return objectName(args[0], nil), ids, nil
}

// numbers returns ids that erasable has read.
func numbers(ids []string) []int64 {
	all := make([]int64, len(ids))
	for i, id := range ids {
		all[i], _ = strconv.ParseInt(id, 10, 64)
	}
	return all
}

// onlyPortal returns --portal, or the portal of the log if it has one only.
func (p *parts) onlyPortal(ctx context.Context, js jetstream.JetStream) (string, error) {
	if p.portal != "" {
		return p.portal, nil
	}
	status, err := connector.ReadStatus(ctx, js, p.stream, "")
	if err != nil {
		return "", err
	}
	var portals []string
	for _, o := range status.Objects {
		if !slices.Contains(portals, o.Portal) {
			portals = append(portals, o.Portal)
		}
	}
	switch len(portals) {
	case 0:
		return "", fmt.Errorf("the log %s is empty: start a source", p.stream)
	case 1:
		return portals[0], nil
	}
	return "", usageError{fmt.Errorf("the log %s has several portals: name one of %s with --portal", p.stream, joinList(portals))}
}

// confirmErase asks on the terminal, unless --yes says that nobody has to be asked.
func confirmErase(c *cli.Context, portal, object string, ids []string) error {
	if c.Bool("yes") {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usageError{errors.New("nobody can be asked here whether to erase for good: say --yes")}
	}
	printf(c.App.Writer, "Erase %s %s of portal %s for good, with all that was merged into them? [y/N] ", object, joinList(ids), portal)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n') // no answer is a no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing was erased")
	}
	return nil
}
