package faults

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/awskms-offline/awskms-offline/internal/strace"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// shortStep is how many system calls of a kind are passed over where not everything is tried.
const shortStep = 9

// eachFault is strace.EachFault, with every fault where everything is tried.
func eachFault(t *testing.T, needed []string, try func(fault string, prefix []string)) int {
	t.Helper()
	step := shortStep
	if *full {
		step = 1
	}
	return strace.EachFault(t, step, needed, func(f strace.Fault) { try(f.String(), f.Prefix) })
}

// TestSystemCallsFail: whatever call of file I/O fails in a decision, the answer is the right one or a refusal.
func TestSystemCallsFail(t *testing.T) {
	strace.Need(t)
	w := newWorld(t)
	for i, c := range w.calls() {
		if !*full && i%3 != 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			yes, refused := 0, 0
			tried := eachFault(t, []string{"openat", "newfstatat", "read", "write", "close"}, func(fault string, prefix []string) {
				_, before := w.lines(t)
				o := w.run(t, c, prefix)
				w.check(t, fault, c, o, before)
				if o.yes {
					yes++
				} else {
					refused++
					if len(o.stdout)+len(o.stderr) == 0 && o.code == 0 {
						t.Errorf("%s: nothing is said, and the exit code is 0", fault)
					}
				}
			})
			t.Logf("%d faults: %d times the right yes, %d refusals", tried, yes, refused)
		})
	}
}

// TestWritesFail: whatever call fails while the store is written, what was there before is there afterwards, the store is
// sound, and the same command succeeds once nothing fails.
func TestWritesFail(t *testing.T) {
	strace.Need(t)
	record := filepath.Join(testdata, "records", "rsa2048.get-public-key.json")
	arn := must(kmskey.ParseRef(must(kmskey.DecodeRecord(must(os.ReadFile(record)))).KeyID))
	block, unblock := []string{"keys", "block", key(good).ARN().String(), "--reason", "fault"}, []string{"keys", "unblock", key(good).ARN().String()}
	isBlocked := func(s *keystore.Store) bool {
		blocks, err := s.Blocks([]kmskey.ARN{key(good).ARN()}, key(good).Fingerprint())
		return err != nil || len(blocks) > 0
	}
	for name, c := range map[string]struct {
		change call
		undo   []string
		done   func(*keystore.Store) bool
	}{
		"keys import": {
			call{program: "awskms-offline", args: []string{"keys", "import", record, "--alias", "alias/fault"}},
			[]string{"keys", "remove", arn.String()},
			func(s *keystore.Store) bool { _, err := s.Resolve(arn, keystore.ResolveOptions{}); return err == nil },
		},
		"keys remove": {
			call{program: "awskms-offline", args: []string{"keys", "remove", key(other).ARN().String()}},
			nil,
			func(s *keystore.Store) bool {
				_, err := s.Resolve(must(kmskey.ParseRef(key(other).ARN().String())), keystore.ResolveOptions{})
				return err != nil
			},
		},
		"keys block":   {call{program: "awskms-offline", args: block}, unblock, isBlocked},
		"keys unblock": {call{program: "awskms-offline", args: unblock}, block, func(s *keystore.Store) bool { return !isBlocked(s) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.change.name = name
			if name == "keys unblock" {
				w.run(t, call{name: "block", program: "awskms-offline", args: block}, nil)
			}
			tried := eachFault(t, []string{"openat", "newfstatat", "read", "write", "fsync", "close"}, func(fault string, prefix []string) {
				o := w.run(t, c.change, prefix)
				s := w.open(t)
				if o.code == 0 && !c.done(s) {
					t.Errorf("%s: success is told, and nothing was done, %s", fault, o)
				}
				w.intact(t, fault, s, name == "keys remove")
				if again := w.run(t, c.change, nil); !c.done(s) {
					t.Errorf("%s: the command does not succeed afterwards, %s", fault, again)
				}
				w.intact(t, fault+", and again", s, name == "keys remove")
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if c.undo != nil {
					if undone := w.run(t, call{name: "undo", program: "awskms-offline", args: c.undo}, nil); undone.code != 0 {
						t.Fatalf("%s: undoing, %s", fault, undone)
					}
					return
				}
				w.put(t, other)
			})
			t.Logf("%d faults", tried)
		})
	}
}

func (w world) open(t testing.TB) *keystore.Store {
	t.Helper()
	s, err := keystore.Open(keystore.Home{Path: w.home, ChosenBy: "test"}, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w world) put(t testing.TB, name string) {
	t.Helper()
	writer, err := keystore.OpenWriter(keystore.Home{Path: w.home, ChosenBy: "test"}, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Put(key(name), keystore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
}

// intact demands that the keys of the world are as they were, that the blocked one is blocked, and that nothing in the
// store is damaged.
func (w world) intact(t testing.TB, fault string, s *keystore.Store, otherMayBeGone bool) {
	t.Helper()
	for _, name := range []string{good, other, blocked, excluded, disabled} {
		want := key(name)
		found, err := s.Resolve(must(kmskey.ParseRef(want.ARN().String())), keystore.ResolveOptions{})
		if err != nil {
			if name != other || !otherMayBeGone {
				t.Errorf("%s: %s is lost: %v", fault, name, err)
			}
			continue
		}
		if got := found.Entries[0].Key; got.Fingerprint() != want.Fingerprint() || got.State() != want.State() {
			t.Errorf("%s: %s is changed", fault, name)
		}
	}
	if blocks, err := s.Blocks([]kmskey.ARN{key(blocked).ARN()}, key(blocked).Fingerprint()); err != nil || len(blocks) == 0 {
		t.Errorf("%s: the block is lost: %v", fault, err)
	}
	for problem := range s.Fsck() {
		if !problem.Harmless && !problem.Repairable {
			t.Errorf("%s: %+v", fault, problem)
		}
	}
}
