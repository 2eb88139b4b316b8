package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// times is how often something random is tried: many times in full, few otherwise.
func times(few, many int) int {
	if *full {
		return many
	}
	return few
}

func needRoot(t *testing.T, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("%s needs root, and this is user %d", what, os.Geteuid())
	}
}

// TestMemory: with too little memory a program may give up, and never says yes to the wrong thing. GOMEMLIMIT is a wish that
// the runtime works towards; ulimit -v is the system's.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	yes, refused := 0, 0
	try := func(c call, fault string, prefix ...string) {
		_, before := w.lines(t)
		o := w.run(t, c, prefix)
		w.check(t, fault, c, o, before)
		if o.yes {
			yes++
		} else {
			refused++
		}
	}
	for _, c := range w.calls() {
		for _, wish := range []string{"1", "1MiB", "4MiB"} {
			try(c, "GOMEMLIMIT="+wish, "env", "GOMEMLIMIT="+wish)
		}
		for _, kib := range []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20} {
			try(c, fmt.Sprintf("ulimit -v %d", kib), "sh", "-c", fmt.Sprintf(`ulimit -v %d && exec "$0" "$@"`, kib))
		}
	}
	if yes == 0 || refused == 0 {
		t.Errorf("%d times yes and %d refusals: the limits are not what they are taken for", yes, refused)
	}
	t.Logf("%d times the right yes, %d refusals", yes, refused)
}

// TestFileDescriptors: with any number of file descriptors a program answers rightly or refuses, and with 20 it answers.
func TestFileDescriptors(t *testing.T) {
	w := newWorld(t)
	for _, c := range w.calls() {
		last := false
		for n := range 21 {
			_, before := w.lines(t)
			fault := fmt.Sprintf("ulimit -n %d", n)
			o := w.run(t, c, []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, n)})
			w.check(t, fault, c, o, before)
			last = o.yes
		}
		if last != c.right {
			t.Errorf("%s: 20 file descriptors do not suffice", c.name)
		}
	}
}

// TestKilled: programs that are ended at any moment leave a store that is sound, a log that goes on, and no wrong yes.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	calls := w.calls()
	record := filepath.Join(testdata, "records", "rsa2048.get-public-key.json")
	writes := [][]string{
		{"keys", "import", record, "--alias", "alias/killed"},
		{"keys", "remove", "alias/killed"},
		{"keys", "block", key(good).ARN().String(), "--reason", "killed"},
		{"keys", "unblock", key(good).ARN().String()},
	}
	// The delays cover whole runs, however fast the machine is today.
	start := time.Now()
	w.run(t, calls[0], nil)
	whole := 2 * time.Since(start)
	random := rand.New(rand.NewPCG(1, 2))
	ended := 0
	for i := range times(60, 2000) {
		c := calls[random.IntN(len(calls))]
		if i%2 == 0 {
			c = call{name: "write", program: "awskms-offline", args: writes[random.IntN(len(writes))], right: true}
		}
		signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[random.IntN(2)]
		delay := time.Duration(random.Int64N(int64(whole)))
		_, before := w.lines(t)
		o := w.run(t, c, nil, func(cmd *exec.Cmd) {
			time.AfterFunc(delay, func() {
				if cmd.Process != nil {
					_ = cmd.Process.Signal(signal) // it may have ended
				}
			})
		})
		if o.code == -1 {
			ended++
		}
		if c.name != "write" {
			w.check(t, fmt.Sprintf("%s after %s", signal, delay), c, o, before)
		}
		s := w.open(t)
		w.intact(t, fmt.Sprintf("%s after %s", signal, delay), s, false)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if ended == 0 {
		t.Error("nothing was ended: the delays are too long")
	}
	t.Logf("%d runs were ended", ended)
	for _, args := range [][]string{writes[0], writes[2], writes[3]} { // there need be no block to unblock before
		if o := w.run(t, call{name: "write", program: "awskms-offline", args: args}, nil); o.code != 0 {
			t.Errorf("%v afterwards: %s", args, o)
		}
	}
	for _, c := range w.calls() {
		if o := w.run(t, c, nil); o.yes != c.right {
			t.Errorf("%s afterwards: %s", c.name, o)
		}
	}
}

