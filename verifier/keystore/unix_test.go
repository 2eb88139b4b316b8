//go:build unix

package keystore

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/testenv"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func chmod(t testing.TB, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// needRoot skips what only root can set up; untested says what that is.
func needRoot(t testing.TB, untested string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("this needs root: %s is not tested", untested)
	}
}

func TestMadeForTheOwnerAlone(t *testing.T) {
	home := newHome(t)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	w := openWriterT(t, home)
	put(t, w, record(t, arnA, material(t), func(r *kmskey.Record) { r.Aliases = []string{"alias/a"} }), PutOptions{})
	err := filepath.WalkDir(home.Path, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := map[bool]os.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPermissions(t *testing.T) {
	paths := []string{".", "keys", "keys/aws", "keys/aws/us-east-1", "keys/aws/us-east-1/111122223333", recordPath(arnA)}
	mode := func(rel string, bits os.FileMode) os.FileMode {
		if strings.HasSuffix(rel, suffix) {
			return 0o600 | bits
		}
		return 0o700 | bits
	}
	build := func(t *testing.T, rel string, bits os.FileMode) (Home, string) {
		home := storeOf(t, record(t, arnA, material(t), nil))
		path := filepath.Join(home.Path, rel)
		chmod(t, path, mode(rel, bits))
		return home, path
	}
	resolve := func(home Home, opts Options) (*Store, error) {
		s, err := Open(home, opts)
		if err != nil {
			return nil, err
		}
		_, err = s.Resolve(kmskey.Ref{Scope: east, KeyID: uuidA}, ResolveOptions{})
		return s, err
	}
	for _, rel := range paths {
		t.Run("everyone can write "+rel, func(t *testing.T) {
			home, path := build(t, rel, 0o077)
			_, err := resolve(home, Options{})
			refused(t, err, kmserr.StoreIntegrity, path+" can be written by everyone", "chmod o-w "+path)
			if _, err := resolve(home, Options{UnsafePermissions: true}); err != nil {
				t.Error(explain(err))
			}
			// Nothing is written there either.
			w, err := OpenWriter(home, Options{})
			if err == nil {
				defer w.Close()
				_, err = w.Put(record(t, arnA, material(t), nil), PutOptions{})
			}
			refused(t, err, kmserr.StoreIntegrity, "chmod o-w "+path)
		})
		t.Run("its group can write "+rel, func(t *testing.T) {
			home, path := build(t, rel, 0o070)
			s, err := resolve(home, Options{})
			if err != nil {
				t.Fatal(explain(err))
			}
			if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "chmod g-w "+path) {
				t.Errorf("warnings: %q", w)
			}
			_, err = resolve(home, Options{StrictPermissions: true})
			refused(t, err, kmserr.StoreIntegrity, path+" can be written by its group", "chmod g-w "+path)
			// What a policy demands no caller's switch lifts.
			_, err = resolve(home, Options{StrictPermissions: true, UnsafePermissions: true})
			refused(t, err, kmserr.StoreIntegrity, path+" can be written by its group", "--unsafe-store-permissions does not help")
		})
		t.Run("others can read "+rel, func(t *testing.T) {
			home, _ := build(t, rel, 0o055)
			s, err := resolve(home, Options{StrictPermissions: true})
			if err != nil {
				t.Fatal(explain(err))
			}
			if w := s.Warnings(); len(w) != 0 {
				t.Errorf("warnings: %q", w)
			}
		})
		t.Run("another owner of "+rel, func(t *testing.T) {
			needRoot(t, "another owner of "+rel)
			home, path := build(t, rel, 0)
			if err := os.Chown(path, 4242, -1); err != nil {
				t.Fatal(err)
			}
			_, err := resolve(home, Options{})
			refused(t, err, kmserr.StoreIntegrity, path+" belongs to the user with ID 4242", "as that user (sudo -u '#4242', docker run --user 4242)")
			if rel != "." { // as a folder above, on the way to the home, it is met first
				refused(t, err, kmserr.StoreIntegrity, "chown -h 0 "+path)
			}
			if _, err := resolve(home, Options{UnsafePermissions: true}); err != nil {
				t.Error(explain(err))
			}
		})
	}
	t.Run("a damaged mode of alias, block and index", func(t *testing.T) {
		home := newHome(t)
		w := openWriterT(t, home)
		put(t, w, record(t, arnA, material(t), nil), PutOptions{Aliases: []string{"alias/a"}})
		if _, err := w.Block(Block{KeyID: arnA.String()}); err != nil {
			t.Fatal(explain(err))
		}
		for _, rel := range []string{"aliases", "blocks", blockPathOfARN(arnA)} {
			path := filepath.Join(home.Path, rel)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			chmod(t, path, info.Mode().Perm()|0o002)
			s := openT(t, home)
			if rel == "aliases" {
				_, err = s.Resolve(ref(t, "alias/a"), ResolveOptions{})
			} else {
				_, err = s.Blocks([]kmskey.ARN{arnA}, "")
			}
			refused(t, err, kmserr.StoreIntegrity, "chmod o-w "+path)
			chmod(t, path, info.Mode().Perm())
		}
	})
}

func TestManyWarningsAreBounded(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	for i := range 20 {
		arn := kmskey.ARN{Scope: east, KeyID: strings.Replace(uuidA, "ab", string(rune('a'+i/10))+string(rune('0'+i%10)), 1)}
		put(t, w, record(t, arn, material(t), nil), PutOptions{})
		chmod(t, filepath.Join(home.Path, recordPath(arn)), 0o620)
	}
	s := openT(t, home)
	for range s.List() {
	}
	for range s.List() {
	}
	if w := s.Warnings(); len(w) != 10+1 {
		t.Errorf("%d warnings: %q", len(w), w)
	}
}

func TestAncestors(t *testing.T) {
	build := func(t *testing.T) (above string, home Home) {
		base := newHome(t).Path
		above = filepath.Join(base, "above")
		home = Home{Path: filepath.Join(above, "middle", "home"), ChosenBy: "test"}
		w := openWriterT(t, home)
		put(t, w, record(t, arnA, material(t), nil), PutOptions{})
		w.Close()
		return above, home
	}
	t.Run("everyone can write", func(t *testing.T) {
		above, home := build(t)
		chmod(t, above, 0o777)
		_, err := Open(home, Options{})
		refused(t, err, kmserr.StoreIntegrity, above+" can be written by everyone", "chmod o-w "+above)
		if _, err := Open(home, Options{UnsafePermissions: true}); err != nil {
			t.Error(explain(err))
		}
	})
	t.Run("sticky", func(t *testing.T) {
		above, home := build(t)
		chmod(t, above, 0o777|os.ModeSticky)
		if _, err := Open(home, Options{StrictPermissions: true}); err != nil {
			t.Error(explain(err))
		}
	})
	t.Run("a sticky home is open to all", func(t *testing.T) {
		_, home := build(t)
		chmod(t, home.Path, 0o777|os.ModeSticky)
		_, err := Open(home, Options{})
		refused(t, err, kmserr.StoreIntegrity, home.Path+" can be written by everyone")
	})
	t.Run("its group can write", func(t *testing.T) {
		above, home := build(t)
		chmod(t, above, 0o770)
		if w := openT(t, home).Warnings(); len(w) != 1 || !strings.Contains(w[0], above) {
			t.Errorf("warnings: %q", w)
		}
		_, err := Open(home, Options{StrictPermissions: true})
		refused(t, err, kmserr.StoreIntegrity, above)
	})
	t.Run("another owner", func(t *testing.T) {
		needRoot(t, "another owner of a folder above the home")
		above, home := build(t)
		if err := os.Chown(above, 4242, -1); err != nil {
			t.Fatal(err)
		}
		_, err := Open(home, Options{})
		refused(t, err, kmserr.StoreIntegrity, above+" belongs to the user with ID 4242", "Verify as that user", "or move the store")
	})
	t.Run("nothing is made below a folder that is not safe", func(t *testing.T) {
		above, _ := build(t)
		chmod(t, above, 0o777)
		fresh := Home{Path: filepath.Join(above, "new", "home"), ChosenBy: "test"}
		_, err := OpenWriter(fresh, Options{})
		refused(t, err, kmserr.StoreIntegrity, above)
		if _, err := os.Lstat(filepath.Join(above, "new")); err == nil {
			t.Error("it was made all the same")
		}
	})
	t.Run("by way of a link", func(t *testing.T) {
		above, home := build(t)
		link := filepath.Join(filepath.Dir(above), "link")
		for _, target := range []string{home.Path, "above/middle/../middle/home"} {
			if err := os.Symlink(target, link); err != nil {
				t.Fatal(err)
			}
			s := openT(t, Home{Path: link, ChosenBy: "test"})
			if _, err := s.Resolve(ref(t, uuidA), ResolveOptions{}); err != nil {
				t.Error(explain(err))
			}
			// The way the link leads is checked, not only the link's own folder.
			chmod(t, above, 0o777)
			_, err := Open(Home{Path: link, ChosenBy: "test"}, Options{})
			refused(t, err, kmserr.StoreIntegrity, above)
			chmod(t, above, 0o700)
			if err := os.Remove(link); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("nowhere", link); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Home{Path: link, ChosenBy: "test"}, Options{})
		refused(t, err, kmserr.StoreAccess, "leads to", "nowhere")
		_, err = OpenWriter(Home{Path: link, ChosenBy: "test"}, Options{})
		refused(t, err, kmserr.StoreAccess, "leads to", "nowhere")
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("link", link); err != nil {
			t.Fatal(err)
		}
		_, err = Open(Home{Path: link, ChosenBy: "test"}, Options{})
		refused(t, err, kmserr.StoreAccess, "links")
	})
	t.Run("a link that somebody else planted in a sticky folder", func(t *testing.T) {
		needRoot(t, "a link that somebody else planted in a sticky folder")
		above, home := build(t)
		sticky := filepath.Join(filepath.Dir(above), "sticky")
		if err := os.Mkdir(sticky, 0o700); err != nil {
			t.Fatal(err)
		}
		chmod(t, sticky, 0o777|os.ModeSticky)
		link := filepath.Join(sticky, "link")
		if err := os.Symlink(home.Path, link); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Home{Path: link, ChosenBy: "test"}, Options{}); err != nil {
			t.Fatal(explain(err))
		}
		if err := os.Lchown(link, 4242, -1); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Home{Path: link, ChosenBy: "test"}, Options{})
		refused(t, err, kmserr.StoreIntegrity, link+" belongs to the user with ID 4242")
	})
}

