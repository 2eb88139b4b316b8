package kmstest_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms/kmstest"
)

func texts[S ~string](list []S) []string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}

// TestEverySpec asks for the public key and the metadata of a key of every spec and usage.
func TestEverySpec(t *testing.T) {
	s := kmstest.Start(t)
	committed := signingKeys(t)
	ctx := context.Background()
	asked := 0
	for _, spec := range kmstest.Specs() {
		for _, usage := range kmstest.Usages(spec) {
			region := kmstest.DefaultRegion
			if spec == "SM2" {
				region = "cn-north-1"
			}
			c := client(t, s, region, "AKIAIOSFODNN7EXAMPLE")
			created := time.Date(2026, 3, 2, 9, 15, 27, 416e6, time.UTC)
			arn := s.AddKey(kmstest.Key{Spec: spec, Usage: usage, Region: region, Material: committed[spec],
				Description: "a key", Created: created})
			described, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(arn)})
			if err != nil {
				t.Fatalf("%s %s: %v", spec, usage, err)
			}
			m := described.KeyMetadata
			if string(m.KeySpec) != spec || string(m.CustomerMasterKeySpec) != spec || string(m.KeyUsage) != usage ||
				aws.ToString(m.Arn) != arn || !strings.HasSuffix(arn, "/"+aws.ToString(m.KeyId)) || !m.Enabled ||
				m.KeyState != types.KeyStateEnabled || !m.CreationDate.Equal(created) || aws.ToBool(m.MultiRegion) ||
				m.Origin != "AWS_KMS" || m.KeyManager != "CUSTOMER" || aws.ToString(m.AWSAccountId) != kmstest.DefaultAccount ||
				aws.ToString(m.Description) != "a key" || m.DeletionDate != nil || m.ValidTo != nil {
				t.Errorf("%s %s: %+v", spec, usage, m)
			}
			public, err := c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: m.KeyId})
			asked++
			if spec == "SYMMETRIC_DEFAULT" || strings.HasPrefix(spec, "HMAC") {
				wantError(t, err, "UnsupportedOperationException", "", 400)
				continue
			}
			if err != nil {
				t.Fatalf("%s %s: %v", spec, usage, err)
			}
			if aws.ToString(public.KeyId) != arn || string(public.KeySpec) != spec || string(public.KeyUsage) != usage ||
				string(public.CustomerMasterKeySpec) != spec {
				t.Errorf("%s %s: %+v", spec, usage, public)
			}
			lists := [][]string{texts(public.SigningAlgorithms), texts(public.EncryptionAlgorithms),
				texts(public.KeyAgreementAlgorithms), texts(public.EncapsulationAlgorithms)}
			if want := [][]string{texts(m.SigningAlgorithms), texts(m.EncryptionAlgorithms),
				texts(m.KeyAgreementAlgorithms), texts(m.EncapsulationAlgorithms)}; !reflect.DeepEqual(lists, want) {
				t.Errorf("%s %s: GetPublicKey lists %q, DescribeKey %q", spec, usage, lists, want)
			}
			if got := slices.DeleteFunc(lists, func(l []string) bool { return len(l) == 0 }); len(got) != 1 {
				t.Errorf("%s %s: lists of algorithms %q, want one", spec, usage, got)
			}
			again, err := kmstest.ParsePublicKey(public.PublicKey)
			if err != nil || again.Spec() != spec || !bytes.Equal(again.PublicKey(), public.PublicKey) {
				t.Errorf("%s %s: the public key is not of that spec: %v", spec, usage, err)
			}
			if m := committed[spec]; m != nil && !bytes.Equal(m.PublicKey(), public.PublicKey) {
				t.Errorf("%s %s: not the committed public key", spec, usage)
			}
			if strings.HasPrefix(spec, "RSA") || strings.HasPrefix(spec, "ECC_NIST") {
				if _, err := x509.ParsePKIXPublicKey(public.PublicKey); err != nil {
					t.Errorf("%s %s: %v", spec, usage, err)
				}
			}
		}
	}
	if want := 27; asked != want {
		t.Errorf("%d specs and usages asked for, want %d", asked, want)
	}
}

