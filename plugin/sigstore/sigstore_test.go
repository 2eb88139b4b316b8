package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"

	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

var update = flag.Bool("update", false, "write the golden files")

var message = []byte("the message\n")

// The spec decides the algorithm; hashFunc decides only RSA's hash.
func TestVerifyBySpec(t *testing.T) {
	names := []string{"rsa2048", "rsa4096", "p256", "p384", "p521", "ed25519", "mldsa65"}
	keys := make(map[string]string)
	var all []*kmskey.Key
	for _, name := range names {
		key := known(t, name)
		all, keys[name] = append(all, key), key.ARN().String()
	}
	newHome(t, all...)
	hash := func(n int) func(object) object {
		return func(o object) object {
			return o.edit("initOptions", func(o object) object { return o.with("hashFunc", n) })
		}
	}
	for _, c := range []struct {
		key     string
		option  string
		signed  kmskey.SigningAlgorithm
		edit    func(object) object
		refusal string
	}{
		{key: "p256", signed: kmskey.ECDSASHA256},
		{key: "p384", signed: kmskey.ECDSASHA384},
		{key: "p384", signed: kmskey.ECDSASHA384, edit: hash(6)},
		{key: "p384", signed: kmskey.ECDSASHA256, refusal: "KMSInvalidSignatureException"},
		{key: "p521", signed: kmskey.ECDSASHA512},
		{key: "mldsa65", signed: kmskey.MLDSASHAKE256},
		{key: "ed25519", signed: kmskey.ED25519SHA512},
		{key: "ed25519", option: "?signing-algorithm=ED25519_PH_SHA_512", signed: kmskey.ED25519SHA512, refusal: "KMSInvalidSignatureException"},
		{key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA256},
		{key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA384, edit: hash(6)},
		{key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA512, edit: hash(7)},
		{key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA512, edit: func(o object) object {
			return o.edit("verifySignature/verifyOptions/messageOptions", func(o object) object { return o.with("hashFunc", 7) })
		}},
		{key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA512, refusal: "KMSInvalidSignatureException"},
		{key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA256, edit: hash(4), refusal: "no signing algorithm is given, and a key of spec RSA_2048 has several"},
		{key: "rsa2048", signed: kmskey.RSASSAPKCS1SHA256, edit: hash(0), refusal: "no signing algorithm is given"},
		{key: "rsa2048", signed: kmskey.RSASSAPSSSHA256, refusal: "with RSASSA_PKCS1_V1_5_SHA_256"},
		{key: "rsa2048", option: "?signing-algorithm=RSASSA_PSS_SHA_256", signed: kmskey.RSASSAPSSSHA256},
		{key: "rsa4096", option: "?signing-algorithm=RSASSA_PSS_SHA_512", signed: kmskey.RSASSAPSSSHA512},
		{key: "rsa4096", option: "?signing-algorithm=ECDSA_SHA_256", signed: kmskey.RSASSAPSSSHA512, refusal: "is incompatible with key spec RSA_4096"},
		{key: "p256", option: "?distinguishing-id=x", signed: kmskey.ECDSASHA256, refusal: "a distinguishing ID is for SM2 keys"},
	} {
		t.Run(c.key+c.option+" "+string(c.signed), func(t *testing.T) {
			signature := sign(t, c.key, c.signed, message)
			call := verifyCall("/"+keys[c.key]+c.option, signature)
			if c.edit != nil {
				call = c.edit(call)
			}
			if c.refusal != "" {
				refused(t, call.text(), message, c.refusal)
				return
			}
			stderr := verified(t, call.text(), message)
			given := "option: signing-algorithm=" + string(c.signed) + "\n"
			if strings.Count(stderr, "option: ") != strings.Count(stderr, given) || strings.Contains(stderr, given) != (c.option != "") {
				t.Errorf("the algorithm is told as %q", stderr)
			}
			refused(t, call.text(), append([]byte("x"), message...), "KMSInvalidSignatureException")
			signature[len(signature)-1] ^= 1
			refused(t, call.edit("verifySignature", func(o object) object { return o.with("signature", signature) }).text(), message, "KMSInvalidSignatureException")
		})
	}
}

