package verifier

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

func TestAuthorizeKey(t *testing.T) {
	p256, rsa := signerOf(kmskey.ECCNISTP256), signerOf(kmskey.RSA2048)
	other := newSigner(kmskey.ECCNISTP256)
	for name, c := range map[string]struct {
		key   *kmskey.Key
		rules *policy.Rules
		req   KeyRequest
		name  kmserr.Name // empty: authorized
		says  []string
	}{
		"match":                        {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, PublicKey: p256.der}},
		"match with algorithm":         {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, PublicKey: p256.der, SigningAlgorithm: kmskey.ECDSASHA256}},
		"nothing to compare":           {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA}},
		"an empty public key":          {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, PublicKey: []byte{}}, name: kmserr.Validation, says: []string{"public key to compare is empty", "WithoutPublicKey"}},
		"another key":                  {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, PublicKey: other.der}, name: kmserr.KeyMaterialMismatch, says: []string{hexSHA256(other.der), hexSHA256(p256.der), arnA}},
		"another spec":                 {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, PublicKey: rsa.der}, name: kmserr.KeyMaterialMismatch, says: []string{"RSA_2048", "ECC_NIST_P256"}},
		"no public key":                {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, PublicKey: []byte("x")}, name: kmserr.Validation},
		"a public key and more":        {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, PublicKey: append(bytes.Clone(p256.der), 0)}, name: kmserr.Validation},
		"identifier":                   {key: record(t, arnA, p256), req: KeyRequest{KeyID: "*"}, name: kmserr.Validation},
		"absent":                       {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnB, PublicKey: p256.der}, name: kmserr.NotFound},
		"mismatch comes first":         {key: record(t, arnA, p256, state(kmskey.StateDisabled)), rules: &policy.Rules{Excluded: "is excluded"}, req: KeyRequest{KeyID: arnA, PublicKey: other.der}, name: kmserr.KeyMaterialMismatch},
		"usage":                        {key: record(t, arnA, rsa, usage(kmskey.EncryptDecrypt)), req: KeyRequest{KeyID: arnA, PublicKey: rsa.der}, name: kmserr.InvalidKeyUsage},
		"usage, state separate":        {key: record(t, arnA, rsa, usage(kmskey.EncryptDecrypt)), req: KeyRequest{KeyID: arnA, PublicKey: rsa.der, SeparateState: true}, name: kmserr.InvalidKeyUsage},
		"algorithm unknown":            {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, SigningAlgorithm: "RS256"}, name: kmserr.Validation},
		"algorithm of another spec":    {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, SigningAlgorithm: kmskey.ECDSASHA384}, name: kmserr.InvalidKeyUsage},
		"record narrowed":              {key: record(t, arnA, rsa, algorithms(kmskey.RSASSAPKCS1SHA256)), req: KeyRequest{KeyID: arnA, SigningAlgorithm: kmskey.RSASSAPSSSHA256}, name: kmserr.InvalidKeyUsage},
		"record of the future":         {key: record(t, arnA, p256, algorithms("NEW")), req: KeyRequest{KeyID: arnA}, name: kmserr.AlgorithmNotAllowed},
		"policy, algorithm":            {key: record(t, arnA, rsa), rules: &policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.RSASSAPSSSHA256}}, req: KeyRequest{KeyID: arnA, SigningAlgorithm: kmskey.RSASSAPSSSHA512}, name: kmserr.AlgorithmNotAllowed},
		"policy, no algorithm left":    {key: record(t, arnA, p256), rules: &policy.Rules{SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.SM2DSA}}, req: KeyRequest{KeyID: arnA}, name: kmserr.AlgorithmNotAllowed, says: []string{"no signing algorithm is permitted"}},
		"policy, a message":            {key: record(t, arnA, p256), rules: &policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Raw}}, req: KeyRequest{KeyID: arnA, MessageType: kmskey.Raw}},
		"policy, no message":           {key: record(t, arnA, p256), rules: &policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Digest}}, req: KeyRequest{KeyID: arnA, MessageType: kmskey.Raw, SeparateState: true}, name: kmserr.AlgorithmNotAllowed, says: []string{"message type RAW", "DIGEST"}},
		"policy, some message type":    {key: record(t, arnA, p256), rules: &policy.Rules{MessageTypes: []kmskey.MessageType{kmskey.Digest}}, req: KeyRequest{KeyID: arnA}},
		"policy, no message type left": {key: record(t, arnA, p256), rules: &policy.Rules{MessageTypes: []kmskey.MessageType{}}, req: KeyRequest{KeyID: arnA}, name: kmserr.AlgorithmNotAllowed, says: []string{"no message type is permitted"}},
		"message type unknown":         {key: record(t, arnA, p256), req: KeyRequest{KeyID: arnA, MessageType: "raw"}, name: kmserr.Validation, says: []string{`"raw"`}},
		"policy, excluded":             {key: record(t, arnA, p256), rules: &policy.Rules{Excluded: "is excluded"}, req: KeyRequest{KeyID: arnA, SeparateState: true}, name: kmserr.KeyNotAllowed},
		"policy, not after":            {key: record(t, arnA, p256), rules: &policy.Rules{NotAfter: time.Unix(1, 0)}, req: KeyRequest{KeyID: arnA, SeparateState: true, RevocationSkipped: true}, name: kmserr.OutsideValidity},
		"policy, not before, skipped":  {key: record(t, arnA, p256), rules: &policy.Rules{NotBefore: at("2030-01-01T00:00:00Z").Time, IgnoreStateWhenRevocationSkipped: true}, req: KeyRequest{KeyID: arnA, RevocationSkipped: true}, name: kmserr.OutsideValidity},
		"state":                        {key: record(t, arnA, p256, state(kmskey.StateDisabled)), req: KeyRequest{KeyID: arnA, PublicKey: p256.der}, name: kmserr.Disabled},
		"state, revocation skipped":    {key: record(t, arnA, p256, state(kmskey.StateDisabled)), req: KeyRequest{KeyID: arnA, PublicKey: p256.der, RevocationSkipped: true}, name: kmserr.Disabled, says: []string{"which fails the identity, because the trust policy skips revocation"}},
		"age, revocation skipped":      {key: record(t, arnA, p256), rules: &policy.Rules{MaxSnapshotAge: time.Hour}, req: KeyRequest{KeyID: arnA, PublicKey: p256.der, RevocationSkipped: true}, name: kmserr.SnapshotExpired, says: []string{"which fails the identity, because the trust policy skips revocation"}},
		"state, separate, but fatal":   {key: record(t, arnA, p256, state(kmskey.StateDisabled)), rules: &policy.Rules{StateFailsIdentity: true}, req: KeyRequest{KeyID: arnA, SeparateState: true}, name: kmserr.Disabled, says: []string{"which fails the identity, because the policy says stateFailsIdentity"}},
		"age, separate, but fatal":     {key: record(t, arnA, p256), rules: &policy.Rules{StateFailsIdentity: true, MaxSnapshotAge: time.Hour}, req: KeyRequest{KeyID: arnA, SeparateState: true}, name: kmserr.SnapshotExpired, says: []string{"which fails the identity, because the policy says stateFailsIdentity"}},
		"skipped, ignored, but fatal":  {key: record(t, arnA, p256, state(kmskey.StateDisabled)), rules: &policy.Rules{StateFailsIdentity: true, IgnoreStateWhenRevocationSkipped: true}, req: KeyRequest{KeyID: arnA, RevocationSkipped: true}, name: kmserr.Disabled, says: []string{"which fails the identity, because the policy says stateFailsIdentity"}},
		"ignored, but nothing skipped": {key: record(t, arnA, p256, state(kmskey.StateDisabled)), rules: &policy.Rules{IgnoreStateWhenRevocationSkipped: true}, req: KeyRequest{KeyID: arnA}, name: kmserr.Disabled},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.key)
			if c.rules != nil {
				w.rules(*c.rules)
			}
			a, err := w.authorize(t, c.req)
			if c.name != "" {
				refused(t, err, c.name, c.says...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.ARN().String() != arnA || !bytes.Equal(a.PublicKeyDER(), p256.der) || a.StateError() != nil || a.Decision().KeyARN != arnA {
				t.Errorf("got %s, %v, %+v", a.ARN(), a.StateError(), a.Decision())
			}
		})
	}
}