// TestCommittedPublicKeys holds the public keys against testdata's, which another program wrote.
func TestCommittedPublicKeys(t *testing.T) {
	for _, name := range []string{
		"rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521", "secp256k1", "ed25519", "sm2", "mldsa44", "mldsa65", "mldsa87",
		"mlkem768",
	} {
		if want := read(t, testdata+"/keys/"+name+".spki.der"); !bytes.Equal(material(t, name).PublicKey(), want) {
			t.Errorf("%s: the public key differs from %s.spki.der", name, name)
		}
	}
}

// TestObservedLists are the lists of algorithms of the real service, in its order.
func TestObservedLists(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	rsa := []string{"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
		"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512"}
	for name, want := range map[string][]string{
		"rsa2048": rsa, "rsa4096": rsa, "p521": {"ECDSA_SHA_512"}, "secp256k1": {"ECDSA_SHA_256"},
		"ed25519": {"ED25519_PH_SHA_512", "ED25519_SHA_512"}, "mldsa65": {"ML_DSA_SHAKE_256"},
	} {
		arn := s.AddKey(kmstest.Key{Material: material(t, name)})
		public, err := c.GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: &arn})
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(public.SigningAlgorithms); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	s := kmstest.Start(t)
	m := material(t, "p256")
	arn := s.AddKey(kmstest.Key{ID: "1234abcd-12ab-34cd-56ef-1234567890ab", Material: m, Aliases: []string{"alias/Team/release"}})
	west := s.AddKey(kmstest.Key{ID: "1234abcd-12ab-34cd-56ef-1234567890ab", Region: "us-west-2", Material: m, Aliases: []string{"alias/Team/release"}})
	other := s.AddKey(kmstest.Key{Account: "444455556666", Material: m, Aliases: []string{"alias/theirs"}})
	s.PutPredefinedAlias("us-east-1", kmstest.DefaultAccount, "alias/aws/s3")
	here, there := standard(t, s), client(t, s, "us-west-2", "AKIAIOSFODNN7EXAMPLE")
	s.SetCaller("AKIAOTHER", kmstest.Caller{Account: "444455556666"})
	theirs := client(t, s, "us-east-1", "AKIAOTHER")

	prefix := "arn:aws:kms:us-east-1:111122223333:"
	for _, test := range []struct {
		name, id      string
		client        *kms.Client
		want          string // ARN, or
		code, message string
	}{
		{name: "key ID", id: "1234abcd-12ab-34cd-56ef-1234567890ab", client: here, want: arn},
		{name: "key ID in another Region", id: "1234abcd-12ab-34cd-56ef-1234567890ab", client: there, want: west},
		{name: "key ARN", id: arn, client: here, want: arn},
		{name: "alias name", id: "alias/Team/release", client: here, want: arn},
		{name: "alias name in another Region", id: "alias/Team/release", client: there, want: west},
		{name: "alias ARN", id: prefix + "alias/Team/release", client: here, want: arn},
		{name: "another account's key ARN", id: other, client: here, want: other},
		{name: "another account's alias ARN", id: "arn:aws:kms:us-east-1:444455556666:alias/theirs", client: here, want: other},
		{name: "one's own alias in that account", id: "alias/theirs", client: theirs, want: other},

		{name: "another account's key ID", id: other[strings.LastIndex(other, "/")+1:], client: here, code: "NotFoundException",
			message: "Key '" + strings.Replace(other, "444455556666", "111122223333", 1) + "' does not exist"},
		{name: "another account's alias name", id: "alias/theirs", client: here, code: "NotFoundException",
			message: "Alias " + prefix + "alias/theirs is not found."},
		{name: "alias in other case", id: "alias/team/release", client: here, code: "NotFoundException",
			message: "Alias " + prefix + "alias/team/release is not found."},
		{name: "predefined alias", id: "alias/aws/s3", client: here, code: "NotFoundException",
			message: "Alias " + prefix + "alias/aws/s3 is not found."},
		{name: "ARN of another Region", id: west, client: here, code: "NotFoundException", message: "Invalid arn us-west-2"},
		{name: "unknown UUID", id: "00000000-12ab-34cd-56ef-1234567890ab", client: here, code: "NotFoundException",
			message: "Key '" + prefix + "key/00000000-12ab-34cd-56ef-1234567890ab' does not exist"},
		{name: "unknown mrk", id: "mrk-d3b95762d3b95762d3b95762d3b95762", client: here, code: "NotFoundException",
			message: "Key '" + prefix + "key/mrk-d3b95762d3b95762d3b95762d3b95762' does not exist"},
		{name: "not an ID", id: "fake-key-id", client: here, code: "NotFoundException", message: "Invalid keyId 'fake-key-id'"},
		{name: "UUID without dashes", id: "134f2428cec14b25a1ae9048164dba47", client: here, code: "NotFoundException",
			message: "Invalid keyId '134f2428cec14b25a1ae9048164dba47'"},
		{name: "ARN of something else", id: "arn:aws:s3:::bucket", client: here, code: "InvalidArnException",
			message: "Invalid arn arn:aws:s3:::bucket"},
		{name: "ARN of a grant", id: prefix + "grant/x", client: here, code: "InvalidArnException",
			message: "Invalid arn " + prefix + "grant/x"},
		{name: "too long", id: strings.Repeat("x", 2049), client: here, code: "ValidationException",
			message: "1 validation error detected: Value '" + strings.Repeat("x", 2049) +
				"' at 'keyId' failed to satisfy constraint: Member must have length less than or equal to 2048"},
		{name: "empty", id: "", client: here, code: "ValidationException",
			message: "1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			public, err := test.client.GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: &test.id})
			described, err2 := test.client.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: &test.id})
			if test.code != "" {
				wantError(t, err, test.code, test.message, 400)
				wantError(t, err2, test.code, test.message, 400)
				return
			}
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if *public.KeyId != test.want || *described.KeyMetadata.Arn != test.want {
				t.Errorf("got %s and %s, want %s", *public.KeyId, *described.KeyMetadata.Arn, test.want)
			}
		})
	}

	_, err := here.ListAliases(context.Background(), &kms.ListAliasesInput{KeyId: &other})
	wantError(t, err, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/tester is not authorized to perform: kms:ListAliases on resource: "+
		other+" because no identity-based policy allows the kms:ListAliases action", 400)
	_, err = here.ListAliases(context.Background(), &kms.ListAliasesInput{KeyId: aws.String("alias/Team/release")})
	wantError(t, err, "InvalidArnException", "Key Aliases are not supported for this operation.", 400)
}

