package testpeer

import (
	"encoding/xml"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"
)

// TestScenarios: every scenario is XML when its macros are expanded, is called what its file is called,
// and refers to no macro's variable that nothing sets.
func TestScenarios(t *testing.T) {
	files, err := fs.Glob(scenarios, "testdata/sipp/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, file := range files {
		text, err := scenarios.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		expanded, err := expand(string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if strings.Contains(expanded, "{{") {
			t.Errorf("%s: a macro was not expanded", file)
		}
		if got, want := scenarioName(t, file, expanded), strings.TrimSuffix(path.Base(file), ".xml"); got != want {
			t.Errorf("%s is called %q", file, got)
		}
		for _, variable := range []string{"caller", "callee", "target", "number", "via1", "record1"} {
			if strings.Contains(expanded, "[$"+variable+"]") && !strings.Contains(expanded, `assign_to="`+variable+`"`) {
				t.Errorf("%s: nothing sets %s", file, variable)
			}
		}
	}
}

func scenarioName(t *testing.T, file, text string) (name string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return name
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
			return name
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "scenario" {
			name = e.Attr[0].Value
		}
	}
}

func TestExpand(t *testing.T) {
	got, err := expand(`<scenario name="x">{{got "BYE" "Reason: a.*b"}}{{respond "200 OK"}}</scenario>`)
	want := `<scenario name="x"><recv request="BYE"><action><ereg regexp="a.*b" search_in="hdr" header="Reason:" check_it="true" assign_to="seen"/></action></recv>` +
		"<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n" +
		scriptContact + "\nContent-Length: 0\n\n]]></send><Reference variables=\"seen\"/>\n</scenario>"
	if err != nil || got != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	if same, err := expand("[last_Via:] as it is"); err != nil || same != "[last_Via:] as it is" {
		t.Errorf("a text without macros became %q, %v", same, err)
	}
	if _, err := expand("{{nothing}}"); err == nil {
		t.Error("an unknown macro was expanded")
	}
}