// Whoever failed to read a public key must not be told that it is that key's.
func TestNoPublicKeyIsNoYes(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	w := newWorld(t, record(t, arnA, p256))
	for name, req := range map[string]KeyRequest{
		"nothing": {KeyID: arnA}, "an empty one": {KeyID: arnA, PublicKey: []byte{}},
		"one, and none": {KeyID: arnA, PublicKey: p256.der, WithoutPublicKey: true},
	} {
		a, err := w.v.AuthorizeKey(t.Context(), req)
		if a != nil || !kmserr.Is(err, kmserr.Validation) || kmserr.As(err).Hint == "" {
			t.Errorf("%s: %v, %v", name, a, err)
		}
		if line := w.log.lines[len(w.log.lines)-1]; line.Verified || line.Asked != arnA {
			t.Errorf("%s: the log says %+v", name, line)
		}
	}
}

// TestOrderOfAuthorizeKey is TestOrder for the other question.
func TestOrderOfAuthorizeKey(t *testing.T) {
	rsa := signerOf(kmskey.RSA2048)
	w := newWorld(t)
	rules := policy.Rules{Excluded: "is excluded", NotAfter: at("2026-11-02T00:00:00Z").Time, MaxSnapshotAge: 24 * time.Hour,
		SigningAlgorithms: []kmskey.SigningAlgorithm{kmskey.RSASSAPSSSHA512}}
	w.rules(rules)
	req := KeyRequest{KeyID: "nothing", PublicKey: newSigner(kmskey.ECCNISTP256).der, SigningAlgorithm: kmskey.ECDSASHA256}
	expect := func(name kmserr.Name, says string) {
		t.Helper()
		_, err := w.authorize(t, req)
		refused(t, err, name, says)
	}
	put := func(edits ...edit) {
		w.write(t, func(writer *keystore.Writer) error {
			if _, err := writer.Remove(must(kmskey.ParseRef(arnA))); err != nil && !kmserr.Is(err, kmserr.NotFound) {
				return err
			}
			_, err := writer.Put(record(t, arnA, rsa, edits...), keystore.PutOptions{})
			return err
		})
	}
	expect(kmserr.Validation, "four forms")
	req.KeyID = arnA
	expect(kmserr.NotFound, arnA)
	put(state(kmskey.StateDisabled), seen("2026-11-01T00:00:00Z"), usage(kmskey.EncryptDecrypt))
	w.block(t, keystore.Block{KeyID: arnA})
	expect(kmserr.KeyMaterialMismatch, "is not that of")
	req.PublicKey = rsa.der
	expect(kmserr.KeyBlocked, "blocked")
	w.write(t, func(writer *keystore.Writer) error {
		_, err := writer.Unblock(must(kmskey.ParseARN(arnA)), hexSHA256(rsa.der))
		return err
	})
	expect(kmserr.KeyNotAllowed, "is excluded")
	rules.Excluded = ""
	w.rules(rules)
	expect(kmserr.OutsideValidity, "2026-11-02")
	rules.NotAfter = time.Time{}
	w.rules(rules)
	expect(kmserr.Disabled, "disabled")
	put(state(kmskey.StateEnabled), seen("2026-11-01T00:00:00Z"), usage(kmskey.EncryptDecrypt))
	expect(kmserr.SnapshotExpired, "2026-11-01")
	rules.MaxSnapshotAge = 0
	w.rules(rules)
	expect(kmserr.InvalidKeyUsage, "ENCRYPT_DECRYPT")
	put(state(kmskey.StateEnabled), algorithms(kmskey.RSASSAPSSSHA256))
	expect(kmserr.InvalidKeyUsage, "Algorithm ECDSA_SHA_256 is incompatible")
	req.SigningAlgorithm = kmskey.RSASSAPSSSHA256
	expect(kmserr.AlgorithmNotAllowed, "RSASSA_PSS_SHA_256")
	rules.SigningAlgorithms = nil
	w.rules(rules)
	w.log.err, w.log.required = errors.New("disk full"), true
	expect(kmserr.AuditUnavailable, "disk full")
	w.log.err = nil
	if _, err := w.authorize(t, req); err != nil {
		t.Fatal(err)
	}
}