// within fails the test if f takes longer than a lookup may: a FIFO must not hold the reader up.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}

func TestFIFOs(t *testing.T) {
	for _, rel := range []string{recordPath(arnA), "keys", "keys/aws", "keys/aws/us-east-1/111122223333"} {
		t.Run(rel, func(t *testing.T) {
			home := storeOf(t)
			path := filepath.Join(home.Path, rel)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			s := openT(t, home)
			within(t, func() {
				for _, asked := range []string{arnA.String(), uuidA} {
					_, err := s.Resolve(kmskeyRef(asked), ResolveOptions{})
					refused(t, err, kmserr.StoreIntegrity, path+" is a named pipe")
				}
				if found := problems(s); len(found) != 1 {
					t.Errorf("fsck: %+v", found)
				}
			})
		})
	}
	t.Run("as the lock", func(t *testing.T) {
		home := newHome(t)
		if err := os.Mkdir(home.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(filepath.Join(home.Path, lockFile), 0o600); err != nil {
			t.Fatal(err)
		}
		within(t, func() {
			_, err := OpenWriter(home, Options{})
			refused(t, err, kmserr.StoreIntegrity, "named pipe")
		})
	})
	t.Run("a device", func(t *testing.T) {
		needRoot(t, "a device in a record's place")
		home := storeOf(t)
		path := filepath.Join(home.Path, filepath.FromSlash(recordPath(arnA)))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|5); err != nil {
			t.Skipf("a device in a record's place is not tested: %v", err)
		}
		_, err := openT(t, home).Resolve(ref(t, uuidA), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "is a device")
	})
}

