package verifier

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// readings asks the kernel how often each file under a folder is opened while body runs, by its path from the folder.
func readings(t *testing.T, folder string, body func()) map[string]int {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Skipf("no inotify here: how often a file is opened is not tested: %v", err)
	}
	defer unix.Close(fd)
	watched := map[int32]string{}
	if err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		wd, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN)
		watched[int32(wd)] = path
		return err
	}); err != nil {
		t.Skipf("no inotify here: how often a file is opened is not tested: %v", err)
	}
	body()
	opened := map[string]int{}
	buffer := make([]byte, 1<<20) // the kernel's queue is shorter
	for {
		n, err := unix.Read(fd, buffer)
		if err != nil { // nothing is left
			return opened
		}
		for rest := buffer[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			event := (*unix.InotifyEvent)(unsafe.Pointer(&rest[0]))
			name := rest[unix.SizeofInotifyEvent : unix.SizeofInotifyEvent+event.Len]
			rest = rest[unix.SizeofInotifyEvent+event.Len:]
			if event.Mask&unix.IN_Q_OVERFLOW != 0 {
				t.Fatal("there were more than the kernel keeps")
			}
			if event.Mask&unix.IN_ISDIR == 0 {
				rel, err := filepath.Rel(folder, filepath.Join(watched[event.Wd], string(bytes.TrimRight(name, "\x00"))))
				if err != nil {
					t.Fatal(err)
				}
				opened[rel]++
			}
		}
	}
}

// TestOneReading: a decision opens each record, alias, block and policy that it rests on once, and its line names each of
// them.
func TestOneReading(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	path := func(arn string) string {
		a := must(kmskey.ParseARN(arn))
		return filepath.Join("keys", a.Partition, a.Region, a.Account, a.KeyID+".json")
	}
	const alias, other, file = "aliases/aws/us-east-1/111122223333/release.json", "aliases/aws/us-east-1/111122223333/other.json", "policy.json"
	aliasOther := aliasNamed("other").String()
	for name, c := range map[string]struct {
		req     func(then *signer) Request
		policy  string
		block   *keystore.Block
		reads   []string
		unnamed []string // of those the ones on which the answer does not rest
		blocks  int
		refused kmserr.Name
	}{
		"by ARN":   {req: func(*signer) Request { return good(arnNow) }, reads: []string{path(arnNow)}},
		"by alias": {req: func(*signer) Request { return good("alias/release") }, reads: []string{path(arnNow), alias}},
		"by alias, which a grant names too": {
			req:    func(*signer) Request { return good(aliasA) },
			policy: `,"allowList":true,"grants":[{"name":"alias","keys":["` + aliasA + `"],"verify":true}]`,
			reads:  []string{path(arnNow), alias},
		},
		"by ARN, under an alias's grant": {
			req:    func(*signer) Request { return good(arnNow) },
			policy: `,"allowList":true,"grants":[{"name":"alias","keys":["` + aliasA + `"],"verify":true}]`,
			reads:  []string{path(arnNow), alias},
		},
		"by replicas": {req: func(*signer) Request { return good(mrkWest) }, reads: []string{path(mrkEast), path(mrkEU)}},
		"by history": {
			req: func(then *signer) Request {
				return request("alias/release", then, kmskey.RSASSAPKCS1SHA256, []byte("message"))
			},
			policy: `,"grants":[{"name":"history","keys":["` + aliasA + `"],"aliasHistory":"any"}]`,
			reads:  []string{path(arnNow), path(arnThen), alias}, unnamed: []string{path(arnNow)},
		},
		"by history, which another alias's grant gives": {
			req: func(then *signer) Request {
				return request("alias/release", then, kmskey.RSASSAPKCS1SHA256, []byte("message"))
			},
			policy: `,"allowList":true,"grants":[{"name":"history","keys":["` + aliasA + `"],"aliasHistory":"any"},{"name":"other","keys":["` + aliasOther + `"],"verify":true}]`,
			reads:  []string{path(arnNow), path(arnThen), alias, other}, unnamed: []string{path(arnNow)},
		},
		"blocked": {req: func(*signer) Request { return good(arnNow) }, block: &keystore.Block{KeyID: arnNow, PublicKeySHA256: hexSHA256(p256.der), Reason: "lost"}, reads: []string{path(arnNow)}, blocks: 2, refused: kmserr.KeyBlocked},
	} {
		t.Run(name, func(t *testing.T) {
			then := newSigner(kmskey.RSA2048)
			old, now := record(t, arnThen, then), record(t, arnNow, p256)
			w := newWorld(t, old, now, record(t, mrkEast, p256), record(t, mrkEU, p256))
			w.alias(t, old, at("2026-01-01T00:00:00Z"))
			w.write(t, func(writer *keystore.Writer) error {
				if _, err := writer.Put(old, keystore.PutOptions{Aliases: []string{"alias/other"}, AliasTime: at("2026-06-01T00:00:00Z")}); err != nil {
					return err
				}
				_, err := writer.Put(now, keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: at("2026-06-01T00:00:00Z"), MoveAlias: true})
				return err
			})
			if c.block != nil {
				w.block(t, *c.block)
			}
			if err := os.WriteFile(filepath.Join(w.home.Path, file), []byte(`{"version":"1","log":{"mode":"off"}`+c.policy+`}`), 0o600); err != nil {
				t.Fatal(err)
			}
			v := opened(t, w.home.Path)
			v.live.cfg.Log = w.log
			v.live.cfg.Now = func() time.Time { return w.now }
			req := c.req(then)
			var err error
			got := readings(t, w.home.Path, func() { _, err = v.Verify(t.Context(), req) })
			if (err != nil) != (c.refused != "") || err != nil && !kmserr.Is(err, c.refused) {
				t.Fatal(err)
			}
			want, blocks := map[string]int{file: 1}, 0
			for _, path := range c.reads {
				want[path] = 1
			}
			maps.DeleteFunc(got, func(path string, n int) bool {
				isBlock := strings.HasPrefix(path, "blocks")
				if isBlock && n != 1 {
					t.Errorf("%s was opened %d times", path, n)
				}
				if isBlock {
					blocks++
				}
				return isBlock
			})
			if !maps.Equal(got, want) || blocks != c.blocks {
				t.Errorf("opened were %v and %d blocks, expected %v and %d", got, blocks, want, c.blocks)
			}
			named := map[string]int{}
			for _, f := range w.log.lines[len(w.log.lines)-1].Files {
				rel, err := filepath.Rel(w.home.Path, f.Path)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(rel, "blocks") {
					named[rel]++
				}
			}
			for _, path := range c.unnamed {
				delete(want, path)
			}
			if !maps.Equal(named, want) {
				t.Errorf("the line names %v, expected %v", named, want)
			}
		})
	}
}