// TestStateApart: two questions are answered from one reading.
func TestStateApart(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	for name, c := range map[string]struct {
		key   *kmskey.Key
		rules policy.Rules
		req   KeyRequest
		state kmserr.Name
	}{
		"sound":                       {key: record(t, arnA, p256, state(kmskey.StateEnabled)), req: KeyRequest{SeparateState: true}},
		"Disabled":                    {key: record(t, arnA, p256, state(kmskey.StateDisabled)), req: KeyRequest{SeparateState: true}, state: kmserr.Disabled},
		"to be deleted":               {key: record(t, arnA, p256, state(kmskey.StatePendingDeletion)), req: KeyRequest{SeparateState: true}, state: kmserr.KMSInvalidState},
		"too old":                     {key: record(t, arnA, p256, seen("2026-01-01T00:00:00Z")), rules: policy.Rules{MaxSnapshotAge: time.Hour}, req: KeyRequest{SeparateState: true}, state: kmserr.SnapshotExpired},
		"clock back":                  {key: record(t, arnA, p256, seen("2027-01-01T00:00:00Z")), rules: policy.Rules{MaxSnapshotAge: time.Hour}, req: KeyRequest{SeparateState: true}, state: kmserr.Clock},
		"unknown, demanded":           {key: record(t, arnA, p256), rules: policy.Rules{RequireKnownState: true}, req: KeyRequest{SeparateState: true}, state: kmserr.KMSInvalidState},
		"skipped and ignored":         {key: record(t, arnA, p256, state(kmskey.StateDisabled)), rules: policy.Rules{IgnoreStateWhenRevocationSkipped: true}, req: KeyRequest{RevocationSkipped: true}, state: kmserr.Disabled},
		"skipped and ignored, Enable": {key: record(t, arnA, p256, state(kmskey.StateEnabled)), rules: policy.Rules{IgnoreStateWhenRevocationSkipped: true}, req: KeyRequest{RevocationSkipped: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.key)
			w.rules(c.rules)
			c.req.KeyID, c.req.PublicKey = arnA, p256.der
			a, err := w.authorize(t, c.req)
			if err != nil {
				t.Fatal(err)
			}
			if c.state == "" {
				if a.StateError() != nil {
					t.Error(a.StateError())
				}
				return
			}
			refused(t, a.StateError(), c.state)
			if kmserr.As(a.StateError()).KeyARN != arnA {
				t.Errorf("the state's refusal is about %q", kmserr.As(a.StateError()).KeyARN)
			}
			if !strings.Contains(strings.Join(a.Decision().Warnings, "\n"), kmserr.As(a.StateError()).Fact) {
				t.Errorf("the line does not say why: %q", a.Decision().Warnings)
			}
		})
	}
}