func TestStates(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	deletion := time.Date(2026, 12, 24, 0, 0, 0, 5e6, time.UTC)
	for _, test := range []struct {
		state       kmstest.State
		public      string // error code of GetPublicKey
		sign        string // error code of Sign and Verify
		text        string
		wantDate    bool
		wantWindow  int32
		wantEnabled bool
	}{
		{state: kmstest.State{}, wantEnabled: true},
		{state: kmstest.State{Name: "Enabled"}, wantEnabled: true},
		{state: kmstest.State{Name: "Updating"}},
		{state: kmstest.State{Name: "Disabled"}, sign: "DisabledException", text: "disabled"},
		{state: kmstest.State{Name: "PendingDeletion", DeletionDate: deletion}, public: "KMSInvalidStateException",
			sign: "KMSInvalidStateException", text: "pending deletion", wantDate: true},
		{state: kmstest.State{Name: "PendingReplicaDeletion", PendingWindowInDays: 7}, public: "KMSInvalidStateException",
			sign: "KMSInvalidStateException", text: "pending replica deletion", wantWindow: 7},
		{state: kmstest.State{Name: "PendingImport"}, public: "KMSInvalidStateException", sign: "KMSInvalidStateException", text: "pending import"},
		{state: kmstest.State{Name: "Unavailable"}, public: "KMSInvalidStateException", sign: "KMSInvalidStateException", text: "unavailable"},
		{state: kmstest.State{Name: "Creating"}, public: "KMSInvalidStateException", sign: "KMSInvalidStateException", text: "creating"},
		{state: kmstest.State{Name: "Hibernating"}, public: "KMSInvalidStateException", sign: "KMSInvalidStateException", text: "in state Hibernating"},
	} {
		t.Run(test.state.Name, func(t *testing.T) {
			s.SetState(arn, kmstest.State{})
			signed, err := c.Sign(context.Background(), signInput(arn, "ECDSA_SHA_256", "RAW", []byte("m")))
			if err != nil {
				t.Fatal(err)
			}
			s.SetState(arn, test.state)
			message := arn + " is " + test.text + "."
			described, err := c.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: &arn})
			if err != nil {
				t.Fatal(err)
			}
			m := described.KeyMetadata
			if want := cmp.Or(test.state.Name, "Enabled"); string(m.KeyState) != want || m.Enabled != test.wantEnabled {
				t.Errorf("KeyState %s, Enabled %t; want %s, %t", m.KeyState, m.Enabled, want, test.wantEnabled)
			}
			if got := m.DeletionDate != nil; got != test.wantDate || got && !m.DeletionDate.Equal(deletion) {
				t.Errorf("DeletionDate %v", m.DeletionDate)
			}
			if aws.ToInt32(m.PendingDeletionWindowInDays) != test.wantWindow {
				t.Errorf("PendingDeletionWindowInDays %d", aws.ToInt32(m.PendingDeletionWindowInDays))
			}
			_, publicErr := c.GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: &arn})
			_, signErr := c.Sign(context.Background(), signInput(arn, "ECDSA_SHA_256", "RAW", []byte("m")))
			_, verifyErr := c.Verify(context.Background(), verifyInput(arn, "ECDSA_SHA_256", "RAW", []byte("m"), signed.Signature))
			for _, answer := range []struct {
				err  error
				code string
			}{{publicErr, test.public}, {signErr, test.sign}, {verifyErr, test.sign}} {
				if answer.code != "" {
					wantError(t, answer.err, answer.code, message, 400)
				} else if answer.err != nil {
					t.Error(answer.err)
				}
			}
		})
	}

	external := s.AddKey(kmstest.Key{Material: material(t, "p256"), Origin: "EXTERNAL", State: kmstest.State{ValidTo: deletion}})
	described, err := c.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: &external})
	if err != nil {
		t.Fatal(err)
	}
	if m := described.KeyMetadata; m.ExpirationModel != "KEY_MATERIAL_EXPIRES" || m.ValidTo == nil || !m.ValidTo.Equal(deletion) || !m.Enabled {
		t.Errorf("imported key material: %+v", m)
	}
}

