package main

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/registry"
)

// variablePrefix begins the names of the variables that stand for flags.
const variablePrefix = "OCIDISTFS_"

// variable is the name of the variable that stands for a flag.
func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// completeFlags gives each flag of a command its variable, and its name to the
// errors about its value.
func completeFlags(cmd *kingpin.CmdClause) {
	for _, f := range cmd.Model().Flags {
		cmd.GetFlag(f.Name).Envar(variable(f.Name)).SetValue(namedValue{f.Value, f.Name})
	}
}

// namedValue is a flag's value that says which flag could not be set. Kingpin
// leaves that to the reader.
type namedValue struct {
	kingpin.Value
	flag string
}

func (v namedValue) Set(s string) error {
	if err := v.Value.Set(s); err != nil {
		return fmt.Errorf("--%s ($%s): %w", v.flag, variable(v.flag), err)
	}
	return nil
}

// IsBoolFlag is what kingpin asks of flags that need no value.
func (v namedValue) IsBoolFlag() bool {
	b, ok := v.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// IsCumulative is what kingpin asks of flags that may be repeated.
func (v namedValue) IsCumulative() bool {
	c, ok := v.Value.(interface{ IsCumulative() bool })
	return ok && c.IsCumulative()
}

// flagColumns is how help shows flags. Kingpin's own way shows "[no-]" before
// each one without a value, those that begin with "no-" too.
func flagColumns(flags []*kingpin.FlagModel) [][2]string {
	var rows [][2]string
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		rows = append(rows, [2]string{flagName(f), f.HelpWithEnvar()})
	}
	return rows
}

func flagName(f *kingpin.FlagModel) string {
	name := "    --" + f.Name
	if f.Short != 0 {
		name = "-" + string(f.Short) + ", --" + f.Name
	}
	if !f.IsBoolFlag() {
		name += "=" + f.FormatPlaceHolder()
	}
	if v, ok := f.Value.(namedValue); ok && v.IsCumulative() {
		name += " ..."
	}
	return name
}

// hosts is the value of a flag that names registries. It can be repeated, and
// one value can name several, since a variable cannot be repeated.
type hosts []string

func (h *hosts) Set(s string) error {
	names := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	if len(names) == 0 {
		return fmt.Errorf("no host in %q", s)
	}
	for _, name := range names {
		if !registry.ValidHost(name) {
			return fmt.Errorf("%q is not a registry's host, as in registry.example.com:5000", name)
		}
		*h = append(*h, name)
	}
	return nil
}

func (h *hosts) String() string { return strings.Join(*h, ",") }

func (h *hosts) IsCumulative() bool { return true }

// hostPatterns is the value of a flag that names registries, some by patterns. It
// can be repeated, and one value can name several.
type hostPatterns []string

func (h *hostPatterns) Set(s string) error {
	patterns := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	if len(patterns) == 0 {
		return fmt.Errorf("no host in %q", s)
	}
	for _, pattern := range patterns {
		if err := registry.CheckHostPattern(pattern); err != nil {
			return err
		}
		*h = append(*h, pattern)
	}
	return nil
}

func (h *hostPatterns) String() string { return strings.Join(*h, ",") }

func (h *hostPatterns) IsCumulative() bool { return true }
