package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector/hubspot"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print what a shell needs to complete commands, flags and object types",
		ArgsUsage: "bash|zsh|fish",
		Description: "The script has all names in it: completing runs nothing and reads no settings.\n\n" +
			"Examples:\n  source <(hubtail completion bash)                        in ~/.bashrc\n" +
			"  hubtail completion zsh > ~/.zfunc/_hubtail               with fpath+=~/.zfunc before compinit in ~/.zshrc\n" +
			"  hubtail completion fish > ~/.config/fish/completions/hubtail.fish",
		Flags: flags(),
		Action: func(c *cli.Context) error {
			write := map[string]func([]place) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Args().First()]
			if write == nil || c.Args().Len() != 1 {
				return usageError{fmt.Errorf("completion takes one of bash, zsh and fish, got %q", strings.Join(c.Args().Slice(), " "))}
			}
			printf(c.App.Writer, "%s", write(places(c.App.Commands, nil)))
			return nil
		},
	}
}

// place is where on a command line one is: after which commands, and what may follow.
type place struct {
	path     []string // none at the beginning
	commands []*cli.Command
	flags    []cli.Flag
	objects  bool // names of object types may follow
}

// words is the path as the scripts have it.
func (p place) words() string { return strings.Join(p.path, " ") }

// places returns those of a list of commands and of what is below it.
func places(commands []*cli.Command, path []string) []place {
	visible := slices.DeleteFunc(slices.Clone(commands), func(c *cli.Command) bool { return c.Hidden })
	var all []place
	if len(path) == 0 {
		all = append(all, place{commands: visible, flags: []cli.Flag{envFileFlag, cli.HelpFlag, cli.VersionFlag}})
	}
	for _, c := range visible {
		here := append(slices.Clone(path), c.Name)
		all = append(all, place{path: here, commands: c.Subcommands, flags: append(slices.Clone(c.VisibleFlags()), cli.HelpFlag), objects: strings.Contains(c.ArgsUsage, "object")})
		all = append(all, places(c.Subcommands, here)...)
	}
	return all
}

// option is a long flag.
func option(f cli.Flag) string { return "--" + f.Names()[0] }

// valuesOf returns what a flag takes, by the names of those whose values are known.
func valuesOf(f cli.Flag) []string {
	switch f.Names()[0] {
	case "objects":
		return objectNames()
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "log-format":
		return []string{"text", "json"}
	}
	return nil
}