// TestNotes: a yes says what it rests on, and an answer by an alias is as old as the alias.
func TestNotes(t *testing.T) {
	key := known(t, "p256")
	home := newHome(t, key)
	signature := sign(t, "p256", kmskey.ECDSASHA256, message)
	for _, c := range []struct {
		alias kmskey.Time
		says  string
	}{
		{kmskey.Time{}, "from a snapshot without a date"},
		{must(kmskey.ParseTime("2026-01-02T03:04:05Z")), "as of 2026-01-02"},
		{must(kmskey.ParseTime("2026-11-23T23:00:00Z")), "as of 2026-11-23"},
	} {
		write(t, home, func(w *keystore.Writer) error {
			_, err := w.Put(key, keystore.PutOptions{Aliases: []string{"alias/release"}, AliasTime: c.alias})
			return err
		})
		want := "awskms-offline: key: " + key.ARN().String() + " (alias/release), " + c.says + ", source file, key state Enabled\n"
		if stderr := verified(t, verifyCall("/alias/release", signature).text(), message); stderr != want {
			t.Errorf("got %q, expected %q", stderr, want)
		}
		call := newCall("/alias/release?signing-algorithm=ECDSA_SHA_256", "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}})
		if _, _, stderr := run(t, nil, "v1", call.text()); stderr != want+"awskms-offline: option: signing-algorithm=ECDSA_SHA_256\n" {
			t.Errorf("publicKey says %q", stderr)
		}
	}
}

// TestOptionsOfPublicKey: a reference whose options are refused for a signature gives no key either.
func TestOptionsOfPublicKey(t *testing.T) {
	home := newHome(t, known(t, "p256"), known(t, "sm2"))
	sm2 := known(t, "sm2").ARN().String()
	policy := must(json.Marshal(object{"version": "1", "restrictions": []object{{"name": "pin", "keys": []string{sm2}, "distinguishingId": "pinned"}}}))
	ask := func(reference string) (refusal, stderr string) {
		_, refusal, stderr = run(t, nil, "v1", newCall(reference, "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).text())
		return refusal, stderr
	}
	p256 := known(t, "p256").ARN().String()
	for reference, says := range map[string]string{
		p256 + "?distinguishing-id=x":      "a distinguishing ID is for SM2 keys",
		p256 + "?sm2-entl=aws-java-helper": "a distinguishing ID is for SM2 keys",
		p256 + "?signing-algorithm=SM2DSA": "incompatible",
	} {
		if refusal, _ := ask(reference); !strings.Contains(refusal, says) {
			t.Errorf("%s: %q", reference, refusal)
		}
	}
	if refusal, stderr := ask(sm2 + "?distinguishing-id=x"); refusal != "" || !strings.Contains(stderr, "option: distinguishing-id=x\n") {
		t.Errorf("%q, %q", refusal, stderr)
	}
	if err := os.WriteFile(filepath.Join(home, "policy.json"), policy, 0o600); err != nil {
		t.Fatal(err)
	}
	if refusal, _ := ask(sm2 + "?distinguishing-id=x"); !strings.Contains(refusal, "ValidationException") || !strings.Contains(refusal, "pinned") {
		t.Errorf("%q", refusal)
	}
	if refusal, stderr := ask(sm2); refusal != "" || !strings.Contains(stderr, "option: distinguishing-id=pinned\n") {
		t.Errorf("%q, %q", refusal, stderr)
	}
}

func TestVerifySM2(t *testing.T) {
	home := newHome(t, known(t, "sm2"))
	arn := known(t, "sm2").ARN().String()
	dir := filepath.Join(testdata, "sm2")
	message := must(os.ReadFile(filepath.Join(dir, "message.txt")))
	signature := must(os.ReadFile(filepath.Join(dir, "signature.der")))
	id := strings.TrimSpace(string(must(os.ReadFile(filepath.Join(dir, "distinguishing-id.txt")))))
	verified(t, verifyCall(arn+"?distinguishing-id="+id, signature).text(), message)
	if stderr := verified(t, verifyCall(arn+"?distinguishing-id="+id+"&sm2-entl=standard", signature).text(), message); !strings.Contains(stderr, Scheme+": option: distinguishing-id="+id+"\n") || strings.Contains(stderr, "sm2-entl") {
		t.Errorf("the option is not told: %q", stderr)
	}
	refused(t, verifyCall(arn, signature).text(), message, "KMSInvalidSignatureException")
	refused(t, verifyCall(arn+"?distinguishing-id="+id+"x", signature).text(), message, "KMSInvalidSignatureException")

	// The record's own ID stands where the caller gives none.
	write(t, home, func(w *keystore.Writer) error {
		_, err := w.Remove(must(kmskey.ParseRef(arn)))
		if err != nil {
			return err
		}
		_, err = w.Put(known(t, "sm2", func(r *kmskey.Record) { r.DistinguishingID = &id }), keystore.PutOptions{})
		return err
	})
	verified(t, verifyCall(arn, signature).text(), message)
}

func digestCall(key string, signature, digest []byte) object {
	return verifyCall(key, signature).edit("verifySignature/verifyOptions/messageOptions", func(o object) object { return o.with("digest", digest) })
}

func TestVerifyDigest(t *testing.T) {
	newHome(t, known(t, "rsa2048"), known(t, "p256"), known(t, "p384"), known(t, "ed25519"), known(t, "mldsa65"), known(t, "sm2"))
	short, long := sha256.Sum256(message), sha512.Sum512(message)
	arn := func(name string) string { return known(t, name).ARN().String() }
	p256 := sign(t, "p256", kmskey.ECDSASHA256, message)
	verified(t, digestCall(arn("p256"), p256, short[:]).text(), nil)
	verified(t, digestCall(arn("rsa2048"), sign(t, "rsa2048", kmskey.RSASSAPKCS1SHA256, message), short[:]).text(), nil)
	for name, c := range map[string]struct {
		call object
		says string
	}{
		"junk behind":    {digestCall(arn("p256"), p256, append(short[:], 0)), "it is 33 bytes long, expected exactly 32"},
		"empty":          {digestCall(arn("p256"), p256, []byte{}), "it is 0 bytes long"},
		"wrong length":   {digestCall(arn("p384"), sign(t, "p384", kmskey.ECDSASHA384, message), short[:]), "it is 32 bytes long, expected exactly 48"},
		"pure Ed25519":   {digestCall(arn("ed25519"), sign(t, "ed25519", kmskey.ED25519SHA512, message), long[:]), "ED25519_SHA_512 signs the message itself"},
		"ML-DSA":         {digestCall(arn("mldsa65"), sign(t, "mldsa65", kmskey.MLDSASHAKE256, message), short[:]), "ML-DSA signs a digest that has the key in it"},
		"SM2":            {digestCall(arn("sm2"), p256, short[:]), "SM2 signs a digest that has the key and the distinguishing ID in it"},
		"SM2 with an ID": {digestCall(arn("sm2")+"?distinguishing-id=x", p256, short[:]), "SM2 signs a digest"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.call.text(), nil, c.says, "ValidationException") })
	}
	t.Run("nothing", func(t *testing.T) {
		empty := sign(t, "p256", kmskey.ECDSASHA256, nil)
		refused(t, verifyCall(arn("p256"), empty).text(), nil, "the message on standard input is empty")
	})
	t.Run("and a message", func(t *testing.T) {
		refused(t, digestCall(arn("p256"), p256, short[:]).text(), message, "and a message is on standard input too")
	})
}

// Every guard of the one door speaks through the plugin, for both questions.
func TestGuards(t *testing.T) {
	home := newHome(t, known(t, "p256"), known(t, "p256-disabled"), known(t, "rsa2048-encrypt"), known(t, "p256-other"), known(t, "ed25519"))
	arn := func(name string) string { return known(t, name).ARN().String() }
	write(t, home, func(w *keystore.Writer) error {
		_, err := w.Block(keystore.Block{KeyID: arn("p256-other"), Reason: "incident 4711"})
		return err
	})
	signature := sign(t, "p256", kmskey.ECDSASHA256, message)
	for name, c := range map[string]struct{ key, says string }{
		"disabled":  {arn("p256-disabled"), "DisabledException"},
		"usage":     {arn("rsa2048-encrypt"), "InvalidKeyUsageException"},
		"blocked":   {arn("p256-other"), "KeyBlockedException"},
		"absent":    {"alias/none", "NotFoundException"},
		"no form":   {"nonsense", "ValidationException"},
		"algorithm": {arn("p256") + "?signing-algorithm=ECDSA_SHA_384", "incompatible"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, verifyCall(c.key, signature).text(), message, c.says)
			refused(t, newCall(c.key, "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).text(), nil, c.says)
		})
	}
	if stderr := verified(t, verifyCall(arn("ed25519"), sign(t, "ed25519", kmskey.ED25519SHA512, message)).text(), message); !strings.Contains(stderr, "warning: the key state of") {
		t.Errorf("an unknown key state is not told: %q", stderr)
	}
}

func TestPublicKey(t *testing.T) {
	names := []string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384", "p521", "ed25519", "secp256k1", "mldsa44", "mldsa65", "mldsa87", "sm2"}
	if len(names) != len(signingSpecs()) {
		t.Fatalf("%d specs can sign, and %d keys are tried", len(signingSpecs()), len(names))
	}
	var keys []*kmskey.Key
	for _, name := range names {
		keys = append(keys, known(t, name))
	}
	newHome(t, keys...)
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			answer, refusal, stderr := run(t, nil, "v1", newCall(keys[i].ARN().String(), "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).text())
			if refusal != "" {
				t.Fatal(refusal)
			}
			var got common.PublicKeyResp
			if err := json.Unmarshal(answer["publicKey"], &got); err != nil {
				t.Fatal(err)
			}
			block, rest := pem.Decode(got.PublicKeyPEM)
			if block == nil || len(rest) > 0 || block.Type != "PUBLIC KEY" || !bytes.Equal(block.Bytes, keys[i].PublicKeyDER()) {
				t.Errorf("got %q", got.PublicKeyPEM)
			}
			_, err := x509.ParsePKIXPublicKey(block.Bytes) // what cosign calls
			if told := strings.Count(stderr, "cosign itself cannot read a public key of spec "+string(keys[i].Spec())+","); told != map[bool]int{true: 1}[err != nil] {
				t.Errorf("crypto/x509 says %v, standard error %q", err, stderr)
			}
		})
	}
}

