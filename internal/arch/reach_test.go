package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// reaches are names of the standard library by which a package reaches out of the
// process, and the packages that may: the cache alone writes to disk, the client
// alone speaks to the network, and the commands do what they are told. What
// others want kept or fetched goes through those.
var reaches = []struct {
	of      string
	names   *regexp.Regexp
	allowed []string
}{
	{
		"os",
		regexp.MustCompile(`^(Create|CreateTemp|WriteFile|OpenFile|OpenRoot|CopyFS|Mkdir|MkdirAll|MkdirTemp|Remove|RemoveAll|Rename|Link|Symlink|Truncate|Chmod|Chown|Lchown|Chtimes)$`),
		[]string{"cache", "cmd/ocidistfs"},
	},
	{"net", regexp.MustCompile(`^(Dial|Listen|Lookup|FileConn|FileListener|Resolver|DefaultResolver)`), []string{"registry", "cmd/ocidistfs"}},
	{
		"net/http",
		regexp.MustCompile(`^(Get|Head|Post|PostForm|Client|Transport|DefaultClient|DefaultTransport|Server|Serve|ServeTLS|ListenAndServe|ListenAndServeTLS)$`),
		[]string{"registry", "cmd/ocidistfs"},
	},
}

// setsTheKernel is the exception: a setting of the mount's device, below /sys.
const setsTheKernel = "fs/sys_linux.go: os.WriteFile"

func TestReach(t *testing.T) {
	found := 0
	for _, p := range packages(t) {
		dir := strings.TrimPrefix(p.ImportPath, module+"/")
		if forTests(dir) {
			continue
		}
		paths, err := filepath.Glob(filepath.Join(p.Dir, "*.go")) // of every system
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, reach := range reaches {
				for _, name := range selected(file, reach.of) {
					if !reach.names.MatchString(name) {
						continue
					}
					found++
					said := dir + "/" + filepath.Base(path) + ": " + filepath.Base(reach.of) + "." + name
					if !slices.Contains(reach.allowed, dir) && said != setsTheKernel {
						t.Error(said)
					}
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d were found in all", found)
	}
}

// selected lists what a file uses of an imported package.
func selected(file *ast.File, path string) []string {
	local := ""
	for _, i := range file.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil && p == path {
			local = filepath.Base(path)
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && local != "" && x.Name == local {
				names = append(names, s.Sel.Name)
			}
		}
		return true
	})
	return names
}
