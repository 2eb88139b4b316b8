package cli

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/awskms-offline/awskms-offline/internal/faketsa"
)

// Commands of the scripts that make or compare files:
//
//	json OBJECT               stdout is one JSON object that has at least OBJECT's members; an array has OBJECT's length
//	sumof FILE VAR            puts FILE's SHA-256, in hexadecimal, into $VAR
//	head FILE BYTES OUT       copies the beginning of FILE
//	append FILE OUT           copies FILE and adds a line feed
//	base64 IN OUT             writes a file's base64
//	cat OUT FILE FILE         joins two files
//	tar OUT NAME FILE         makes a tar that holds FILE as NAME
//	rearn IN OUT ARN          copies a record with another KeyId
//	relabel IN OUT SPEC       copies a record with KeySpec SPEC, and that spec's algorithm
//	tsaroot OUT               writes the root certificate of a new timestamping authority
//	jsonl OUT LINE            appends LINE to OUT; @NAME@ in it is the base64 of the file NAME, or else $NAME
//	policy OUT LEVEL STORE ID…  writes a trust policy of Notation; LEVEL is level or level,check=action
var fileCommands = map[string]func(*testscript.TestScript, bool, []string){
	"json": command(1, func(ts *testscript.TestScript, args []string) error {
		var want, got any
		// testscript's quoting leaves 'a'$B'c' as one word.
		if err := json.Unmarshal([]byte(args[0]), &want); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &got); err != nil {
			return fmt.Errorf("stdout is not one JSON value: %w", err)
		}
		return holds(got, want, "stdout")
	}),
	"sumof": command(2, func(ts *testscript.TestScript, args []string) error {
		sum := sha256.Sum256([]byte(ts.ReadFile(args[0])))
		ts.Setenv(args[1], hex.EncodeToString(sum[:]))
		return nil
	}),
	"head": command(3, func(ts *testscript.TestScript, args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		data := ts.ReadFile(args[0])
		if len(data) <= n {
			return fmt.Errorf("%s has %d bytes only", args[0], len(data))
		}
		return os.WriteFile(ts.MkAbs(args[2]), []byte(data[:n]), 0o600)
	}),
	"append": command(2, func(ts *testscript.TestScript, args []string) error {
		return os.WriteFile(ts.MkAbs(args[1]), []byte(ts.ReadFile(args[0])+"\n"), 0o600)
	}),
	"base64": command(2, func(ts *testscript.TestScript, args []string) error {
		return os.WriteFile(ts.MkAbs(args[1]), []byte(base64.StdEncoding.EncodeToString([]byte(ts.ReadFile(args[0])))+"\n"), 0o600)
	}),
	"cat": command(3, func(ts *testscript.TestScript, args []string) error {
		return os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile(args[1])+ts.ReadFile(args[2])), 0o600)
	}),
	// tar FILE NAME CONTENT-FILE…
	"tar": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 3 || len(args)%2 == 0 {
			ts.Fatalf("usage: tar FILE (NAME CONTENT-FILE)…")
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for pair := range slices.Chunk(args[1:], 2) {
			content := ts.ReadFile(pair[1])
			ts.Check(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: pair[0], Size: int64(len(content)), Mode: 0o600}))
			_, err := w.Write([]byte(content))
			ts.Check(err)
		}
		ts.Check(w.Close())
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
	},
	// join FILE PART…
	"join": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: join FILE PART…")
		}
		var b strings.Builder
		for _, part := range args[1:] {
			b.WriteString(ts.ReadFile(part))
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
	},
	"rearn": command(3, func(ts *testscript.TestScript, args []string) error {
		var record map[string]any
		if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &record); err != nil {
			return err
		}
		record["KeyId"] = args[2]
		data, err := json.Marshal(record)
		if err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[1]), data, 0o600)
	}),
	"relabel": command(3, func(ts *testscript.TestScript, args []string) error {
		var record map[string]any
		if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &record); err != nil {
			return err
		}
		algorithm, ok := map[string]string{"SM2": "SM2DSA"}[args[2]]
		if !ok {
			return fmt.Errorf("no algorithm is known for %s", args[2])
		}
		record["KeySpec"], record["CustomerMasterKeySpec"], record["SigningAlgorithms"] = args[2], args[2], []string{algorithm}
		data, err := json.Marshal(record)
		if err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[1]), data, 0o600)
	}),
	"jsonl": command(2, func(ts *testscript.TestScript, args []string) error {
		parts := strings.Split(args[1], "@")
		for i := 1; i < len(parts); i += 2 {
			if data, err := os.ReadFile(ts.MkAbs(parts[i])); err == nil {
				parts[i] = base64.StdEncoding.EncodeToString(data)
			} else if parts[i] = ts.Getenv(parts[i]); parts[i] == "" {
				return fmt.Errorf("the line has a name that is neither file nor variable: %s", args[1])
			}
		}
		f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString(strings.Join(parts, "") + "\n")
		return errors.Join(err, f.Close())
	}),
	"tsaroot": command(1, func(ts *testscript.TestScript, args []string) error {
		authority, err := faketsa.New()
		if err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Root.Raw}), 0o600)
	}),
	"policy": func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 4 {
			ts.Fatalf("usage: policy OUT LEVEL STORE ID…")
		}
		level, override, _ := strings.Cut(args[1], ",")
		verification := map[string]any{"level": level}
		if check, action, ok := strings.Cut(override, "="); ok {
			verification["override"] = map[string]string{check: action}
		}
		data, err := json.Marshal(map[string]any{"version": "1.0", "trustPolicies": []any{map[string]any{
			"name": "release", "registryScopes": []string{"*"}, "signatureVerification": verification,
			"trustStores": args[2:3], "trustedIdentities": args[3:],
		}}})
		ts.Check(err)
		ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o700))
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
	},
}

// command makes a script command of a function with a fixed number of arguments.
func command(n int, f func(*testscript.TestScript, []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != n {
			ts.Fatalf("expected %d arguments and no negation, got %q", n, args)
		}
		ts.Check(f(ts, args))
	}
}

// holds reports where got, at path, lacks a part of want.
func holds(got, want any, path string) error {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v, expected an object", path, got)
		}
		for name, member := range want {
			if err := holds(object[name], member, path+"."+name); err != nil {
				return err
			}
		}
		return nil
	case []any:
		array, ok := got.([]any)
		if !ok || len(array) != len(want) {
			return fmt.Errorf("%s is %v, expected an array of %d", path, got, len(want))
		}
		for i := range want {
			if err := holds(array[i], want[i], fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s is %v, expected %v", path, got, want)
	}
	return nil
}

// ecScalar takes the private scalar out of PKCS#8 (RFC 5958) around an ECPrivateKey (RFC 5915), for the curves that
// crypto/x509 does not know.
func ecScalar(pkcs8 []byte) ([]byte, error) {
	var outer, private, inner, scalar cryptobyte.String
	input := cryptobyte.String(pkcs8)
	if !input.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.SkipASN1(cbasn1.INTEGER) || !outer.SkipASN1(cbasn1.SEQUENCE) ||
		!outer.ReadASN1(&private, cbasn1.OCTET_STRING) || !private.ReadASN1(&inner, cbasn1.SEQUENCE) ||
		!inner.SkipASN1(cbasn1.INTEGER) || !inner.ReadASN1(&scalar, cbasn1.OCTET_STRING) || len(scalar) != 32 {
		return nil, errors.New("malformed PKCS#8")
	}
	return scalar, nil
}