func objectNames() []string {
	names := []string{"all", "owners"}
	for _, o := range hubspot.Objects() {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return names
}

// takesValue reports whether a word follows the flag.
func takesValue(f cli.Flag) bool {
	documented, ok := f.(cli.DocGenerationFlag)
	return ok && documented.TakesValue()
}

// usageOf is a flag's explanation, short.
func usageOf(f cli.Flag) string {
	documented, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(strings.ReplaceAll(documented.GetUsage(), "`", ""), ";")
	return cut(text, 80)
}

// quoted writes a text for a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// findPlace are the lines, for bash and zsh, that follow the commands on the line into $at. The word after a flag that takes
// one is none.
func findPlace(all []place, words string) string {
	var b strings.Builder
	var taking []string
	for _, p := range all {
		for _, f := range p.flags {
			if takesValue(f) {
				taking = append(taking, option(f))
			}
		}
	}
	slices.Sort(taking)
	fmt.Fprintf(&b, "  local at='' word skip=''\n  for word in %s; do\n    if [[ -n $skip ]]; then skip=''; continue; fi\n    case \"$word\" in\n", words)
	fmt.Fprintf(&b, "      %s) skip=1; continue ;;\n    esac\n    case \"${at:+$at }$word\" in\n", strings.Join(slices.Compact(taking), "|"))
	var paths []string
	for _, p := range all {
		if len(p.path) > 0 {
			paths = append(paths, quoted(p.words()))
		}
	}
	fmt.Fprintf(&b, "      %s) at=\"${at:+$at }$word\" ;;\n    esac\n  done\n", strings.Join(paths, "|"))
	return b.String()
}

func bashCompletion(all []place) string {
	var b strings.Builder
	b.WriteString("# bash completion of hubtail: source <(hubtail completion bash)\n_hubtail() {\n" +
		"  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" known=''\n")
	b.WriteString(findPlace(all, `"${COMP_WORDS[@]:1:COMP_CWORD-1}"`))
	b.WriteString("  case \"$prev\" in\n")
	for _, f := range valuedFlags(all) {
		if values := valuesOf(f); values != nil {
			// Of a list, the last item is completed.
			fmt.Fprintf(&b, "    %s) local list=''; [[ $cur == *,* ]] && list=\"${cur%%,*},\"\n      COMPREPLY=($(compgen -P \"$list\" -W %s -- \"${cur##*,}\")); return ;;\n",
				option(f), quoted(strings.Join(values, " ")))
		} else {
			fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", option(f))
		}
	}
	b.WriteString("  esac\n  case \"$at\" in\n")
	for _, p := range all {
		var words []string
		for _, c := range p.commands {
			words = append(words, c.Name)
		}
		if p.objects {
			words = append(words, objectNames()...)
		}
		for _, f := range p.flags {
			words = append(words, option(f))
		}
		fmt.Fprintf(&b, "    %s) known=%s ;;\n", quoted(p.words()), quoted(strings.Join(words, " ")))
	}
	b.WriteString("  esac\n  COMPREPLY=($(compgen -W \"$known\" -- \"$cur\"))\n}\ncomplete -F _hubtail hubtail\n")
	return b.String()
}

// valuedFlags returns each flag that takes a value once.
func valuedFlags(all []place) (list []cli.Flag) {
	seen := map[string]bool{}
	for _, p := range all {
		for _, f := range p.flags {
			if takesValue(f) && !seen[option(f)] {
				seen[option(f)] = true
				list = append(list, f)
			}
		}
	}
	return list
}

func zshCompletion(all []place) string {
	entry := func(name, usage string) string { return quoted(name + ":" + strings.ReplaceAll(usage, ":", `\:`)) }
	var b strings.Builder
	b.WriteString("#compdef hubtail\n# zsh completion of hubtail\n_hubtail() {\n  local -a known\n")
	b.WriteString(findPlace(all, `"${(@)words[2,CURRENT-1]}"`))
	b.WriteString("  case \"${words[CURRENT-1]}\" in\n")
	for _, f := range valuedFlags(all) {
		if values := valuesOf(f); values != nil {
			fmt.Fprintf(&b, "    %s) compset -P '*,'; compadd -- %s; return ;;\n", option(f), strings.Join(values, " "))
		} else {
			fmt.Fprintf(&b, "    %s) _files; return ;;\n", option(f))
		}
	}
	b.WriteString("  esac\n  case \"$at\" in\n")
	for _, p := range all {
		var entries []string
		for _, c := range p.commands {
			entries = append(entries, entry(c.Name, c.Usage))
		}
		if p.objects {
			entries = append(entries, objectNames()...)
		}
		for _, f := range p.flags {
			entries = append(entries, entry(option(f), usageOf(f)))
		}
		fmt.Fprintf(&b, "    %s) known=(\n      %s\n    ) ;;\n", quoted(p.words()), strings.Join(entries, "\n      "))
	}
	b.WriteString("  esac\n  _describe 'hubtail' known\n}\n" +
		"if [[ $funcstack[1] == _hubtail ]]; then _hubtail \"$@\"; else compdef _hubtail hubtail; fi\n")
	return b.String()
}

func fishCompletion(all []place) string {
	var b strings.Builder
	b.WriteString("# fish completion of hubtail\ncomplete -c hubtail -f\n")
	for _, p := range all {
		// After all commands of the path, and none of those that may come next.
		condition := "__fish_use_subcommand"
		if len(p.path) > 0 {
			condition = "__fish_seen_subcommand_from " + strings.Join(p.path, "; and __fish_seen_subcommand_from ")
		}
		for _, c := range p.commands {
			fmt.Fprintf(&b, "complete -c hubtail -n %s -a %s -d %s\n", quoted(condition), c.Name, quoted(c.Usage))
		}
		if p.objects {
			fmt.Fprintf(&b, "complete -c hubtail -n %s -a %s\n", quoted(condition), quoted(strings.Join(objectNames(), " ")))
		}
		for _, f := range p.flags {
			fmt.Fprintf(&b, "complete -c hubtail -n %s -l %s -d %s%s\n", quoted(condition), f.Names()[0], quoted(usageOf(f)), fishValue(f))
		}
	}
	return b.String()
}

func fishValue(f cli.Flag) string {
	switch values := valuesOf(f); {
	case !takesValue(f):
		return ""
	case values != nil:
		return " -x -a " + quoted(strings.Join(values, " "))
	}
	return " -r -F"
}