// A refusal by state says why it fails the identity where the caller has another check for it, and only there.
func TestWhyStateFailsTheIdentity(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	const skipped, fatal = ", which fails the identity, because the trust policy skips revocation", ", which fails the identity, because the policy says stateFailsIdentity"
	for name, c := range map[string]struct {
		rules policy.Rules
		req   KeyRequest
		ends  string
	}{
		"one check":                   {policy.Rules{}, KeyRequest{}, ""},
		"one check, fatal":            {policy.Rules{StateFailsIdentity: true}, KeyRequest{}, ""},
		"one check, ignored":          {policy.Rules{IgnoreStateWhenRevocationSkipped: true}, KeyRequest{}, ""},
		"skipped":                     {policy.Rules{}, KeyRequest{RevocationSkipped: true}, skipped},
		"skipped, fatal":              {policy.Rules{StateFailsIdentity: true}, KeyRequest{RevocationSkipped: true}, skipped},
		"skipped, ignored, fatal":     {policy.Rules{StateFailsIdentity: true, IgnoreStateWhenRevocationSkipped: true}, KeyRequest{RevocationSkipped: true}, fatal},
		"separate, fatal":             {policy.Rules{StateFailsIdentity: true}, KeyRequest{SeparateState: true}, fatal},
		"separate and skipped, fatal": {policy.Rules{StateFailsIdentity: true}, KeyRequest{SeparateState: true, RevocationSkipped: true}, fatal},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, record(t, arnA, p256, state(kmskey.StateDisabled)))
			w.rules(c.rules)
			c.req.KeyID, c.req.PublicKey = arnA, p256.der
			_, err := w.authorize(t, c.req)
			refused(t, err, kmserr.Disabled)
			if fact := kmserr.As(err).Fact; !strings.HasSuffix(fact, c.ends) || c.ends == "" && strings.Contains(fact, "identity") {
				t.Error(fact)
			}
		})
	}
}

