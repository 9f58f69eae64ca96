package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/schemas"
)

const asyncAPI = "asyncapi"

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name:  "schema",
		Usage: "print the contract of the log: the AsyncAPI document, or the JSON Schema of a message",
		Description: "For programs that read the log in other languages, and for code generators. Without a name it lists what there is;\n" +
			"--out writes all of it into a directory, in which the references of the AsyncAPI document lead to the schemas.\n\n" +
			"Examples:\n  hubtail schema event | jq .properties\n  hubtail schema asyncapi > asyncapi.yaml\n  hubtail schema --out contract/",
		ArgsUsage: "[name]",
		Flags:     []cli.Flag{&cli.StringFlag{Name: "out", Usage: "write all files into this `DIRECTORY`", EnvVars: env("HUBTAIL_SCHEMA_OUT")}},
		Action: func(c *cli.Context) error {
			switch {
			case c.Args().Len() > 1 || c.String("out") != "" && c.Args().Present():
				return usageError{errors.New("schema prints one message's schema, or writes all with --out")}
			case c.String("out") != "":
				return writeSchemas(c.String("out"))
			case c.Args().Present():
				return printSchema(c, c.Args().First())
			}
			names, err := schemaNames()
			if err == nil {
				printf(c.App.Writer, "%s\n%s\n", asyncAPI, strings.Join(names, "\n"))
			}
			return err
		},
	}
}

// schemaNames returns the messages that have a schema.
func schemaNames() ([]string, error) {
	paths, err := fs.Glob(schemas.Files(), schemaPath("*"))
	for i := range paths {
		paths[i] = strings.TrimSuffix(path.Base(paths[i]), ".schema.json")
	}
	return paths, err
}

func schemaPath(name string) string { return "v1/" + name + ".schema.json" }

func printSchema(c *cli.Context, name string) error {
	file := schemaPath(name)
	if name == asyncAPI {
		file = "asyncapi.yaml"
	}
	text, err := fs.ReadFile(schemas.Files(), file)
	if err != nil {
		names, _ := schemaNames() // an embedded directory can be read
		return usageError{fmt.Errorf("no message %q; there are %s and %s", name, asyncAPI, strings.Join(names, ", "))}
	}
	printf(c.App.Writer, "%s", text)
	return nil
}

func writeSchemas(dir string) error {
	return fs.WalkDir(schemas.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		text, err := fs.ReadFile(schemas.Files(), name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
}
