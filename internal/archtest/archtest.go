// Package archtest keeps the architecture: it reads every Go source file of the module and reports what breaks
// the rules of ARCHITECTURE.md.
//
// The rules are
//
//   - ranks: a package imports only packages of a strictly lower rank (the table [Ranks]), so that there is one
//     direction and no cycle; a package without a rank is reported, so that a new one is placed on purpose;
//   - homes: a library is imported only where the table [Homes] puts it, so that it can be replaced there;
//   - every package has a package doc, in exactly one file;
//   - no package is called util, common, helpers, types or models: such a thing has no name yet;
//   - test-only packages (this one, internal/testpeer, internal/mutant) are imported by tests alone.
//
// Ranks and homes bind what is built into the program. Test files may import what they need to play the other side.
//
// The files are parsed by go/parser from an [fs.FS] rather than asked of `go list`: the test runner sees which
// files a test opens and runs it again when they change, but it knows nothing of what a child process read, and
// files behind build tags (integration tests, other systems) are read like all others.
package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the path that the module's own imports begin with.
const Module = "webrtc2sip"

// testOnly is the rank of packages that no built package may import.
const testOnly = 100

// A Rule gives the packages at Path, and below it when Below is set, a rank.
type Rule struct {
	Path  string
	Below bool
	Rank  int
}

// Ranks is the import rule. The first rule that matches counts.
var Ranks = []Rule{
	{Path: "internal/archtest", Rank: testOnly},
	{Path: "internal/testpeer", Below: true, Rank: testOnly},
	{Path: "internal/mutant", Rank: testOnly},

	{Path: "cmd", Below: true, Rank: 4},

	{Path: "click2call", Rank: 3},
	{Path: "internal/api", Below: true, Rank: 3},

	{Path: "proxy", Rank: 2},
	{Path: "breaker", Rank: 2},
	{Path: "internal/pbx", Rank: 2},
	{Path: "internal/trunk", Rank: 2},
	{Path: "internal/siprec", Rank: 2},
	{Path: "internal/trace", Rank: 2},

	{Path: "breaker/webrtc", Rank: 1},
	{Path: "breaker/legacy", Rank: 1},
	{Path: "coder", Rank: 1},
	{Path: "internal/sipstack", Rank: 1},
	{Path: "internal/recording", Rank: 1},

	{Path: "breaker/wire", Rank: 0},
	{Path: "breaker/secure", Rank: 0},
	{Path: "breaker/feedback", Rank: 0},
	{Path: "breaker/dtmf", Rank: 0},
	{Path: "coder/g711", Rank: 0},
	{Path: "coder/comfort", Rank: 0},
	{Path: "coder/conceal", Rank: 0},
	{Path: "coder/g722", Rank: 0},
	{Path: "coder/gsm", Rank: 0},
	{Path: "coder/jitter", Rank: 0},
	{Path: "coder/opus", Rank: 0},
	{Path: "coder/resample", Rank: 0},
	{Path: "internal/offeranswer", Rank: 0},
	{Path: "internal/config", Rank: 0},
	{Path: "internal/resolver", Rank: 0},
	{Path: "internal/admission", Rank: 0},
	{Path: "internal/digest", Rank: 0},
	{Path: "internal/metrics", Rank: 0},
	{Path: "internal/recording/container", Rank: 0},
	{Path: "internal/recording/ring", Rank: 0},
	{Path: "www", Rank: 0},
}

// A Home says where a library, all its packages and major versions, may be imported: in the packages named
// and, for a name that ends in "/...", below it too.
type Home struct {
	Library string
	In      []string
}

// Homes are the libraries with one home each.
var Homes = []Home{
	{"github.com/emiago/sipgo", []string{"internal/sipstack", "proxy", "internal/pbx", "internal/trunk", "internal/siprec", "internal/trace"}},
	{"github.com/icholy/digest", []string{"internal/pbx", "internal/digest"}},
	{"github.com/miekg/dns", []string{"internal/resolver"}},
	{"github.com/go-jose/go-jose", []string{"internal/admission"}},
	{"github.com/prometheus", []string{"internal/metrics"}},
	{"github.com/gorilla/websocket", []string{"internal/sipstack"}},
	{"github.com/pion/ice", []string{"breaker/webrtc"}},
	{"github.com/pion/turn", []string{"breaker/webrtc"}},
	{"github.com/pion/dtls", []string{"breaker/secure"}},
	{"github.com/pion/stun", []string{"breaker/webrtc", "breaker/legacy"}},
	{"github.com/pion/srtp", []string{"breaker/..."}},
	{"github.com/pion/rtp", []string{"breaker/...", "internal/recording"}},
	{"github.com/pion/rtcp", []string{"breaker/..."}},
	{"github.com/pion/sdp", []string{"internal/offeranswer"}},
	{"github.com/ebitengine/purego", []string{"coder/opus"}},
	{"github.com/urfave/cli", []string{"cmd/..."}},
}

// nameless are the names that say nothing.
var nameless = []string{"util", "utils", "common", "helper", "helpers", "types", "models"}

// A Problem is one broken rule.
type Problem struct {
	// Where is the file and line, or the package.
	Where string
	Text  string
}

func (p Problem) String() string { return p.Where + ": " + p.Text }

// Check reads the module at root and returns what is wrong, sorted. The error is about reading or parsing.
func Check(root fs.FS) ([]Problem, error) {
	packages, err := read(root)
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for _, p := range packages {
		problems = append(problems, p.checkName()...)
		problems = append(problems, p.checkDoc()...)
		problems = append(problems, p.checkImports()...)
	}
	problems = append(problems, checkCycles(packages)...)
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.Text, b.Text))
	})
	return problems, nil
}