// One of several rules takes the separation back for all.
func TestStateApartByFallback(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	w := newWorld(t, record(t, mrkEast, p256, state(kmskey.StateDisabled)))
	w.policy.rules = func(s policy.Subject) (policy.Rules, error) {
		return policy.Rules{StateFailsIdentity: s.ARN.String() == mrkEast}, nil
	}
	_, err := w.authorize(t, KeyRequest{KeyID: mrkWest, PublicKey: p256.der, SeparateState: true})
	refused(t, err, kmserr.Disabled, mrkEast)
	w.rules(policy.Rules{})
	a, err := w.authorize(t, KeyRequest{KeyID: mrkWest, PublicKey: p256.der, SeparateState: true})
	if err != nil || a.ARN().String() != mrkWest || !a.Decision().Fallback {
		t.Fatalf("%v, %+v", err, a.Decision())
	}
	refused(t, a.StateError(), kmserr.Disabled)
}

func TestAuthorizedIsImmutable(t *testing.T) {
	p256 := signerOf(kmskey.ECCNISTP256)
	w := newWorld(t, record(t, arnA, p256))
	a, err := w.authorize(t, KeyRequest{KeyID: arnA})
	if err != nil {
		t.Fatal(err)
	}
	a.PublicKeyDER()[0] = 0
	if !bytes.Equal(a.PublicKeyDER(), p256.der) {
		t.Error("the public key can be changed from outside")
	}
}