func TestOtherMethods(t *testing.T) {
	t.Setenv(keystore.EnvHome, filepath.Join(t.TempDir(), "none")) // none of them needs a store
	answer, refusal, _ := run(t, nil, "v1", newCall("alias/a", "supportedAlgorithms", object{}).text())
	if refusal != "" || !strings.Contains(string(answer["supportedAlgorithms"]), `"SM2"`) || strings.Contains(string(answer["supportedAlgorithms"]), "ML_KEM") {
		t.Errorf("answered %s, %s", answer, refusal)
	}
	answer, refusal, _ = run(t, nil, "v1", newCall("alias/a", "defaultAlgorithm", object{}).text())
	if refusal != "" || string(answer["defaultAlgorithm"]) != `{"defaultAlgorithm":"ECC_NIST_P256"}` {
		t.Errorf("answered %s, %s", answer, refusal)
	}
	refused(t, newCall("alias/a", "createKey", object{"algorithm": "ECC_NIST_P256"}).text(), nil, "UnsupportedOperationException", "cannot create keys", "aws kms create-key")
	refused(t, newCall("alias/a", "signMessage", object{"signOptions": object{}}).text(), message, "cannot sign", "awskms:///alias/a", "aws kms sign")
}

// Whatever is wrong with a call is a refusal, in words that name it.
func TestCallsThatAreNone(t *testing.T) {
	newHome(t, known(t, "p256"))
	arn := known(t, "p256").ARN().String()
	good := verifyCall(arn, sign(t, "p256", kmskey.ECDSASHA256, message))
	verified(t, good.text(), message)

	at := func(path, name string, value any) string {
		return good.edit(path, func(o object) object { return o.with(name, value) }).text()
	}
	without := func(path, name string) string {
		return good.edit(path, func(o object) object { return o.without(name) }).text()
	}
	const options = "verifySignature/verifyOptions"
	for name, c := range map[string]struct{ call, says string }{
		"empty":                     {"", "is empty"},
		"null":                      {"null", "is not a JSON object"},
		"array":                     {"[]", "is not a JSON object"},
		"garbage":                   {"{", "the request"},
		"two objects":               {good.text() + "{}", "more data"},
		"junk behind":               {good.text() + "x", "more data"},
		"duplicate":                 {strings.Replace(good.text(), `"methodName"`, `"methodName":"publicKey","methodName"`, 1), "methodName"},
		"letter case":               {strings.Replace(good.text(), `"methodName"`, `"MethodName":"publicKey","methodName"`, 1), "letter case"},
		"invalid UTF-8":             {strings.Replace(good.text(), "verifyOptions", "verify\xff", 1), "the request"},
		"no initOptions":            {without("", "initOptions"), "/initOptions"},
		"initOptions null":          {at("", "initOptions", nil), "/initOptions"},
		"no protocolVersion":        {without("initOptions", "protocolVersion"), "/initOptions/protocolVersion"},
		"protocolVersion v2":        {at("initOptions", "protocolVersion", "v2"), `protocolVersion is "v2", expected "v1"`},
		"protocolVersion empty":     {at("initOptions", "protocolVersion", ""), `expected "v1"`},
		"no keyResourceID":          {without("initOptions", "keyResourceID"), "/initOptions/keyResourceID"},
		"keyResourceID null":        {at("initOptions", "keyResourceID", nil), "/initOptions/keyResourceID"},
		"keyResourceID empty":       {at("initOptions", "keyResourceID", ""), "names no key"},
		"no hashFunc":               {without("initOptions", "hashFunc"), "/initOptions/hashFunc"},
		"hashFunc text":             {at("initOptions", "hashFunc", "SHA256"), "/initOptions/hashFunc"},
		"no rpcOptions":             {without("initOptions", "rpcOptions"), "/initOptions/rpcOptions"},
		"rpcOptions null":           {at("initOptions", "rpcOptions", nil), "/initOptions/rpcOptions"},
		"keyVersion":                {at("initOptions/rpcOptions", "keyVersion", "1"), "KMS keys have no versions"},
		"keyVersion of the call":    {at(options+"/rpcOptions", "keyVersion", "1"), "KMS keys have no versions"},
		"remote":                    {at("initOptions/rpcOptions", "remoteVerification", true), "calls nobody"},
		"remote of the call":        {at(options+"/rpcOptions", "remoteVerification", true), "calls nobody"},
		"deadline past":             {at("initOptions", "ctxDeadline", "2020-01-01T00:00:00Z"), "the context that the client was made with ended at 2020-01-01T00:00:00Z (initOptions.ctxDeadline)"},
		"deadline past, of the RPC": {at(options+"/rpcOptions", "ctxDeadline", "2020-01-01T00:00:00Z"), "is past"},
		"deadline zero":             {at("initOptions", "ctxDeadline", "0001-01-01T00:00:00Z"), "ended at 0001-01-01T00:00:00Z"},
		"deadline null":             {at("initOptions", "ctxDeadline", nil), "/initOptions/ctxDeadline"},
		"deadline no time":          {at("initOptions", "ctxDeadline", "soon"), "/initOptions/ctxDeadline"},
		"no methodName":             {without("", "methodName"), "/methodName"},
		"methodName unknown":        {at("", "methodName", "verify"), `methodName is "verify", which this plugin does not know`},
		"methodName empty":          {at("", "methodName", ""), "which this plugin does not know"},
		"methodName of another":     {at("", "methodName", "publicKey"), "no member of that name"},
		"two methods":               {at("", "supportedAlgorithms", object{}), "there are arguments of supportedAlgorithms too"},
		"no arguments":              {without("", "verifySignature"), "no member of that name"},
		"arguments null":            {at("", "verifySignature", nil), "/verifySignature"},
		"no signature":              {without("verifySignature", "signature"), "/verifySignature/signature"},
		"signature null":            {at("verifySignature", "signature", nil), "/verifySignature/signature"},
		"signature empty":           {at("verifySignature", "signature", ""), "Exception: the signature"},
		"signature no base64":       {at("verifySignature", "signature", "!"), "/verifySignature/signature"},
		"signature long":            {at("verifySignature", "signature", make([]byte, 100_000)), "Exception: the signature"},
		"no verifyOptions":          {without("verifySignature", "verifyOptions"), "/verifySignature/verifyOptions"},
		"verifyOptions null":        {at("verifySignature", "verifyOptions", nil), "/verifySignature/verifyOptions"},
		"no messageOptions":         {without(options, "messageOptions"), "/messageOptions"},
		"no rpcOptions of the call": {without(options, "rpcOptions"), "/rpcOptions"},
		"digest a number":           {at(options+"/messageOptions", "digest", 5), "/digest"},
		"oversized":                 {good.text() + strings.Repeat(" ", 4<<20), "more than the"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, c.call, message, c.says) })
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no arguments": {nil, "0 arguments are given"}, "one": {[]string{"v1"}, "1 arguments are given"}, "help": {[]string{"--help"}, "1 arguments are given"},
		"three":   {[]string{"v1", good.text(), ""}, "3 arguments are given"},
		"version": {[]string{"v2", good.text()}, `the protocol version is "v2"`}, "turned": {[]string{good.text(), "v1"}, "the protocol version is"},
	} {
		t.Run(name, func(t *testing.T) {
			if answer, refusal, _ := run(t, message, c.args...); !strings.Contains(refusal, c.says) {
				t.Errorf("answered %s, %q", answer, refusal)
			}
		})
	}
	// The options of the other method are looked at too.
	key := func(options object) string {
		return newCall(arn, "publicKey", object{"publicKeyOptions": object{"rpcOptions": options}}).text()
	}
	refused(t, key(rpc.with("keyVersion", "1")), nil, "KMS keys have no versions")
	refused(t, key(rpc.with("remoteVerification", true)), nil, "calls nobody")
	refused(t, key(rpc.with("ctxDeadline", "2020-01-01T00:00:00Z")), nil, "is past")
	// A deadline is past when it is reached.
	now := time.Now()
	_, err := decodeCall([]string{"v1", at("initOptions", "ctxDeadline", now)}, now)
	if !kmserr.Is(err, kmserr.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	// What a newer client adds is not read, and no refusal.
	verified(t, good.with("new", object{"a": nil}).edit(options, func(o object) object { return o.with("x", 1) }).text(), message)
	verified(t, good.edit("initOptions", func(o object) object { return o.with("ctxDeadline", time.Now().Add(time.Minute)) }).text(), message)
}