// mounted mounts a tmpfs of the size, which is given up at the end of the test.
func mounted(t *testing.T, size string) string {
	t.Helper()
	needRoot(t, "mounting a disk of its own")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skipf("no disk can be mounted here, as in a container without SYS_ADMIN: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// copyTo copies the world's store to a folder.
func (w world) copyTo(t *testing.T, home string) world {
	t.Helper()
	if err := os.CopyFS(home, os.DirFS(w.home)); err != nil {
		t.Fatal(err)
	}
	// CopyFS keeps no owner's modes of folders.
	err := filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.home = home
	return w
}

// TestFullDisk: on a disk without room the log refuses where it is required, and a store keeps what it has.
func TestFullDisk(t *testing.T) {
	disk := mounted(t, "1m")
	w := newWorld(t).copyTo(t, filepath.Join(disk, "home"))
	w.state = filepath.Join(disk, "state")
	for _, c := range w.calls() {
		if o := w.run(t, c, nil); o.yes != c.right {
			t.Fatalf("%s: %s", c.name, o)
		}
	}
	fill := func() string {
		path := filepath.Join(disk, "filler")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 1<<10))
		}
		return path
	}
	path := fill()
	refused := 0
	for range 5 { // the last page of the log may have room for lines
		for _, c := range w.calls() {
			_, before := w.lines(t)
			o := w.run(t, c, nil)
			w.check(t, "a full disk", c, o, before)
			if c.right && !o.yes {
				refused++
				if !strings.Contains(string(o.stdout)+string(o.stderr), string(kmserr.AuditUnavailable)) {
					t.Errorf("%s: another reason: %s", c.name, o)
				}
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused: the disk is not full")
	}
	record := filepath.Join(testdata, "records", "rsa2048.get-public-key.json")
	for range 5 {
		o := w.run(t, call{name: "import", program: "awskms-offline", args: []string{"keys", "import", record}}, nil)
		s := w.open(t)
		w.intact(t, "a full disk", s, false)
		_ = s.Close()
		if o.code == 0 {
			continue // there was room
		}
		if o.code != 3 {
			t.Errorf("import on a full disk: %s", o)
		}
	}
	w.policy(t, "best-effort", []string{key(good).ARN().String()})
	if o := w.run(t, w.calls()[0], nil); !o.yes {
		t.Errorf("with the log on best effort: %s", o)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if o := w.run(t, call{name: "import", program: "awskms-offline", args: []string{"keys", "import", record}}, nil); o.code != 0 {
		t.Errorf("import with room again: %s", o)
	}
	if o := w.run(t, w.calls()[0], nil); !o.yes {
		t.Errorf("with room again: %s", o)
	}
	w.lines(t)
}

// TestReadOnlyDisk: a store on a read-only disk verifies, and what would write it is refused.
func TestReadOnlyDisk(t *testing.T) {
	disk := mounted(t, "1m")
	w := newWorld(t).copyTo(t, filepath.Join(disk, "home"))
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("the disk cannot be made read-only: %v", err)
	}
	for _, c := range w.calls() {
		if o := w.run(t, c, nil); o.yes != c.right {
			t.Errorf("%s: %s", c.name, o)
		}
	}
	for _, args := range [][]string{
		{"keys", "import", filepath.Join(testdata, "records", "rsa2048.get-public-key.json")},
		{"keys", "remove", key(good).ARN().String()}, {"keys", "unblock", key(blocked).ARN().String()},
	} {
		if o := w.run(t, call{name: "write", program: "awskms-offline", args: args}, nil); o.code != 3 {
			t.Errorf("%v: %s", args, o)
		}
	}
	w.state = filepath.Join(disk, "state")
	if o := w.run(t, w.calls()[0], nil); o.yes {
		t.Errorf("a log that is required, on a read-only disk: %s", o)
	}
}

// recordPath is where a key's record lies.
func (w world) recordPath(name string) string {
	arn := key(name).ARN()
	return filepath.Join(w.home, "keys", arn.Partition, arn.Region, arn.Account, arn.KeyID+".json")
}

// TestLinks: a home that is a link and records that are links inside the store are followed; what leaves the store is
// refused; a second name of the same file changes nothing.
func TestLinks(t *testing.T) {
	w := newWorld(t)
	linked := w
	linked.home = filepath.Join(filepath.Dir(w.home), "linked")
	if err := os.Symlink(w.home, linked.home); err != nil {
		t.Fatal(err)
	}
	for _, c := range linked.calls() {
		if o := linked.run(t, c, nil); o.yes != c.right {
			t.Errorf("a home that is a link, %s: %s", c.name, o)
		}
	}
	path := w.recordPath(good)
	outside := filepath.Join(filepath.Dir(w.home), "record.json")
	for name, c := range map[string]struct {
		link func() error
		yes  bool
	}{
		"a hard link outside": {func() error { return os.Link(path, outside) }, true},
		"a link inside": {func() error {
			if err := os.Rename(path, path+".real"); err != nil {
				return err
			}
			return os.Symlink(filepath.Base(path)+".real", path)
		}, true},
		"a link outside": {func() error {
			if err := os.Rename(path, outside); err != nil {
				return err
			}
			return os.Symlink(outside, path)
		}, false},
		"a link to itself":       {func() error { _ = os.Remove(path); return os.Symlink(filepath.Base(path), path) }, false},
		"a link to another key":  {func() error { _ = os.Remove(path); return os.Symlink(filepath.Base(w.recordPath(other)), path) }, false},
		"a hard link of another": {func() error { _ = os.Remove(path); return os.Link(w.recordPath(other), path) }, false},
		"a folder":               {func() error { _ = os.Remove(path); return os.Mkdir(path, 0o700) }, false},
		"a named pipe":           {func() error { _ = os.Remove(path); return syscall.Mkfifo(path, 0o600) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.link(); err != nil {
				t.Fatal(err)
			}
			for i, question := range w.calls()[:3] {
				_, before := w.lines(t)
				o := w.run(t, question, nil)
				w.check(t, name, question, o, before)
				if o.yes != c.yes {
					t.Errorf("%d: %s", i, o)
				}
			}
			for _, question := range w.calls()[3:] {
				w.check(t, name, question, w.run(t, question, nil), 0)
			}
			for _, leftover := range []string{path, path + ".real", outside} {
				if err := os.RemoveAll(leftover); err != nil {
					t.Fatal(err)
				}
			}
			w.put(t, good)
		})
	}
}

// TestForeignOwner: files and folders of somebody else are refused, root's are taken.
func TestForeignOwner(t *testing.T) {
	needRoot(t, "giving files away")
	w := newWorld(t)
	const somebody, nobody = 12345, 65534
	for name, path := range map[string]string{
		"the home": w.home, "the policy": filepath.Join(w.home, "policy.json"), "a folder": filepath.Dir(w.recordPath(good)), "the record": w.recordPath(good),
	} {
		if err := os.Chown(path, somebody, somebody); err != nil {
			t.Fatal(err)
		}
		for _, c := range w.calls() {
			if o := w.run(t, c, nil); o.yes {
				t.Errorf("%s belongs to somebody, %s: %s", name, c.name, o)
			}
		}
		if err := os.Chown(path, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	// Root's store, read by another user, with a log of the user's own.
	err := filepath.WalkDir(filepath.Dir(w.home), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(w.home); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for dir := bin; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.state = filepath.Join(filepath.Dir(w.home), "nobodys")
	if err := os.Mkdir(w.state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(w.state, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.calls()[:2] {
		o := w.run(t, c, nil, func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		})
		if !o.yes {
			t.Errorf("root's store, read by nobody, %s: %s", c.name, o)
		}
	}
}

// TestRecordsSwapped: while a record is exchanged for other content all the time, by renaming and by writing it in place, no
// question is answered with yes but the right one.
func TestRecordsSwapped(t *testing.T) {
	w := newWorld(t)
	path := w.recordPath(good)
	right := must(os.ReadFile(path))
	contents := [][]byte{right, must(os.ReadFile(w.recordPath(other))), right[:len(right)/2], nil, must(os.ReadFile(w.recordPath(disabled))), right}
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			content := contents[i%len(contents)]
			if i%3 == 0 {
				_ = os.WriteFile(path, content, 0o600) // a failure is a state of the file, too
				continue
			}
			next := filepath.Join(w.home, "tmp", "next")
			_ = os.WriteFile(next, content, 0o600)
			_ = os.Rename(next, path)
		}
	})
	yes, refused := 0, 0
	for range times(5, 150) {
		for _, c := range w.calls() {
			_, before := w.lines(t)
			o := w.run(t, c, nil)
			w.check(t, "swapped records", c, o, before)
			if c.right && o.yes {
				yes++
			} else if c.right {
				refused++
			}
		}
	}
	close(stop)
	swapping.Wait()
	t.Logf("of questions with the answer yes, %d got it and %d were refused", yes, refused)
}

// TestClockSteps moves the clock between any two decisions of one verifier. The clock of a process cannot be moved from
// outside: Go reads the vDSO's, which neither ptrace nor a time namespace changes, and the machine's is everybody's. So
// this uses the verifier's own seam, Config.Now.
func TestClockSteps(t *testing.T) {
	w := newWorld(t)
	text := `{"version":"1","restrictions":[{"name":"age","maxSnapshotAge":"48h"}],"log":{"mode":"off"}}`
	if err := os.WriteFile(filepath.Join(w.home, "policy.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := policy.Load(policy.Options{Home: w.home, MachineFolder: filepath.Join(w.home, "none")})
	if err != nil {
		t.Fatal(err)
	}
	taken := time.Now().Add(-time.Hour)
	var now time.Time
	v, err := verifier.New(verifier.Config{Store: w.open(t), Policy: rules, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	random := rand.New(rand.NewPCG(3, 4))
	count := map[kmserr.Name]int{}
	for range times(2000, 50000) {
		step := time.Duration(random.Int64N(int64(200*24*time.Hour))) - 100*24*time.Hour
		if random.IntN(2) == 0 {
			step = time.Duration(random.Int64N(int64(time.Hour))) - 30*time.Minute
		}
		now = taken.Add(step)
		_, err := v.AuthorizeKey(context.Background(), verifier.KeyRequest{KeyID: key(good).ARN().String(), WithoutPublicKey: true})
		var want kmserr.Name
		switch {
		case step < -5*time.Minute-time.Second:
			want = kmserr.Clock
		case step > 48*time.Hour+time.Second:
			want = kmserr.SnapshotExpired
		case step < -5*time.Minute+time.Second || step > 48*time.Hour-time.Second:
			continue // the record's time is not known to the second here
		}
		if want == "" && err != nil || want != "" && !kmserr.Is(err, want) {
			t.Fatalf("the clock stands %s after the snapshot: %v, expected %q", step, err, want)
		}
		count[want]++
	}
	if count[""] == 0 || count[kmserr.Clock] == 0 || count[kmserr.SnapshotExpired] == 0 {
		t.Errorf("not every case was met: %v", count)
	}
	t.Logf("%v", count)
}