func TestMultiRegion(t *testing.T) {
	s := kmstest.Start(t)
	arn := s.AddKey(kmstest.Key{MultiRegion: true, Replicas: []string{"eu-west-1", "ap-southeast-2"}, Material: material(t, "p256-mrk"),
		Aliases: []string{"alias/everywhere"}})
	if !strings.HasPrefix(arn, "arn:aws:kms:us-east-1:111122223333:key/mrk-") {
		t.Fatal(arn)
	}
	s.SetState(kmstest.InRegion(arn, "eu-west-1"), kmstest.State{Name: "Disabled"})
	want := map[string]string{"us-east-1": "PRIMARY Enabled", "eu-west-1": "REPLICA Disabled", "ap-southeast-2": "REPLICA Enabled"}
	check := func(primary string, replicas int) {
		t.Helper()
		for region, want := range want {
			c := client(t, s, region, "AKIAIOSFODNN7EXAMPLE")
			id := arn[strings.LastIndex(arn, "/")+1:]
			described, err := c.DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: &id})
			if err != nil {
				t.Fatal(err)
			}
			m := described.KeyMetadata
			config := m.MultiRegionConfiguration
			if !aws.ToBool(m.MultiRegion) || *m.Arn != kmstest.InRegion(arn, region) || config == nil {
				t.Fatalf("%s: %+v", region, m)
			}
			if got := fmt.Sprintf("%s %s", config.MultiRegionKeyType, m.KeyState); got != want {
				t.Errorf("%s: %s, want %s", region, got, want)
			}
			if *config.PrimaryKey.Arn != kmstest.InRegion(arn, primary) || *config.PrimaryKey.Region != primary || len(config.ReplicaKeys) != replicas {
				t.Errorf("%s: %+v", region, config)
			}
			public, err := c.GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: &id})
			if err != nil || !bytes.Equal(public.PublicKey, material(t, "p256-mrk").PublicKey()) || *public.KeyId != *m.Arn {
				t.Errorf("%s: %v", region, err)
			}
		}
	}
	check("us-east-1", 2)
	// Aliases are each Region's own.
	_, err := client(t, s, "eu-west-1", "AKIA").GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: aws.String("alias/everywhere")})
	wantError(t, err, "NotFoundException", "Alias arn:aws:kms:eu-west-1:111122223333:alias/everywhere is not found.", 400)

	s.SetPrimary(arn, "eu-west-1")
	want = map[string]string{"us-east-1": "REPLICA Enabled", "eu-west-1": "PRIMARY Disabled", "ap-southeast-2": "REPLICA Enabled"}
	check("eu-west-1", 2)
	s.RemoveKey(kmstest.InRegion(arn, "ap-southeast-2"))
	delete(want, "ap-southeast-2")
	check("eu-west-1", 1)
}