// What the client's own types encode is what is decoded here.
func TestDecodeWhatTheClientEncodes(t *testing.T) {
	soon := time.Now().Add(10 * time.Second)
	no, empty := false, ""
	rpc := common.RPCOptions{CtxDeadline: &soon, KeyVersion: &empty, RemoteVerification: &no}
	digest, hash := []byte("digest"), crypto.SHA384
	init := &common.InitOptions{CtxDeadline: &soon, ProtocolVersion: common.ProtocolVersion, KeyResourceID: "alias/a", HashFunc: crypto.SHA512, RPCOptions: &rpc}
	for method, args := range map[string]*common.MethodArgs{
		"defaultAlgorithm":    {DefaultAlgorithm: &common.DefaultAlgorithmArgs{}},
		"supportedAlgorithms": {SupportedAlgorithms: &common.SupportedAlgorithmsArgs{}},
		"createKey":           {CreateKey: &common.CreateKeyArgs{CtxDeadline: &soon, Algorithm: "x"}},
		"publicKey":           {PublicKey: &common.PublicKeyArgs{PublicKeyOptions: &common.PublicKeyOptions{RPCOptions: rpc}}},
		"signMessage":         {SignMessage: &common.SignMessageArgs{SignOptions: &common.SignOptions{RPCOptions: rpc}}},
		"verifySignature": {VerifySignature: &common.VerifySignatureArgs{Signature: []byte("sig"), VerifyOptions: &common.VerifyOptions{
			RPCOptions: rpc, MessageOptions: common.MessageOptions{Digest: &digest, HashFunc: &hash}}}},
	} {
		args.MethodName = method
		text := must(json.Marshal(common.PluginArgs{InitOptions: init, MethodArgs: args}))
		c, err := decodeCall([]string{"v1", string(text)}, time.Now())
		if err != nil {
			t.Errorf("%s: %v\n%s", method, err, text)
			continue
		}
		if c.MethodName != method || c.InitOptions.HashFunc != crypto.SHA512 || c.key.keyID != "alias/a" || c.limit > 10*time.Second || c.limit < time.Second {
			t.Errorf("%s: got %+v", method, c)
		}
		if v := c.VerifySignature; method == "verifySignature" &&
			(string(v.Signature) != "sig" || string(*v.VerifyOptions.MessageOptions.Digest) != "digest" || *v.VerifyOptions.MessageOptions.HashFunc != crypto.SHA384) {
			t.Errorf("got %+v", v)
		}
	}
}

