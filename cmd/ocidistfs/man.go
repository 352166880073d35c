package main

import (
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// manTemplate is the manual page, in the macros of man(7).
const manTemplate = `{{define "Arguments" -}}
{{if .FlagSummary}} {{.FlagSummary|Roff}}{{end -}}
{{range .Args}}{{if not .Required}} [<{{.Name}}>{{Dots .}}]{{else}} <{{.Name}}>{{Dots .}}{{end}}{{end -}}
{{end -}}

{{define "Flags" -}}
{{range .}}{{if not .Hidden -}}
.TP
\fB{{ManFlag .}}\fR
{{.Help|Roff}}{{if .Envar}} (\fB${{.Envar}}\fR){{end}}
{{end}}{{end -}}
{{end -}}

.TH OCIDISTFS 1 "" "{{Version|Roff}}" "User commands"
.nh
.ad l
.SH NAME
ocidistfs \- container registries as directories
.SH SYNOPSIS
\fBocidistfs\fR [<flags>] <command> [<args> ...]
.SH DESCRIPTION
{{.App.Help|Roff}}
.PP
In a mount, the directory of an image is
\fI<host>[:<port>]/<repository>/tags/<tag>\fR, or \fIdigests/sha256:<hex>\fR in place of \fItags/<tag>\fR.
It has the files
\fBmanifest.json\fR and \fBdigest\fR (what the tag names, byte for byte),
\fBresolved-manifest.json\fR and \fBresolved-digest\fR (the same for the platform),
\fBimage.tar\fR, which docker load, podman, containerd, skopeo and crane take,
\fBconfig.json\fR, and the directories \fBlayers\fR, \fBoci\fR (an OCI image layout), \fBplatforms\fR, \fBreferrers\fR and \fBrootfs\fR (what is in the image).
.SH OPTIONS
{{template "Flags" .App.Flags -}}
.SH COMMANDS
{{range Commands .App -}}
.SS "{{.FullCommand}}{{template "Arguments" .}}"
{{.Help|Roff}}
{{template "Flags" .Flags -}}
{{range .Args -}}
.TP
\fI{{.Name}}\fR
{{.Help|Roff}}
{{end -}}
{{with Examples . -}}
.PP
Examples:
.PP
.nf
.RS 4
{{range .}}{{.|Roff}}
{{end -}}
.RE
.fi
{{end -}}
{{end -}}
.SH ENVIRONMENT
Each flag has a variable, shown with it. Besides these:
{{range Variables -}}
.TP
\fB{{index . 0|Roff}}\fR
{{index . 1|Roff}}
{{end -}}
.SH FILES
.TP
\fI<mountpoint>/.ocidistfs/errors\fR
The last errors of a mount, with what the registry said.
.TP
\fI<mountpoint>/.ocidistfs/status.json\fR
What the mount is and does, for programs.
.SH "EXIT STATUS"
0, 1 after a failure, 2 after a wrong call.
That of \fBdiff\fR is 0 where the two are the same, 1 where they differ, 2 after a failure.
.SH "SEE ALSO"
.BR docker (1),
.BR podman (1),
.BR skopeo (1),
.BR fusermount3 (1)
`

// roff is text as man(7) takes it: backslashes and hyphens are themselves,
// paragraphs have a macro, and no line is taken for one.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n\n", "\n.PP\n").Replace(strings.TrimSpace(s))
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if line != ".PP" && (strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'")) {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func manFlag(f *kingpin.FlagModel) string {
	return roff(strings.TrimSpace(flagName(f)))
}

// variableRows are the variables of the environment for the page.
func variableRows() [][2]string {
	var rows [][2]string
	for _, v := range variables {
		rows = append(rows, [2]string{v.name, v.help})
	}
	return rows
}