func TestListKeys(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	empty, err := c.ListKeys(context.Background(), &kms.ListKeysInput{})
	if err != nil || len(empty.Keys) != 0 || empty.Truncated || empty.NextMarker != nil {
		t.Fatalf("%+v %v", empty, err)
	}
	arns := s.AddKeys(250, kmstest.Key{Material: material(t, "p256")})
	s.AddKeys(3, kmstest.Key{Material: material(t, "p256"), Region: "eu-west-1"})
	s.AddKeys(3, kmstest.Key{Material: material(t, "p256"), Account: "444455556666"})
	arns = append(arns, s.AddKey(kmstest.Key{Spec: "SYMMETRIC_DEFAULT"}), s.AddKey(kmstest.Key{Spec: "HMAC_256"}))

	list := func(limit *int32, removeDuring string) (pages int, got []string) {
		t.Helper()
		p := kms.NewListKeysPaginator(c, &kms.ListKeysInput{Limit: limit})
		for p.HasMorePages() {
			page, err := p.NextPage(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if page.Truncated != (page.NextMarker != nil) {
				t.Errorf("Truncated %t, NextMarker %v", page.Truncated, page.NextMarker)
			}
			for _, k := range page.Keys {
				if !strings.HasSuffix(*k.KeyArn, ":key/"+*k.KeyId) {
					t.Errorf("%s, %s", *k.KeyArn, *k.KeyId)
				}
				got = append(got, *k.KeyArn)
			}
			if pages++; pages == 1 && removeDuring != "" {
				s.RemoveKey(removeDuring)
			}
		}
		return pages, got
	}
	for _, test := range []struct {
		limit *int32
		pages int
	}{{nil, 3}, {aws.Int32(1000), 1}, {aws.Int32(252), 1}, {aws.Int32(251), 2}, {aws.Int32(1), 252}} {
		if pages, got := list(test.limit, ""); pages != test.pages || !slices.Equal(got, arns) {
			t.Errorf("limit %d: %d keys in %d pages, want %d in %d", aws.ToInt32(test.limit), len(got), pages, len(arns), test.pages)
		}
	}
	s.SetPageSize(7)
	if pages, got := list(nil, ""); pages != 36 || !slices.Equal(got, arns) {
		t.Errorf("page size 7: %d keys in %d pages", len(got), pages)
	}
	// A key that goes while a client lists makes it miss no other.
	if _, got := list(nil, arns[3]); !slices.Equal(got, arns) {
		t.Errorf("removed behind the marker: %d keys", len(got))
	}
	without := slices.Delete(slices.Clone(arns), 3, 4)
	if _, got := list(nil, arns[200]); !slices.Equal(got, slices.Delete(slices.Clone(without), 199, 200)) {
		t.Errorf("removed before the marker: %d keys", len(got))
	}
	s.SetPageSize(0)

	for limit, message := range map[int32]string{
		0:    "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
		1001: "Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000",
	} {
		_, err := c.ListKeys(context.Background(), &kms.ListKeysInput{Limit: &limit})
		wantError(t, err, "ValidationException", "1 validation error detected: "+message, 400)
	}
	aliases, err := c.ListAliases(context.Background(), &kms.ListAliasesInput{})
	if err != nil || len(aliases.Aliases) != 0 {
		t.Fatal(aliases, err)
	}
	for _, marker := range []string{"nonsense", "!", "TGlzdEFsaWFzZXM6MQ"} { // the last: a marker of ListAliases
		_, err := c.ListKeys(context.Background(), &kms.ListKeysInput{Marker: &marker})
		wantError(t, err, "InvalidMarkerException", "Could not deserialize marker", 400)
	}
}

func TestAliases(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	ctx := context.Background()
	m := material(t, "p256")
	one := s.AddKey(kmstest.Key{Material: m, Aliases: []string{"alias/a", "alias/b", "alias/c"}})
	two := s.AddKey(kmstest.Key{Material: m})
	s.PutPredefinedAlias("us-east-1", kmstest.DefaultAccount, "alias/aws/s3")
	list := func(key string, limit int32) (names []string) {
		t.Helper()
		input := &kms.ListAliasesInput{Limit: &limit}
		if key != "" {
			input.KeyId = &key
		}
		p := kms.NewListAliasesPaginator(c, input)
		for p.HasMorePages() {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Aliases) > int(limit) {
				t.Errorf("%d aliases in a page of %d", len(page.Aliases), limit)
			}
			for _, a := range page.Aliases {
				if *a.AliasArn != "arn:aws:kms:us-east-1:111122223333:"+*a.AliasName {
					t.Errorf("%s, %s", *a.AliasArn, *a.AliasName)
				}
				if predefined := a.TargetKeyId == nil; predefined != (a.CreationDate == nil) || predefined != (*a.AliasName == "alias/aws/s3") {
					t.Errorf("%+v", a)
				}
				if key != "" && *a.TargetKeyId != key[strings.LastIndex(key, "/")+1:] {
					t.Errorf("%s has %s, not %s", *a.AliasName, *a.TargetKeyId, key)
				}
				names = append(names, *a.AliasName)
			}
		}
		return names
	}
	same := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for limit := int32(1); limit < 6; limit++ {
		same(list("", limit), "alias/a", "alias/b", "alias/c", "alias/aws/s3")
		same(list(one, limit), "alias/a", "alias/b", "alias/c")
		same(list(two, limit))
	}
	resolved := func(name, want string) {
		t.Helper()
		public, err := c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &name})
		if err != nil || *public.KeyId != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	resolved("alias/b", one)
	s.PutAlias("alias/b", two) // moves
	s.PutAlias("alias/d", two) // creates
	resolved("alias/b", two)
	same(list(one, 10), "alias/a", "alias/c")
	same(list(two, 10), "alias/b", "alias/d")
	s.RemoveAlias("arn:aws:kms:us-east-1:111122223333:alias/b")
	same(list("", 10), "alias/a", "alias/c", "alias/aws/s3", "alias/d")
	_, err := c.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: aws.String("alias/b")})
	wantError(t, err, "NotFoundException", "Alias arn:aws:kms:us-east-1:111122223333:alias/b is not found.", 400)
	s.RemoveKey(one)
	same(list("", 10), "alias/aws/s3", "alias/d")
	_, err = c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &one})
	wantError(t, err, "NotFoundException", "Key '"+one+"' does not exist", 400)
}