// broken breaks when it is read.
type broken struct{ read func([]byte) (int, error) }

func (b broken) Read(p []byte) (int, error) { return b.read(p) }

// mainWith runs Main on a good call with another standard input and returns the errorMessage.
func mainWith(t *testing.T, stdin io.Reader, stdout io.Writer, call object) (refusal string) {
	t.Helper()
	var out, errs bytes.Buffer
	if stdout == nil {
		stdout = &out
	}
	code := Main([]string{"v1", call.text()}, stdin, stdout, &errs)
	var answer common.PluginResp
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
			t.Fatalf("standard output %q: %v", out.Bytes(), err)
		}
	}
	if code == 0 || errs.Len() == 0 {
		t.Errorf("exit code %d, standard error %q", code, errs.String())
	}
	return answer.ErrorMessage
}

func TestWhatBreaksIsRefused(t *testing.T) {
	defer func(d, n time.Duration) { deadline, drainTime = d, n }(deadline, drainTime)
	deadline, drainTime = 300*time.Millisecond, 50*time.Millisecond
	newHome(t, known(t, "p256"))
	good := verifyCall(known(t, "p256").ARN().String(), sign(t, "p256", kmskey.ECDSASHA256, message))
	verified(t, good.text(), message)

	for name, c := range map[string]struct {
		stdin io.Reader
		says  string
	}{
		"panic":      {broken{func([]byte) (int, error) { panic("oh no") }}, "oh no"},
		"read error": {io.MultiReader(bytes.NewReader(message), broken{func([]byte) (int, error) { return 0, errors.New("cable pulled") }}), "cable pulled"},
		"hang":       {io.MultiReader(bytes.NewReader(message), broken{func([]byte) (int, error) { select {} }}), "DeadlineExceededException"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			refusal := mainWith(t, c.stdin, nil, good)
			if !strings.Contains(refusal, c.says) {
				t.Errorf("got %q", refusal)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	t.Run("first byte", func(t *testing.T) {
		pulled := broken{func([]byte) (int, error) { return 0, errors.New("cable pulled") }}
		if refusal := mainWith(t, pulled, nil, good); !strings.Contains(refusal, "the message cannot be read: cable pulled") {
			t.Errorf("got %q", refusal)
		}
		// Whether there is a message beside a digest cannot be told.
		sum := sha256.Sum256(message)
		call := digestCall(known(t, "p256").ARN().String(), sign(t, "p256", kmskey.ECDSASHA256, message), sum[:])
		if refusal := mainWith(t, pulled, nil, call); !strings.Contains(refusal, "whether a message is on standard input too cannot be told: cable pulled") {
			t.Errorf("got %q", refusal)
		}
	})
	t.Run("caller's deadline", func(t *testing.T) {
		deadline = time.Hour
		call := good.edit("initOptions", func(o object) object { return o.with("ctxDeadline", time.Now().Add(200*time.Millisecond)) })
		if refusal := mainWith(t, broken{func([]byte) (int, error) { select {} }}, nil, call); !strings.Contains(refusal, "DeadlineExceededException") {
			t.Errorf("got %q", refusal)
		}
	})
	t.Run("standard output closed", func(t *testing.T) {
		r, w := io.Pipe()
		r.Close()
		mainWith(t, bytes.NewReader(message), w, good)
	})
	t.Run("store missing", func(t *testing.T) {
		t.Setenv(keystore.EnvHome, filepath.Join(t.TempDir(), "none"))
		refused(t, good.text(), message, "StoreAccessException")
	})
	t.Run("home relative", func(t *testing.T) {
		t.Setenv(keystore.EnvHome, "keys")
		refused(t, good.text(), message, keystore.EnvHome)
	})
}

// Every call leaves one line in the log, whatever became of it.
func TestEveryCallHasItsLine(t *testing.T) {
	defer func(d, n time.Duration) { deadline, drainTime = d, n }(deadline, drainTime)
	deadline, drainTime = 500*time.Millisecond, 50*time.Millisecond
	home := newHome(t, known(t, "p256"))
	arn := known(t, "p256").ARN().String()
	sum := sha256.Sum256(message)
	signature := sign(t, "p256", kmskey.ECDSASHA256, message)
	good := verifyCall(arn, signature)
	key := newCall(arn, "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}})
	versioned := good.edit("initOptions/rpcOptions", func(o object) object { return o.with("keyVersion", "1") })
	log := must(audit.DefaultPath())
	lines := func() [][]byte {
		data, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.SplitAfter(data, []byte("\n"))
	}
	hang := broken{func([]byte) (int, error) { select {} }}
	for _, c := range []struct {
		name        string
		home        string
		call        string
		stdin       io.Reader
		event, asks string
		refusal     kmserr.Name
	}{
		{"verified", home, good.text(), bytes.NewReader(message), audit.EventVerify, arn, ""},
		{"another message", home, good.text(), strings.NewReader("another"), audit.EventVerify, arn, kmserr.InvalidSignature},
		{"no message", home, good.text(), strings.NewReader(""), audit.EventVerify, arn, kmserr.Validation},
		{"message and digest", home, digestCall(arn, signature, sum[:]).text(), bytes.NewReader(message), audit.EventVerify, arn, kmserr.Validation},
		{"hanging", home, good.text(), hang, audit.EventVerify, arn, kmserr.DeadlineExceeded},
		{"hanging with a digest", home, digestCall(arn, signature, sum[:]).text(), hang, audit.EventVerify, arn, kmserr.DeadlineExceeded},
		{"panic", home, good.text(), broken{func([]byte) (int, error) { panic("oh no") }}, audit.EventVerify, arn, kmserr.Internal},
		{"unreadable", home, "garbage", bytes.NewReader(message), audit.EventVerify, "", kmserr.Validation},
		{"no store", filepath.Join(home, "none"), good.text(), bytes.NewReader(message), audit.EventVerify, arn, kmserr.StoreAccess},
		{"key", home, key.text(), strings.NewReader(""), audit.EventAuthorizeKey, arn, ""},
		{"key without a store", filepath.Join(home, "none"), key.text(), strings.NewReader(""), audit.EventAuthorizeKey, arn, kmserr.StoreAccess},
		{"key version", home, versioned.text(), bytes.NewReader(message), audit.EventVerify, arn, kmserr.Validation},
		{"key by a reference that is none", home, newCall("host/release", "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).text(),
			strings.NewReader(""), audit.EventAuthorizeKey, "host/release", kmserr.Validation},
		{"an option that there is not", home, verifyCall("/alias/release?x=1", signature).text(), bytes.NewReader(message), audit.EventVerify, "alias/release", kmserr.Validation},
		{"another protocol", home, good.edit("initOptions", func(o object) object { return o.with("protocolVersion", "v2") }).text(), bytes.NewReader(message), audit.EventVerify, arn, kmserr.Validation},
		{"a method nobody knows", home, good.with("methodName", "what").text(), bytes.NewReader(message), audit.EventVerify, arn, kmserr.Validation},
		{"signing", home, newCall(arn, "signMessage", object{}).text(), bytes.NewReader(message), audit.EventVerify, arn, kmserr.UnsupportedOperation},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(keystore.EnvHome, c.home)
			before := lines()
			var out, errs bytes.Buffer
			Main([]string{"v1", c.call}, c.stdin, &out, &errs)
			after := lines()
			if len(after) != len(before)+1 && !(len(before) == 0 && len(after) == 2) {
				t.Fatalf("%d lines were written: %s", len(after)-len(before), after[max(len(before)-1, 0):])
			}
			var line struct {
				EventName, Asked, ErrorCode string
				Verified                    bool
			}
			if err := json.Unmarshal(after[len(after)-2], &line); err != nil {
				t.Fatal(err)
			}
			if line.EventName != c.event || line.Asked != c.asks || line.ErrorCode != string(c.refusal) || line.Verified != (c.refusal == "") {
				t.Errorf("the line is %s", after[len(after)-2])
			}
			if refused := strings.Contains(out.String(), string(c.refusal)) && strings.Contains(out.String(), "errorMessage"); refused != (c.refusal != "") {
				t.Errorf("the answer is %s", out.String())
			}
		})
	}
}

// A message of any size is read to its end, refused or not.
func TestStandardInputIsDrained(t *testing.T) {
	newHome(t, known(t, "p256"))
	large := make([]byte, 8<<20)
	refused(t, "{}", large, "lacks the member")
	refused(t, verifyCall("alias/none", []byte("x")).text(), large, "NotFoundException")
	refused(t, newCall("alias/a", "signMessage", object{}).text(), large, "cannot sign")
	verified(t, verifyCall(known(t, "p256").ARN().String(), sign(t, "p256", kmskey.ECDSASHA256, large)).text(), large)
}

// A refusal waits for the end of a message, but not at a terminal, nor where it cannot tell whether there is one.
func TestNothingIsDrainedFromATerminal(t *testing.T) {
	newHome(t)
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Skipf("there is no endless character device here: %v", err)
	}
	defer zero.Close()
	closed, err := os.Open("/dev/zero")
	if err != nil || closed.Close() != nil {
		t.Fatal(err)
	}
	for name, stdin := range map[string]*os.File{"a character device": zero, "a closed file": closed} {
		start := time.Now()
		if refusal := mainWith(t, stdin, nil, verifyCall("", []byte("x"))); !strings.Contains(refusal, "names no key") {
			t.Errorf("%s: got %q", name, refusal)
		}
		if took := time.Since(start); took > drainTime-time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

// A refusal whose line cannot be written stands, and says so.
func TestUnloggedRefusal(t *testing.T) {
	home := newHome(t, known(t, "p256"))
	policy := must(json.Marshal(object{"version": "1", "log": object{"mode": "best-effort", "path": t.TempDir()}}))
	if err := os.WriteFile(filepath.Join(home, "policy.json"), policy, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "{}", message, "lacks the member", "Besides, the decision was not logged")
}

// A caller whose time is over may be about to end the plugin, and the reason with it: such a refusal waits for little more.
func TestLateRefusalIsToldSoon(t *testing.T) {
	defer func(d, n time.Duration) { deadline, drainTime = d, n }(deadline, drainTime)
	deadline, drainTime = 200*time.Millisecond, 10*time.Second
	newHome(t, known(t, "p256"))
	call := verifyCall(known(t, "p256").ARN().String(), sign(t, "p256", kmskey.ECDSASHA256, message))
	start := time.Now()
	var out, errs bytes.Buffer
	if code := Main([]string{"v1", call.text()}, broken{func([]byte) (int, error) { select {} }}, &out, &errs); code != 1 || !strings.Contains(out.String(), string(kmserr.DeadlineExceeded)) {
		t.Errorf("%d: %s", code, out.String())
	}
	if took := time.Since(start); took > drainTime/2 {
		t.Errorf("took %s", took)
	}
}

// A caller that says when it gives up has the reason before, though nothing comes and others keep the log.
func TestReasonComesBeforeTheCallerGivesUp(t *testing.T) {
	newHome(t, known(t, "p256"))
	log := must(audit.DefaultPath())
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	lock := must(lockedfile.OpenFile(log+".lock", os.O_RDWR|os.O_CREATE, 0o600))
	defer lock.Close()
	hang := broken{func([]byte) (int, error) { select {} }}
	for name, c := range map[string]struct {
		waits   time.Duration
		stdin   io.Reader
		version string
		refusal kmserr.Name
	}{
		"a message that never comes": {2 * time.Second, hang, "", kmserr.DeadlineExceeded},
		// The log alone would be waited for for two seconds, and then the end of the message.
		"refused before the store was looked at": {400 * time.Millisecond, hang, "1", kmserr.Validation},
	} {
		start := time.Now()
		call := verifyCall(known(t, "p256").ARN().String(), sign(t, "p256", kmskey.ECDSASHA256, message)).
			edit("initOptions", func(o object) object { return o.with("ctxDeadline", start.Add(c.waits)) }).
			edit("initOptions/rpcOptions", func(o object) object { return o.with("keyVersion", c.version) })
		refusal := mainWith(t, c.stdin, nil, call)
		if !strings.Contains(refusal, string(c.refusal)) || !strings.Contains(refusal, "the decision was not logged") {
			t.Errorf("%s: got %q", name, refusal)
		}
		// Without regard for the caller's time it would be two seconds more; a busy machine has time to spare.
		if took := time.Since(start); took > c.waits+1500*time.Millisecond {
			t.Errorf("%s: took %s of %s", name, took, c.waits)
		}
	}
}

func TestTimes(t *testing.T) {
	if deadline != 60*time.Second || drainTime != 5*time.Second {
		t.Errorf("the deadline is %s, the time to drain %s", deadline, drainTime)
	}
	if late, soon := drainTimeOf(kmserr.New(kmserr.DeadlineExceeded, "x")), drainTimeOf(kmserr.New(kmserr.Validation, "x")); late != drainTime/10 || soon != drainTime {
		t.Errorf("a late refusal drains for %s, another for %s", late, soon)
	}
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ waits, limit, line time.Duration }{ // line: for the log, when the decision was not ready
		{time.Hour, 60 * time.Second, 3 * time.Second},
		{66 * time.Second, 60 * time.Second, 3 * time.Second},
		{60 * time.Second, 54 * time.Second, 3 * time.Second},
		{30 * time.Second, 24 * time.Second, 3 * time.Second},
		{10 * time.Second, 8 * time.Second, time.Second},
		{time.Second, 800 * time.Millisecond, 100 * time.Millisecond},
		{time.Nanosecond, time.Nanosecond, leastTime},
	} {
		at := func(o object) object { return o.with("ctxDeadline", now.Add(c.waits)) }
		for name, call := range map[string]object{
			"all":     newCall("alias/a", "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).edit("initOptions", at),
			"the RPC": newCall("alias/a", "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).edit("publicKey/publicKeyOptions/rpcOptions", at),
			"both": newCall("alias/a", "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).edit("initOptions", at).
				edit("publicKey/publicKeyOptions/rpcOptions", func(o object) object { return o.with("ctxDeadline", now.Add(2*c.waits)) }),
			"both, the later first": newCall("alias/a", "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}).edit("publicKey/publicKeyOptions/rpcOptions", at).
				edit("initOptions", func(o object) object { return o.with("ctxDeadline", now.Add(2*c.waits)) }),
		} {
			got, err := decodeCall([]string{"v1", call.text()}, now)
			if err != nil {
				t.Fatal(err)
			}
			if line := got.left(now.Add(c.limit), wire.LogTime); got.limit != c.limit || line != c.line {
				t.Errorf("%s: of %s the decision has %s, expected %s, the line %s, expected %s", name, c.waits, got.limit, c.limit, line, c.line)
			}
		}
	}
	got, err := decodeCall([]string{"v1", newCall("alias/a", "supportedAlgorithms", object{}).text()}, now)
	if err != nil || got.limit != 60*time.Second || got.left(now, drainTime) != drainTime || (*call)(nil).left(now, drainTime) != drainTime {
		t.Errorf("a caller that waits for ever: %+v, %v", got, err)
	}
}

// A yes without a result of the verifier's cannot be written.
func TestNoResultIsNoYes(t *testing.T) {
	if answer, err := new(call).publicKey(nil); err == nil || answer != nil {
		t.Errorf("a key that nobody authorized: %+v, %v", answer, err)
	}
	if answer, err := answer(context.Background(), &call{MethodName: "verify"}, nil); err == nil || answer != nil {
		t.Errorf("an unknown method: %+v, %v", answer, err)
	}
	if data := must(json.Marshal(common.PluginResp{})); string(data) != "{}" {
		t.Errorf("the client's types changed: %s", data)
	}
	if !kmserr.Is(invalid("x"), kmserr.Validation) {
		t.Error("invalid makes no ValidationException")
	}
}

// TestGolden holds the answers byte for byte. Calls are as cosign v3.1.3 sends them, but for the signature.
func TestGolden(t *testing.T) {
	newHome(t, known(t, "p256"), known(t, "p256-disabled"), known(t, "sm2"))
	p256 := known(t, "p256").ARN().String()
	// Deterministic: made once, by the private key of testdata.
	signature := must(os.ReadFile(filepath.Join("testdata", "p256.sig")))
	sum := sha256.Sum256(message)
	calls := map[string]object{
		"verify":            verifyCall(p256, signature),
		"verify-digest":     digestCall(p256, signature, sum[:]),
		"verify-tampered":   verifyCall("/"+p256, append(slices.Clone(signature[:len(signature)-1]), 0)),
		"verify-disabled":   verifyCall(known(t, "p256-disabled").ARN().String(), signature),
		"public-key":        newCall(p256, "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}),
		"public-key-sm2":    newCall("/"+known(t, "sm2").ARN().String(), "publicKey", object{"publicKeyOptions": object{"rpcOptions": rpc}}),
		"incomplete":        verifyCall(p256, signature).without("verifySignature"),
		"host":              verifyCall("localhost:4566/"+p256, signature),
		"default-algorithm": newCall(p256, "defaultAlgorithm", object{}),
		"algorithms":        newCall(p256, "supportedAlgorithms", object{}),
		"create-key":        newCall(p256, "createKey", object{"algorithm": "ECC_NIST_P256"}),
		"sign":              newCall(p256, "signMessage", object{"signOptions": object{"rpcOptions": rpc, "messageOptions": object{"digest": nil}}}),
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		t.Run(name, func(t *testing.T) {
			stdin := message
			if name == "verify-digest" {
				stdin = nil
			}
			var out, errs bytes.Buffer
			Main([]string{"v1", calls[name].text()}, bytes.NewReader(stdin), &out, &errs)
			path := filepath.Join("testdata", "golden", name+".txt")
			got := "call: v1 " + calls[name].text() + "\nstdout: " + out.String() + "stderr: " + errs.String()
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(must(os.ReadFile(path))); got != strings.ReplaceAll(want, "\r\n", "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Where the environment asks for it, each step is told on standard error, beside the answer.
func TestExplain(t *testing.T) {
	newHome(t, known(t, "p256"), known(t, "p256-disabled"))
	t.Setenv("AWSKMS_OFFLINE_EXPLAIN", "1")
	signature := sign(t, "p256", kmskey.ECDSASHA256, message)
	stderr := verified(t, verifyCall(known(t, "p256").ARN().String(), signature).text(), message)
	for _, step := range []string{"key: ", "policy: ", "state: Enabled", "age: ", "usage: ", "algorithm: ECDSA_SHA_256", "signature: verified", "log: the line is written"} {
		before, after, found := strings.Cut(stderr, "awskms-offline: "+step)
		if !found || before != "" {
			t.Errorf("%q is not next in %q", step, stderr)
		}
		if _, stderr, found = strings.Cut(after, "\n"); !found {
			t.Errorf("no line after %q", step)
		}
	}
	_, _, stderr = run(t, message, "v1", verifyCall(known(t, "p256-disabled").ARN().String(), signature).text())
	if !strings.Contains(stderr, "awskms-offline: state: NO, DisabledException") {
		t.Errorf("standard error %q", stderr)
	}
}