func kmskeyRef(text string) kmskey.Ref {
	r, err := kmskey.ParseRef(text)
	if err != nil {
		panic(err)
	}
	return r
}

func TestLinksInside(t *testing.T) {
	link := func(t *testing.T, home Home, target, rel string) {
		t.Helper()
		path := filepath.Join(home.Path, rel)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	key := record(t, arnA, material(t), nil)
	data, err := key.Encode()
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(newHome(t).Path, "outside")
	if err := os.MkdirAll(filepath.Join(outside, "aws/us-east-1/111122223333"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "aws/us-east-1/111122223333", uuidA+suffix), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, target, rel string }{
		{"an absolute link to a record", filepath.Join(outside, "aws/us-east-1/111122223333", uuidA+suffix), recordPath(arnA)},
		{"an absolute link to a folder", outside, "keys"},
		{"a relative link to a folder", "../../../../../../../../../../../../../../../../" + outside, "keys"},
		{"a link to the folder above the home", "..", "keys"},
		{"an absolute link that leads back", "@HOME@/real", "keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := newHome(t)
			writeFile(t, home, "real/aws/us-east-1/111122223333/"+uuidA+suffix, string(data))
			link(t, home, strings.ReplaceAll(c.target, "@HOME@", home.Path), c.rel)
			s := openT(t, home)
			_, err := s.Resolve(ref(t, arnA.String()), ResolveOptions{})
			refused(t, err, kmserr.StoreIntegrity, "leaves the store")
			// No option lets a link out.
			u, err := Open(home, Options{UnsafePermissions: true})
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			_, err = u.Resolve(ref(t, arnA.String()), ResolveOptions{})
			refused(t, err, kmserr.StoreIntegrity, "leaves the store")
		})
	}
	t.Run("a link that leads nowhere is no absent record", func(t *testing.T) {
		home := storeOf(t, record(t, mrkEast, material(t), nil))
		link(t, home, "nowhere", recordPath(mrkWest))
		s := openT(t, home)
		_, err := s.Resolve(ref(t, mrkWest.String()), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "leads to", "not there")
		if found := problems(s); len(found) != 1 {
			t.Errorf("fsck: %+v", found)
		}
	})
	t.Run("a link in a circle", func(t *testing.T) {
		home := storeOf(t)
		link(t, home, "keys", "keys")
		_, err := openT(t, home).Resolve(ref(t, arnA.String()), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "more than 40 links")
	})
	t.Run("the folder behind a link is checked", func(t *testing.T) {
		home := newHome(t)
		writeFile(t, home, "real/aws/us-east-1/111122223333/"+uuidA+suffix, string(data))
		link(t, home, "real", "keys")
		if _, err := openT(t, home).Resolve(ref(t, arnA.String()), ResolveOptions{}); err != nil {
			t.Fatal(explain(err))
		}
		chmod(t, filepath.Join(home.Path, "real"), 0o777)
		_, err := openT(t, home).Resolve(ref(t, arnA.String()), ResolveOptions{})
		refused(t, err, kmserr.StoreIntegrity, "real can be written by everyone")
	})
}

