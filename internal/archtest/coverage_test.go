package archtest

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// rows is how many rows each letter of the list of threats has.
var rows = map[string]int{"P": 10, "R": 12, "A": 11, "W": 7, "M": 17, "L": 10, "F": 12, "O": 15}

var (
	row       = regexp.MustCompile(`^\| ([A-Z])(\d+) \| [^|]+ \| ([^|]+) \|$`)
	namedTest = regexp.MustCompile("`([\\w./]+_test\\.go):((?:Test|Fuzz|Benchmark)\\w+)`")
)

// TestSecurityTests: docs/security-tests.md has a line for each row, in order; each line names a test, a target of make,
// or says why there is none; and every test that is named exists.
func TestSecurityTests(t *testing.T) {
	root := filepath.Join("..", "..")
	f, err := os.Open(filepath.Join(root, "docs", "security-tests.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m := row.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		letter, number, tests := m[1], m[2], m[3]
		if seen[letter]++; strconv.Itoa(seen[letter]) != number {
			t.Errorf("row %s%s stands where %s%d should", letter, number, letter, seen[letter])
		}
		named := namedTest.FindAllStringSubmatch(tests, -1)
		if len(named) == 0 && !strings.Contains(tests, "not yet: ") && !strings.Contains(tests, "`make ") {
			t.Errorf("row %s%s neither names a test nor says why there is none", letter, number)
		}
		for _, n := range named {
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(n[1])))
			if err != nil || !strings.Contains(string(text), "\nfunc "+n[2]+"(") {
				t.Errorf("row %s%s: there is no %s in %s", letter, number, n[2], n[1])
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for letter, want := range rows {
		if seen[letter] != want {
			t.Errorf("%d rows of %s, want %d", seen[letter], letter, want)
		}
	}
}