// a pkg is what one directory holds.
type pkg struct {
	path  string // below the module: "breaker/wire"
	name  string // of the package clause, without _test
	files []file
}

type file struct {
	path    string
	test    bool
	doc     string // of the package clause; empty for files of the external test package
	imports []imported
}

type imported struct {
	path string
	line int
}

// read parses the imports and the package doc of every Go file below root.
func read(root fs.FS) (map[string]*pkg, error) {
	packages := make(map[string]*pkg)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		syntax, err := parser.ParseFile(set, name, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if packages[dir] == nil {
			packages[dir] = &pkg{path: dir, name: strings.TrimSuffix(syntax.Name.Name, "_test")}
		}
		packages[dir].files = append(packages[dir].files, describe(set, name, syntax))
		return nil
	})
	return packages, err
}

// skipped reports whether directories of this name hold no packages of ours.
func skipped(name string) bool {
	return name == "testdata" || name == "node_modules" || name == "artifacts" ||
		len(name) > 1 && (name[0] == '.' || name[0] == '_')
}

func describe(set *token.FileSet, name string, syntax *ast.File) file {
	f := file{path: name, test: strings.HasSuffix(name, "_test.go")}
	if !strings.HasSuffix(syntax.Name.Name, "_test") {
		f.doc = strings.TrimSpace(syntax.Doc.Text())
	}
	for _, spec := range syntax.Imports {
		// The parser has accepted the literal, so it unquotes.
		target, _ := strconv.Unquote(spec.Path.Value)
		f.imports = append(f.imports, imported{path: target, line: set.Position(spec.Pos()).Line})
	}
	return f
}

func (p *pkg) checkName() []Problem {
	if slices.Contains(nameless, p.name) || slices.Contains(nameless, path.Base(p.path)) {
		return []Problem{{p.path, fmt.Sprintf("a package called %s has no name yet", p.name)}}
	}
	return nil
}

// checkDoc wants one package doc, which begins as godoc shows it.
func (p *pkg) checkDoc() []Problem {
	var with []string
	var doc string
	for _, f := range p.files {
		if f.doc != "" {
			with, doc = append(with, f.path), f.doc
		}
	}
	begin := "Package " + p.name + " "
	if p.name == "main" {
		begin = "Command " + path.Base(p.path) + " "
	}
	switch {
	case len(with) == 0:
		return []Problem{{p.path, "has no package doc"}}
	case len(with) > 1:
		return []Problem{{p.path, "has a package doc in each of " + strings.Join(with, ", ")}}
	case !strings.HasPrefix(strings.ReplaceAll(doc, "\n", " "), begin):
		return []Problem{{with[0], fmt.Sprintf("the package doc begins %q", begin)}}
	}
	return nil
}

// checkImports applies ranks and homes.
func (p *pkg) checkImports() []Problem {
	rank, ok := rankOf(p.path)
	if !ok {
		return []Problem{{p.path, "has no rank: place it in archtest.Ranks and in ARCHITECTURE.md"}}
	}
	if rank == testOnly {
		return nil
	}
	var problems []Problem
	for _, f := range p.files {
		if f.test {
			continue
		}
		for _, i := range f.imports {
			if text := p.judge(rank, i.path); text != "" {
				problems = append(problems, Problem{fmt.Sprintf("%s:%d", f.path, i.line), text})
			}
		}
	}
	return problems
}

// judge says what is wrong with the import of target into p, if anything.
func (p *pkg) judge(rank int, target string) string {
	if own, ok := ownPath(target); ok {
		other, known := rankOf(own)
		switch {
		case !known:
			return "" // reported where that package is
		case other == testOnly:
			return fmt.Sprintf("imports %s, which is for tests", own)
		case other >= rank:
			return fmt.Sprintf("%s (rank %d) imports %s (rank %d)", p.path, rank, own, other)
		}
		return ""
	}
	for _, h := range Homes {
		if within(target, h.Library) && !slices.ContainsFunc(h.In, func(home string) bool {
			below, all := strings.CutSuffix(home, "/...")
			return p.path == below || all && within(p.path, below)
		}) {
			return fmt.Sprintf("imports %s, whose home is %s", target, strings.Join(h.In, ", "))
		}
	}
	return ""
}

// ownPath is target below the module, if it is a package of ours.
func ownPath(target string) (string, bool) {
	if target == Module {
		return ".", true
	}
	return strings.CutPrefix(target, Module+"/")
}

// within reports whether p is the path at, or below it.
func within(p, at string) bool { return p == at || strings.HasPrefix(p, at+"/") }

func rankOf(p string) (int, bool) {
	for _, r := range Ranks {
		if p == r.Path || r.Below && within(p, r.Path) {
			return r.Rank, true
		}
	}
	return 0, false
}

// checkCycles finds packages that import each other, also among those without a rank.
func checkCycles(packages map[string]*pkg) []Problem {
	const (
		visiting = 1
		done     = 2
	)
	var (
		problems []Problem
		state    = make(map[string]int)
		visit    func(at string, road []string)
	)
	visit = func(at string, road []string) {
		p := packages[at]
		if p == nil || state[at] == done {
			return
		}
		road = append(road, at)
		if state[at] == visiting {
			cycle := road[slices.Index(road, at):]
			problems = append(problems, Problem{at, "import cycle: " + strings.Join(cycle, " → ")})
			return
		}
		state[at] = visiting
		for _, f := range p.files {
			for _, i := range f.imports {
				if own, ok := ownPath(i.path); ok && !f.test {
					visit(own, road)
				}
			}
		}
		state[at] = done
	}
	for _, at := range slices.Sorted(maps.Keys(packages)) {
		visit(at, nil)
	}
	return problems
}