// volume lays a home out as the kubelet does a ConfigMap volume with items: a folder named by the time, a link ..data to
// it, a link for every first element of the items' paths.
func volume(t *testing.T, home Home, stamp string, files map[string]string) {
	t.Helper()
	for rel, content := range files {
		writeFile(t, home, stamp+"/"+rel, content)
		first, _, _ := strings.Cut(rel, "/")
		if err := os.Symlink("..data/"+first, filepath.Join(home.Path, first)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	next := filepath.Join(home.Path, "..data_tmp")
	if err := os.Symlink(stamp, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(home.Path, "..data")); err != nil {
		t.Fatal(err)
	}
}

func TestConfigMapVolume(t *testing.T) {
	der := material(t)
	alias := kmskey.AliasARN{Scope: east, Alias: "alias/release"}
	files := map[string]string{
		recordPath(arnA):    encoded(t, record(t, arnA, der, nil)),
		recordPath(mrkEast): encoded(t, record(t, mrkEast, der, nil)),
		aliasPath(alias):    `{"Alias":"` + alias.String() + `","TargetKeyId":"` + uuidA + `"}`,
	}
	home := newHome(t)
	volume(t, home, "..2026_11_23_11_00_00.1", files)
	s := openT(t, home)
	for _, asked := range []string{arnA.String(), uuidA, "alias/release", mrkWest.String()} {
		if _, err := s.Resolve(ref(t, asked), ResolveOptions{}); err != nil {
			t.Errorf("%s: %s", asked, explain(err))
		}
	}
	_, err := s.Resolve(ref(t, arnB.String()), ResolveOptions{})
	refused(t, err, kmserr.NotFound, arnA.String())
	for _, p := range problems(s) {
		if !p.Harmless {
			t.Errorf("fsck: %+v", p)
		}
	}

	// The volume is turned while it is read: neither a refusal nor, worse, an absent key.
	t.Run("turned", func(t *testing.T) {
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			before := "..2026_11_23_11_00_00.1"
			for i := 2; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				now := "..2026_11_23_11_00_00." + strings.Repeat("x", i%7) + string(rune('a'+i%26))
				if now == before {
					continue
				}
				volume(t, home, now, files)
				if err := os.RemoveAll(filepath.Join(home.Path, before)); err != nil {
					t.Error(err)
				}
				before = now
			}
		}()
		until := time.Now().Add(500 * time.Millisecond)
		for n := 0; time.Now().Before(until); n++ {
			if _, err := s.Resolve(ref(t, arnA.String()), ResolveOptions{}); err != nil {
				t.Errorf("look-up %d: %s", n, explain(err))
				break
			}
		}
		close(stop)
		<-done
	})
}