func TestTags(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	tags := []kmstest.Tag{{TagKey: "team", TagValue: "release"}, {TagKey: "stage", TagValue: "prod"}, {TagKey: "empty"}}
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256"), Tags: tags})
	bare := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	for _, limit := range []int32{1, 2, 50} {
		var got []kmstest.Tag
		p := kms.NewListResourceTagsPaginator(c, &kms.ListResourceTagsInput{KeyId: &arn, Limit: &limit})
		for p.HasMorePages() {
			page, err := p.NextPage(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, tag := range page.Tags {
				got = append(got, kmstest.Tag{TagKey: *tag.TagKey, TagValue: *tag.TagValue})
			}
		}
		if !slices.Equal(got, tags) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	page, err := c.ListResourceTags(context.Background(), &kms.ListResourceTagsInput{KeyId: &bare})
	if err != nil || page.Tags == nil || len(page.Tags) != 0 {
		t.Errorf("%+v %v", page, err)
	}
	_, err = c.ListResourceTags(context.Background(), &kms.ListResourceTagsInput{KeyId: &arn, Limit: aws.Int32(51)})
	wantError(t, err, "ValidationException",
		"1 validation error detected: Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50", 400)
}

func TestReplaceMaterial(t *testing.T) {
	s := kmstest.Start(t)
	c := standard(t, s)
	arn := s.AddKey(kmstest.Key{Material: material(t, "p256")})
	s.ReplaceMaterial(arn, material(t, "p256-other"))
	public, err := c.GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: &arn})
	if err != nil || *public.KeyId != arn || !bytes.Equal(public.PublicKey, material(t, "p256-other").PublicKey()) {
		t.Errorf("%v", err)
	}
}

