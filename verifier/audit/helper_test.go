package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// someTime is the time of the first decision of tests; each further one is a second later.
var someTime = time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC)

// decision returns a decision as the verifier makes them, told apart by n.
func decision(n int) Decision {
	at := kmskey.Time{Time: someTime.Add(time.Duration(n) * time.Second)}
	d := Decision{
		EventTime: at, EventName: EventVerify, FrontEnd: FrontEnd{Name: "test", Version: "1.2.3"},
		Home: "/home/user/.config/awskms-offline", HomeChosenBy: "the user's configuration folder",
		Asked:           fmt.Sprintf("alias/release-%d", n),
		KeyARN:          "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		KeySpec:         "ECC_NIST_P256",
		PublicKeySHA256: strings.Repeat("0a", 32),
		Files: []File{
			{Path: "/home/user/.config/awskms-offline/aliases/aws/us-east-1/111122223333/release.json", SHA256: strings.Repeat("1b", 32)},
			{Path: "/home/user/.config/awskms-offline/keys/aws/us-east-1/111122223333/1234abcd-12ab-34cd-56ef-1234567890ab.json", SHA256: strings.Repeat("2c", 32)},
		},
		SigningAlgorithm: "ECDSA_SHA_256", MessageType: "RAW", InputSHA256: strings.Repeat("3d", 32), InputBytes: 1234,
		SignatureSHA256: strings.Repeat("4e", 32),
		SnapshotSource:  "kms", SnapshotTime: kmskey.Time{Time: someTime.Add(-time.Hour)}, KeyState: "Enabled",
		Verified: n%2 == 0,
	}
	if !d.Verified {
		d.ErrorCode, d.ErrorMessage = string(kmserr.InvalidSignature), "the signature is not one of this key"
	}
	return d
}

func openLog(t testing.TB, cfg Config) *FileLog {
	t.Helper()
	l, err := NewFileLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func logPath(t testing.TB) string { return filepath.Join(t.TempDir(), "state", FileName) }

func appendAll(t testing.TB, l *FileLog, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if err := l.Append(t.Context(), decision(n)); err != nil {
			t.Fatalf("decision %d: %v", n, err)
		}
	}
}

// newLog returns the path of a log with n lines.
func newLog(t testing.TB, n int) string {
	t.Helper()
	path := logPath(t)
	appendAll(t, openLog(t, Config{Path: path, NoSync: true}), 1, n)
	return path
}

func readLines(t testing.TB, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
}

func writeLines(t testing.TB, path string, lines []string) {
	t.Helper()
	text := strings.Join(lines, "")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// intact demands an intact log of n lines.
func intact(t testing.TB, path string, n int64, opts Options) Report {
	t.Helper()
	report, err := Verify(context.Background(), path, opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if !report.Intact || report.Break != nil || report.Lines != n {
		t.Fatalf("got %+v, expected %d lines", report, n)
	}
	return report
}

// broken demands a break of that kind.
func broken(t testing.TB, path string, opts Options, kind Kind) *Break {
	t.Helper()
	report, err := Verify(context.Background(), path, opts)
	if err == nil || report.Intact {
		t.Fatalf("the log is taken for intact: %+v", report)
	}
	var b *Break
	if !errors.As(err, &b) || b != report.Break || !kmserr.Is(err, kmserr.AuditIntegrity) {
		t.Fatalf("got the error %v, and the break %v", err, report.Break)
	}
	if b.Kind != kind {
		t.Fatalf("got %v, expected %s", b, kind)
	}
	if hint := kmserr.As(err).Hint; (kind == Torn) != strings.Contains(hint, "the next decision mends it") {
		t.Errorf("of %s the hint is %q", kind, hint)
	}
	return b
}

// unavailableError demands an AuditUnavailableException that holds every text.
func unavailableError(t testing.TB, err error, holds ...string) {
	t.Helper()
	var e *kmserr.Error
	if !errors.As(err, &e) || e.Name != kmserr.AuditUnavailable {
		t.Fatalf("got %v, expected %s", err, kmserr.AuditUnavailable)
	}
	for _, text := range holds {
		if !strings.Contains(e.Fact+" | "+e.Hint, text) {
			t.Errorf("%q is not in: %s | %s", text, e.Fact, e.Hint)
		}
	}
}

// parsed reads lines with another decoder than the product's.
func parsed(t testing.TB, path string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for line := range bytes.Lines(data) {
		var one map[string]any
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatalf("line %d: %v", len(all)+1, err)
		}
		all = append(all, one)
	}
	return all
}

func hexSHA256(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