// The root of a ConfigMap volume has mode 0777; what keeps others from writing is its read-only mount.
func TestReadOnlyMount(t *testing.T) {
	home := storeOf(t, record(t, arnA, material(t), nil))
	chmod(t, home.Path, 0o777)
	_, err := Open(home, Options{})
	refused(t, err, kmserr.StoreIntegrity, "everyone")

	t.Run("a real one", func(t *testing.T) {
		needRoot(t, "a store that is mounted read-only")
		if err := exec.Command("mount", "--bind", home.Path, home.Path).Run(); err != nil {
			t.Skip("no mounting here: a store that is mounted read-only is not tested")
		}
		defer exec.Command("umount", home.Path).Run()
		if err := exec.Command("mount", "-o", "remount,bind,ro", home.Path).Run(); err != nil {
			t.Skip("no read-only mounting here: a store that is mounted read-only is not tested")
		}
		s, err := Open(home, Options{StrictPermissions: true})
		if err != nil {
			t.Fatal(explain(err))
		}
		defer s.Close()
		if _, err := s.Resolve(ref(t, uuidA), ResolveOptions{}); err != nil {
			t.Error(explain(err))
		}
		sound(t, s)
		_, err = OpenWriter(home, Options{})
		refused(t, err, kmserr.StoreAccess, "read-only")
	})
}