// TestLoad answers for the committed records.
func TestLoad(t *testing.T) {
	s := kmstest.Start(t)
	arns, err := s.Load(testdata)
	if err != nil {
		t.Fatal(err)
	}
	if len(arns) != 19 {
		t.Errorf("%d keys, want 19", len(arns))
	}
	for name, arn := range arns {
		region := strings.Split(arn, ":")[3]
		c := client(t, s, region, "AKIAIOSFODNN7EXAMPLE")
		public, err := c.GetPublicKey(context.Background(), &kms.GetPublicKeyInput{KeyId: &arn})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		file, _, _ := strings.Cut(name, ".")
		if !bytes.Equal(public.PublicKey, read(t, testdata+"/keys/"+file+".spki.der")) {
			t.Errorf("%s: another public key", name)
		}
	}
	described, err := standard(t, s).DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: aws.String(arns["p256-disabled"])})
	if err != nil || described.KeyMetadata.KeyState != "Disabled" {
		t.Errorf("%v", err)
	}
	described, err = standard(t, s).DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: aws.String(arns["p256-mrk.us-east-1"])})
	if err != nil || described.KeyMetadata.MultiRegionConfiguration.MultiRegionKeyType != "PRIMARY" ||
		*described.KeyMetadata.MultiRegionConfiguration.ReplicaKeys[0].Arn != arns["p256-mrk.eu-west-1"] {
		t.Errorf("%+v %v", described, err)
	}
	// Two forms of time.
	for _, name := range []string{"p256", "rsa2048"} {
		described, err := standard(t, s).DescribeKey(context.Background(), &kms.DescribeKeyInput{KeyId: aws.String(arns[name])})
		if err != nil || described.KeyMetadata.CreationDate.UTC().Format(time.RFC3339Nano) != "2026-03-02T09:15:27.416Z" {
			t.Errorf("%s: %v %v", name, described.KeyMetadata.CreationDate, err)
		}
	}
	if _, err := kmstest.New().Load(t.TempDir()); err == nil {
		t.Error("an empty folder was loaded")
	}
}

func signInput(key, algorithm, messageType string, message []byte) *kms.SignInput {
	return &kms.SignInput{KeyId: &key, SigningAlgorithm: types.SigningAlgorithmSpec(algorithm),
		MessageType: types.MessageType(messageType), Message: message}
}

func verifyInput(key, algorithm, messageType string, message, signature []byte) *kms.VerifyInput {
	return &kms.VerifyInput{KeyId: &key, SigningAlgorithm: types.SigningAlgorithmSpec(algorithm),
		MessageType: types.MessageType(messageType), Message: message, Signature: signature}
}
