package archtest

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestModule applies the rules to the module itself.
func TestModule(t *testing.T) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	problems, err := Check(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// TestCheck applies the rules to small modules in memory, each with one fault.
func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"right", map[string]string{
			"proxy/proxy.go":             "// Package proxy is.\npackage proxy\nimport (\"webrtc2sip/internal/sipstack\"; \"github.com/emiago/sipgo/sip\")",
			"proxy/more.go":              "package proxy\nimport \"net\"",
			"proxy/proxy_test.go":        "// a comment\n\npackage proxy_test\nimport (\"webrtc2sip/breaker\"; \"github.com/gorilla/websocket\")",
			"internal/sipstack/s.go":     "// Package sipstack is.\npackage sipstack",
			"breaker/b.go":               "// Package breaker is.\npackage breaker\nimport \"github.com/pion/rtp\"",
			"breaker/webrtc/w.go":        "// Package webrtc is.\npackage webrtc\nimport (\"github.com/pion/ice/v4\"; \"github.com/pion/srtp/v3\")",
			"cmd/webrtc2sip/main.go":     "// Command webrtc2sip is.\npackage main\nimport (\"webrtc2sip/proxy\"; \"github.com/urfave/cli/v2\")",
			"internal/testpeer/p.go":     "// Package testpeer is.\npackage testpeer\nimport (\"webrtc2sip/proxy\"; \"github.com/gorilla/websocket\")",
			"www/node_modules/x/x.go":    "package common",
			"www/www.go":                 "//go:build linux\n\n// Package www is.\npackage www",
			"www/testdata/broken.go":     "not Go",
			"internal/config/.hidden.go": "package config",
			"internal/config/doc.go":     "// Package config\n// is.\npackage config",
		}, nil},
		{"upwards", map[string]string{
			"breaker/wire/w.go": "// Package wire is.\npackage wire\n\nimport \"webrtc2sip/breaker\"",
			"breaker/b.go":      "// Package breaker is.\npackage breaker",
		}, []string{"breaker/wire/w.go:4: breaker/wire (rank 0) imports breaker (rank 2)"}},
		{"sideways", map[string]string{
			"proxy/p.go":   "// Package proxy is.\npackage proxy\nimport \"webrtc2sip/breaker\"",
			"breaker/b.go": "// Package breaker is.\npackage breaker",
		}, []string{"proxy/p.go:3: proxy (rank 2) imports breaker (rank 2)"}},
		{"library away from home", map[string]string{
			"proxy/p.go":                "// Package proxy is.\npackage proxy\nimport \"github.com/gorilla/websocket\"",
			"internal/offeranswer/o.go": "// Package offeranswer is.\npackage offeranswer\nimport \"github.com/pion/srtp/v3\"",
		}, []string{
			"internal/offeranswer/o.go:3: imports github.com/pion/srtp/v3, whose home is breaker/...",
			"proxy/p.go:3: imports github.com/gorilla/websocket, whose home is internal/sipstack",
		}},
		{"a name that only begins like a library", map[string]string{
			"www/w.go": "// Package www is.\npackage www\nimport \"github.com/pion/rtplike\"",
		}, nil},
		{"no doc", map[string]string{"www/w.go": "package www"}, []string{"www: has no package doc"}},
		{"two docs", map[string]string{
			"www/a.go": "// Package www is.\npackage www",
			"www/b.go": "// Package www is also.\npackage www",
		}, []string{"www: has a package doc in each of www/a.go, www/b.go"}},
		{"another doc", map[string]string{"www/w.go": "// This is www.\npackage www"}, []string{`www/w.go: the package doc begins "Package www "`}},
		{
			"no name",
			map[string]string{"internal/api/util/u.go": "// Package util is.\npackage util"},
			[]string{"internal/api/util: a package called util has no name yet"},
		},
		{
			"no rank",
			map[string]string{"internal/new/n.go": "// Package new is.\npackage new"},
			[]string{"internal/new: has no rank: place it in archtest.Ranks and in ARCHITECTURE.md"},
		},
		{"test package in the program", map[string]string{
			"proxy/p.go":             "// Package proxy is.\npackage proxy\nimport \"webrtc2sip/internal/testpeer\"",
			"internal/testpeer/t.go": "// Package testpeer is.\npackage testpeer",
		}, []string{"proxy/p.go:3: imports internal/testpeer, which is for tests"}},
		{"cycle", map[string]string{
			"internal/api/a/a.go": "// Package a is.\npackage a\nimport \"webrtc2sip/internal/api/b\"",
			"internal/api/b/b.go": "// Package b is.\npackage b\nimport \"webrtc2sip/internal/api/a\"",
		}, []string{
			"internal/api/a: import cycle: internal/api/a → internal/api/b → internal/api/a",
			"internal/api/a/a.go:3: internal/api/a (rank 3) imports internal/api/b (rank 3)",
			"internal/api/b/b.go:3: internal/api/b (rank 3) imports internal/api/a (rank 3)",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := fstest.MapFS{}
			for name, text := range tt.files {
				files[name] = &fstest.MapFile{Data: []byte(text)}
			}
			problems, err := Check(files)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestBrokenSource(t *testing.T) {
	if _, err := Check(fstest.MapFS{"www/w.go": {Data: []byte("not Go")}}); err == nil {
		t.Error("got no error for a file that does not parse")
	}
}