// TestUnreadableIsNotAbsent: what the user may not read is neither absent nor empty, and a block in it is not gone.
func TestUnreadableIsNotAbsent(t *testing.T) {
	home := storeOf(t, record(t, mrkEast, material(t), nil), record(t, mrkWest, material(t), nil))
	w := openWriterT(t, home)
	if _, err := w.Block(Block{KeyID: mrkWest.String()}); err != nil {
		t.Fatal(explain(err))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.Publish(t, home.Path)
	s := openT(t, home)
	resolve := func() error { _, err := s.Resolve(ref(t, mrkWest.String()), ResolveOptions{}); return err }
	blocks := func() error {
		b, err := s.Blocks([]kmskey.ARN{mrkEast}, "")
		if err == nil && len(b) != 1 {
			t.Errorf("%d blocks and no error", len(b))
		}
		return err
	}
	all := func() error {
		for _, err := range s.Files(nil) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	for _, c := range []struct {
		rel  string
		mode os.FileMode // what is left
		ask  func() error
	}{
		{recordPath(mrkWest), 0, resolve}, {"keys/aws/us-west-2/111122223333", 0, resolve}, {"keys/aws/us-west-2", 0, resolve}, {"keys/aws", 0o311, resolve},
		{blockPathOfARN(mrkWest), 0, blocks}, {scopePath(blockedARNs, west), 0, blocks}, {blockedARNs + "/aws", 0o311, blocks}, {blockedARNs, 0, blocks},
		{blockPathOfARN(mrkWest), 0, all}, {scopePath(blockedARNs, west), 0o311, all}, {blockedARNs, 0o311, all}, {blocksFolder, 0o311, all},
	} {
		path := filepath.Join(home.Path, filepath.FromSlash(c.rel))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.ask(); err != nil {
			t.Fatal(explain(err))
		}
		chmod(t, path, c.mode)
		testenv.AsNobody(t, func() {
			refused(t, c.ask(), kmserr.StoreAccess, path, "permission denied", "sudo find -H "+home.Path+" ")
		})
		chmod(t, path, info.Mode().Perm())
	}
}

// TestUnreadableFolder: the lists tell one folder that cannot be read, and what lies in the others.
func TestUnreadableFolder(t *testing.T) {
	withAlias := func(r *kmskey.Record) { r.Aliases = []string{"alias/a"} }
	home := storeOf(t, record(t, arnA, material(t), withAlias), record(t, kmskey.ARN{Scope: other, KeyID: uuidB}, material(t), withAlias),
		record(t, kmskey.ARN{Scope: west, KeyID: uuidA}, material(t), withAlias))
	testenv.Publish(t, home.Path)
	s := openT(t, home)
	for _, base := range []string{keysFolder, aliasesFolder} {
		for rel, others := range map[string]int{base + "/aws/us-west-2": 2, base + "/aws/us-east-1": 1, scopePath(base, east): 2, base + "/aws": 0} {
			chmod(t, filepath.Join(home.Path, filepath.FromSlash(rel)), 0)
			testenv.AsNobody(t, func() {
				found := 0
				var unread []error
				count := func(err error) {
					if err != nil {
						unread = append(unread, err)
					} else {
						found++
					}
				}
				if base == keysFolder {
					for _, err := range s.List() {
						count(err)
					}
				} else {
					for _, err := range s.Aliases(kmskey.Scope{}) {
						count(err)
					}
				}
				for range s.List() { // who has seen enough is given no more
					break
				}
				for range s.Aliases(kmskey.Scope{}) {
					break
				}
				if found != others || len(unread) != 1 {
					t.Errorf("%s: found %d, expected %d; %v", rel, found, others, unread)
				} else {
					refused(t, unread[0], kmserr.StoreAccess, "permission denied")
				}
				// A bare name may mean what is in there.
				bare := uuidB
				if base == aliasesFolder {
					bare = "alias/a"
				}
				if _, err := s.Resolve(ref(t, bare), ResolveOptions{}); !kmserr.Is(err, kmserr.StoreAccess) {
					t.Errorf("%s: %s means %v", rel, bare, err)
				}
			})
			chmod(t, filepath.Join(home.Path, filepath.FromSlash(rel)), 0o755)
		}
	}
}

func TestReadOnlyFolder(t *testing.T) {
	home := storeOf(t, record(t, arnA, material(t), nil))
	chmod(t, home.Path, 0o500)
	defer chmod(t, home.Path, 0o700)
	if f, err := os.Create(filepath.Join(home.Path, "x")); err == nil {
		f.Close()
		os.Remove(f.Name())
		t.Skip("this user writes everywhere: a store in a folder that it may only read is not tested")
	}
	s := openT(t, home)
	if _, err := s.Resolve(ref(t, uuidA), ResolveOptions{}); err != nil {
		t.Error(explain(err))
	}
	sound(t, s)
	for _, rel := range []string{tmpFolder, lockFile} {
		if err := os.RemoveAll(filepath.Join(home.Path, rel)); err == nil {
			t.Fatal("it can be written")
		}
	}
	w, err := OpenWriter(home, Options{}) // lock and tmp are there
	if err != nil {
		t.Fatal(explain(err))
	}
	defer w.Close()
	chmod(t, filepath.Join(home.Path, "tmp"), 0o500)
	defer chmod(t, filepath.Join(home.Path, "tmp"), 0o700)
	_, err = w.Put(record(t, arnB, material(t), nil), PutOptions{})
	refused(t, err, kmserr.StoreAccess, "cannot be written", "Run as the user")
	if errors.Is(err, ErrDisk) {
		t.Error("a missing permission is taken for the disk's fault")
	}
	below := Home{Path: filepath.Join(home.Path, "new"), ChosenBy: "test"}
	_, err = OpenWriter(below, Options{})
	refused(t, err, kmserr.StoreAccess, "cannot be made")
}

// TestLockOfEveryone: a lock that others can open, and so could hold for ever, is its writer's alone before it is waited for.
func TestLockOfEveryone(t *testing.T) {
	home := newHome(t)
	if w, err := OpenWriter(home, Options{}); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home.Path, lockFile)
	for was, want := range map[os.FileMode]os.FileMode{0o600: 0o600, 0o644: 0o600, 0o666: 0o660, 0o664: 0o660, 0o604: 0o600, 0o601: 0o600, 0o640: 0o640, 0o660: 0o660} {
		chmod(t, path, was)
		w, err := OpenWriter(home, Options{})
		if err != nil {
			t.Fatal(explain(err))
		}
		chmod(t, path, was)
		if _, err := openWriter(home, Options{}, time.Millisecond); !errors.Is(err, ErrBusy) {
			t.Errorf("beside a writer: %v", err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%04o is now %v, %v, expected %04o", was, info.Mode(), err, want)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
