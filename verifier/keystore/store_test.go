package keystore

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

func TestResolveFourForms(t *testing.T) {
	home := newHome(t)
	w := openWriterT(t, home)
	key := record(t, arnA, material(t), nil)
	put(t, w, key, PutOptions{Aliases: []string{"alias/release"}, AliasTime: at(t, "2026-01-02T03:04:05Z")})
	put(t, w, record(t, kmskey.ARN{Scope: other, KeyID: uuidB}, material(t), nil), PutOptions{})
	s := openT(t, home)
	sound(t, s)
	alias := kmskey.AliasARN{Scope: east, Alias: "alias/release"}
	for _, asked := range []string{arnA.String(), uuidA, alias.String(), "alias/release"} {
		t.Run(asked, func(t *testing.T) {
			r, err := s.Resolve(ref(t, asked), ResolveOptions{})
			if err != nil {
				t.Fatal(explain(err))
			}
			if r.Asked != ref(t, asked) || r.Target != arnA || r.Fallback || len(r.Entries) != 1 {
				t.Fatalf("got %+v", r)
			}
			e := r.Entries[0]
			data, err := os.ReadFile(e.Path)
			if err != nil {
				t.Fatal(err)
			}
			if e.Key.ARN() != arnA || !bytes.Equal(e.Key.PublicKeyDER(), key.PublicKeyDER()) || e.SHA256 != hexSHA256(data) {
				t.Errorf("got %+v", e)
			}
			if strings.Contains(asked, "alias/") != (r.Alias != nil) {
				t.Fatalf("alias: %+v", r.Alias)
			}
			if r.Alias != nil && (r.Alias.ARN != alias || r.Alias.TargetKeyID != uuidA || !r.Alias.Time.Equal(at(t, "2026-01-02T03:04:05Z").Time) ||
				r.Alias.Path != filepath.Join(home.Path, "aliases/aws/us-east-1/111122223333/release.json") || !isFingerprint(r.Alias.SHA256)) {
				t.Errorf("got %+v", r.Alias)
			}
		})
	}
	if len(s.Warnings()) != 0 {
		t.Errorf("warnings: %q", s.Warnings())
	}
}

func TestResolveAbsent(t *testing.T) {
	key := record(t, arnA, material(t), func(r *kmskey.Record) { r.Aliases = []string{"alias/release"} })
	s := openT(t, storeOf(t, key))
	near := strings.Replace(uuidA, "1234abcd-12", "1234abcd-13", 1)
	for _, c := range []struct {
		asked string
		holds []string
	}{
		{arnB.String(), []string{arnA.String(), "keys import"}},
		{kmskey.ARN{Scope: east, KeyID: near}.String(), []string{"Is " + arnA.String() + " meant?"}},
		{near, []string{"Is " + uuidA + " meant?", arnA.String()}},
		{kmskey.ARN{Scope: west, KeyID: uuidA}.String(), []string{"which has it as " + arnA.String()}},
		{kmskey.ARN{Scope: china, KeyID: uuidB}.String(), []string{"other accounts or Regions"}},
		{"alias/Release", []string{"Is alias/release meant?", "alias/release"}},
		{kmskey.AliasARN{Scope: west, Alias: "alias/release"}.String(), []string{"which has it as arn:aws:kms:us-east-1"}},
		{kmskey.AliasARN{Scope: east, Alias: "alias/releases"}.String(), []string{"Is arn:aws:kms:us-east-1:111122223333:alias/release meant?"}},
		{"alias/quite-another", []string{"which holds arn:aws:kms:us-east-1:111122223333:alias/release"}},
	} {
		t.Run(c.asked, func(t *testing.T) {
			r, err := s.Resolve(ref(t, c.asked), ResolveOptions{})
			if r != nil {
				t.Fatalf("got %+v", r)
			}
			refused(t, err, kmserr.NotFound, c.holds...)
			if got := kmserr.As(err).KeyARN; got != c.asked {
				t.Errorf("KeyARN is %q", got)
			}
		})
	}
	empty := openT(t, storeOf(t))
	_, err := empty.Resolve(ref(t, uuidA), ResolveOptions{})
	refused(t, err, kmserr.NotFound, "holds no keys")
	_, err = empty.Resolve(kmskey.Ref{}, ResolveOptions{})
	refused(t, err, kmserr.Validation)
}