// TestAuthorizeKeySM2Options: what Verify refuses of the SM2 options, AuthorizeKey refuses too, and the line tells the others.
func TestAuthorizeKeySM2Options(t *testing.T) {
	p256, s := signerOf(kmskey.ECCNISTP256), signerOf(kmskey.SM2)
	long := strings.Repeat("x", 32)
	for name, c := range map[string]struct {
		key     *kmskey.Key
		rules   policy.Rules
		req     KeyRequest
		options string
		name    kmserr.Name // empty: authorized
		says    string
	}{
		"none":                     {key: record(t, arnA, s)},
		"an ID":                    {key: record(t, arnA, s), req: KeyRequest{DistinguishingID: did("me")}, options: "distinguishing-id=me"},
		"an empty ID":              {key: record(t, arnA, s), req: KeyRequest{DistinguishingID: did("")}, options: `distinguishing-id=""`},
		"the default":              {key: record(t, arnA, s), req: KeyRequest{DistinguishingID: did(kmskey.DefaultDistinguishingID)}},
		"the record's":             {key: record(t, arnA, s, distinguishing("its")), options: "distinguishing-id=its"},
		"pinned":                   {key: record(t, arnA, s), rules: policy.Rules{DistinguishingID: did("pinned")}, req: KeyRequest{DistinguishingID: did("pinned")}, options: "distinguishing-id=pinned"},
		"pinned, none given":       {key: record(t, arnA, s), rules: policy.Rules{DistinguishingID: did("pinned")}, options: "distinguishing-id=pinned"},
		"another than the pinned":  {key: record(t, arnA, s), rules: policy.Rules{DistinguishingID: did("pinned")}, req: KeyRequest{DistinguishingID: did("me")}, options: "distinguishing-id=me", name: kmserr.Validation, says: "pinned"},
		"pinned, and a digest":     {key: record(t, arnA, s), rules: policy.Rules{DistinguishingID: did("pinned")}, req: KeyRequest{MessageType: kmskey.Digest}, name: kmserr.AlgorithmNotAllowed, says: "does not show"},
		"an ID beside a digest":    {key: record(t, arnA, s), req: KeyRequest{MessageType: kmskey.Digest, DistinguishingID: did("me")}, options: "distinguishing-id=me", name: kmserr.Validation, says: "holds its ID already"},
		"the helper's rule":        {key: record(t, arnA, s), rules: policy.Rules{AllowJavaHelperENTL: true}, req: KeyRequest{DistinguishingID: did(long), ENTL: kmskey.ENTLAWSJavaHelper}, options: "distinguishing-id=" + long + " sm2-entl=aws-java-helper"},
		"the rule is not allowed":  {key: record(t, arnA, s), req: KeyRequest{ENTL: kmskey.ENTLAWSJavaHelper}, options: "sm2-entl=aws-java-helper", name: kmserr.AlgorithmNotAllowed, says: "not allowed by the policy"},
		"an ID for P-256":          {key: record(t, arnA, p256), req: KeyRequest{DistinguishingID: did("me")}, options: "distinguishing-id=me", name: kmserr.Validation, says: "for SM2 keys"},
		"a rule for P-256":         {key: record(t, arnA, p256), req: KeyRequest{ENTL: kmskey.ENTLAWSJavaHelper}, options: "sm2-entl=aws-java-helper", name: kmserr.Validation, says: "for SM2 keys"},
		"the algorithm goes first": {key: record(t, arnA, p256), req: KeyRequest{SigningAlgorithm: kmskey.SM2DSA, DistinguishingID: did("me")}, options: "distinguishing-id=me", name: kmserr.InvalidKeyUsage, says: "incompatible"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.key)
			w.rules(c.rules)
			c.req.KeyID = arnA
			_, err := w.authorize(t, c.req)
			if c.name != "" {
				refused(t, err, c.name, c.says)
			} else if err != nil {
				t.Error(err)
			}
			if got := strings.Join(w.log.lines[0].OptionTexts(), " "); got != c.options {
				t.Errorf("the line has the options %q, expected %q", got, c.options)
			}
		})
	}
}

// SM2 keys match under either spelling of their algorithm.
func TestAuthorizeSM2UnderBothIdentifiers(t *testing.T) {
	s := signerOf(kmskey.SM2)
	w := newWorld(t, record(t, arnA, s))
	other := spkiDER([]int{1, 2, 156, 10197, 1, 301}, []byte{5, 0}, s.der[len(s.der)-65:])
	if bytes.Equal(other, s.der) {
		t.Fatal("no other spelling")
	}
	_, first := w.authorize(t, KeyRequest{KeyID: arnA, PublicKey: s.der})
	_, second := w.authorize(t, KeyRequest{KeyID: arnA, PublicKey: other})
	if err := errors.Join(first, second); err != nil {
		t.Error(err)
	}
}
