package cli

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// readKeyFile reads one file of keys import and adds what it holds to all.
func (a *app) readKeyFile(file string, f importFlags, all *importSet) error {
	r, err := a.open("the key file", file)
	if err != nil {
		return err
	}
	defer func() {
		if r != nil {
			_ = r.Close() // only read from: closing loses nothing
		}
	}()
	// Only a tar may be long: anything else is refused before more of it is in memory than a key can have.
	head, err := readUpTo("the key file", file, io.LimitReader(r, 512), 512)
	if err != nil {
		return err
	}
	if isTar(head) {
		source := r
		r = nil // the tar's from here on
		return a.readTar(file, head, source, f, all)
	}
	if f.sha256 != "" {
		return inFile(file, invalid("--expect-sha256 is for a tar made by keys export, and this is none").
			WithHint("Leave it out, or give the tar."))
	}
	limit := maxKeyFile
	if isJSON(head) {
		limit = maxManyKeys
	}
	data, err := readUpTo("the key file", file, io.MultiReader(bytes.NewReader(head), r), limit)
	if err != nil {
		return err
	}
	if err := parseKeyFile(file, data, f, all); err != nil {
		return inFile(file, err)
	}
	return nil
}

// readTar reads a tar that --expect-sha256, where it is given, is the SHA-256 of.
func (a *app) readTar(file string, head []byte, r io.ReadCloser, f importFlags, all *importSet) error {
	t, err := openTar(a.ctx, file, head, r)
	if err != nil {
		return err
	}
	if f.sha256 != "" {
		if err := t.expect(f.sha256); err != nil {
			t.close()
			return inFile(file, err)
		}
	}
	return a.takeTar(t, f, all)
}

// takeTar takes an archive, which waits in all to be imported, or else the key files in a tar.
func (a *app) takeTar(t *archive, f importFlags, all *importSet) error {
	file := t.name
	keep := false
	defer func() {
		if !keep {
			t.close()
		}
	}()
	exported, err := t.exported()
	if err == nil && exported {
		err = t.check(func(f keystore.File) error {
			if a.ctx.Err() != nil {
				return kmserr.New(kmserr.DeadlineExceeded, "interrupted; nothing was written")
			}
			return notFromFuture(f)
		})
		keep = err == nil
		if keep {
			all.archives = append(all.archives, t)
		}
	}
	if err == nil && !exported {
		found := false
		for e, err := range t.keyFiles(func(name string) { a.note(passedOver(filePath(file) + ": " + name)) }) {
			if err != nil {
				return inFile(file, err)
			}
			name := filePath(file) + ": " + e.header.Name
			if err := parseKeyFile(name, bytes.Clone(e.content), f, all); err != nil {
				return inFile(name, err)
			}
			found = true
		}
		if !found {
			err = invalid("the tar holds no key file").WithHint("Expected are files whose names end in .json, .pem, .der or .pub, or what keys export writes.")
		}
	}
	if err != nil {
		return inFile(file, err)
	}
	return nil
}

func passedOver(name string) string {
	return plain(name) + " is passed over: its name ends in none of .json, .pem, .der and .pub"
}

// notFromFuture refuses a record or an alias of a time that KMS cannot have answered at yet.
func notFromFuture(f keystore.File) error {
	switch {
	case f.Alias != nil:
		return notInFuture("Time", f.Alias.Time)
	case f.Key == nil:
		return nil
	}
	snapshot := f.Key.Record().Snapshot
	if err := notInFuture("Snapshot.Time", snapshot.Time); err != nil {
		return err
	}
	return notInFuture("Snapshot.StateTime", snapshot.StateTime)
}

// isJSON reports whether a file begins as JSON does.
func isJSON(head []byte) bool {
	text := bytes.TrimSpace(head)
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

func parseKeyFile(file string, data []byte, f importFlags, all *importSet) error {
	if all.size += len(data); all.size > maxFolder {
		return tooManyKeyFiles("what is given")
	}
	text := bytes.TrimSpace(data)
	switch {
	case hasByteOrderMark(data):
		return invalid("the file starts with a byte order mark, expected plain UTF-8 or DER").
			WithHint(notUTF16)
	case len(text) == 0:
		return invalid("the file is empty").WithHint("Expected is the JSON that `aws kms get-public-key` prints, or a public key.")
	case namesPrivate(text):
		return privateKey()
	case isJSON(data):
		return parseAnswers(file, data, all)
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		return invalid("the file is compressed with gzip").WithHint("Unpack it with gunzip first.")
	case data[0] != 0x30 && bytes.Contains(text, []byte("-----BEGIN ")): // explanatory text may stand before it (RFC 7468)
		der, err := decodePEM(text)
		if err != nil {
			return err
		}
		return addPublicKey(file, der, f, all)
	case data[0] == 0x30:
		return addPublicKey(file, data, f, all)
	}
	// What `aws kms get-public-key --query PublicKey --output text` prints.
	if der, ok := decodeBase64(data); ok && der[0] == 0x30 {
		return addPublicKey(file, der, f, all)
	}
	return invalid("the file is neither JSON nor a public key in PEM or DER").
		WithHint("Expected is the JSON that `aws kms get-public-key` prints, or a public key.")
}

func hasByteOrderMark(data []byte) bool {
	return hasUTF16Mark(data) || bytes.HasPrefix(data, []byte(utf8Mark))
}

func addPublicKey(file string, der []byte, f importFlags, all *importSet) error {
	if looksPrivate(der) {
		return privateKey()
	}
	if _, _, err := kmskey.FingerprintDER(der); err != nil {
		if e := kmserr.As(err); e.Hint == "" {
			return e.WithHint("Expected is the public key as `aws kms get-public-key` gives it; a signature, for one, is none.")
		}
		return err
	}
	record, err := publicKeyRecord(der, f)
	if err != nil {
		return err
	}
	all.records = append(all.records, namedRecord{file, record})
	all.bare = append(all.bare, file)
	return nil
}

// namesPrivate recognises text that says itself that it holds a private key: PEM of any kind, and the answer of
// `aws kms generate-data-key-pair`.
func namesPrivate(text []byte) bool {
	return bytes.Contains(text, []byte("PRIVATE KEY-----")) || bytes.Contains(text, []byte(`"PrivateKeyPlaintext"`))
}

// privateKey is said loudly: such a key has no business here, nor in the place it was read from.
func privateKey() error {
	return invalid("THIS IS A PRIVATE KEY. It was not stored").
		WithHint("Only public keys belong here. A KMS key's private half never leaves KMS: whoever has read this file can sign with that key.")
}

// looksPrivate recognises DER of PKCS#8 (RFC 5958), PKCS#1 (RFC 8017) and SEC 1 (RFC 5915) private keys, a SEQUENCE that
// begins with a version where a SubjectPublicKeyInfo begins with a SEQUENCE, and PKCS#8's encrypted form, where an OCTET
// STRING stands in place of the BIT STRING. A version is one byte: a long number is the r of a signature or the modulus
// of PKCS#1's public key.
func looksPrivate(der []byte) bool {
	input := cryptobyte.String(der)
	var inner cryptobyte.String
	if !input.ReadASN1(&inner, cbasn1.SEQUENCE) {
		return false
	}
	if inner.PeekASN1Tag(cbasn1.INTEGER) {
		var version cryptobyte.String
		return !inner.ReadASN1(&version, cbasn1.INTEGER) || len(version) <= 1
	}
	return inner.SkipASN1(cbasn1.SEQUENCE) && inner.PeekASN1Tag(cbasn1.OCTET_STRING)
}

func decodePEM(text []byte) ([]byte, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, invalid("the PEM cannot be decoded: it is damaged or cut off")
	case block.Type == "CERTIFICATE":
		return nil, invalid("the PEM holds a certificate, expected a PUBLIC KEY").WithHint("`openssl x509 -pubkey -noout -in FILE` prints its public key.")
	case block.Type == "RSA PUBLIC KEY": // PKCS#1's
		return nil, invalid("the PEM holds an RSA PUBLIC KEY, expected a PUBLIC KEY").WithHint("`openssl rsa -RSAPublicKey_in -in FILE -pubout` writes it as one.")
	case block.Type != "PUBLIC KEY":
		return nil, invalid("the PEM holds a %s, expected a PUBLIC KEY", block.Type)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, invalid("the PEM has %d bytes after the public key", len(bytes.TrimSpace(rest))).WithHint("Give one public key a file.")
	}
	return block.Bytes, nil
}

// parseAnswers reads what KMS answered: one object, several one after the other, or an array of them.
func parseAnswers(file string, data []byte, all *importSet) error {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		if d := jsontext.NewDecoder(bytes.NewReader(data)); d.SkipValue() != nil || atEnd(d) {
			return parseJSON(file, data, all) // which says what is wrong, if anything is
		}
	}
	n := 0
	each := func(d *jsontext.Decoder) error {
		value, err := d.ReadValue()
		if err != nil {
			return invalid("the JSON is damaged after %s: %s", count(n, "answer", "answers"), strings.TrimPrefix(err.Error(), "jsontext: "))
		}
		n++
		if err := parseJSON(fmt.Sprintf("%s, answer %d", filePath(file), n), bytes.Clone(value), all); err != nil {
			e := kmserr.As(err)
			return invalid("answer %d: %s", n, e.Fact).WithHint("%s", e.Hint)
		}
		return nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true)) // parseJSON refuses them, and says which
	for !atEnd(d) {
		if d.PeekKind() != '[' {
			if err := each(d); err != nil {
				return err
			}
			continue
		}
		if _, err := d.ReadToken(); err != nil {
			return invalid("the JSON is damaged after %s: %s", count(n, "answer", "answers"), strings.TrimPrefix(err.Error(), "jsontext: "))
		}
		for d.PeekKind() != ']' {
			if err := each(d); err != nil {
				return err
			}
		}
		if _, err := d.ReadToken(); err != nil {
			return invalid("the JSON is damaged after %s: %s", count(n, "answer", "answers"), strings.TrimPrefix(err.Error(), "jsontext: "))
		}
	}
	if n == 0 {
		return invalid("the array is empty").WithHint("Expected are the answers of `aws kms get-public-key`.")
	}
	return nil
}

// atEnd reports whether nothing but white space is left. What is damaged is not the end.
func atEnd(d *jsontext.Decoder) bool {
	if d.PeekKind() != 0 {
		return false
	}
	_, err := d.ReadToken()
	return errors.Is(err, io.EOF)
}

// parseJSON tells the two answers of KMS apart by their members, and decodes strictly.
func parseJSON(file string, data []byte, all *importSet) error {
	var shape struct {
		PublicKey   jsontext.Value `json:"PublicKey"`
		KeyMetadata jsontext.Value `json:"KeyMetadata"`
		// Of a JSON Web Key (RFC 7517): its type, and the private half.
		Type    jsontext.Value `json:"kty"`
		Private jsontext.Value `json:"d"`
	}
	if json.Unmarshal(data, &shape) == nil && shape.PublicKey == nil && shape.KeyMetadata != nil {
		metadata, err := kmskey.DecodeDescribeKey(data)
		if err != nil {
			return err
		}
		if metadata.Arn == "" {
			return invalid("KeyMetadata has no Arn, so it does not say which key it is of").WithHint("Expected is the whole answer of `aws kms describe-key`.")
		}
		all.states = append(all.states, namedState{file: file, metadata: metadata})
		return nil
	}
	if shape.Type != nil && shape.Private != nil {
		return privateKey()
	}
	record, err := decodeRecord(data)
	if err != nil {
		return err
	}
	if record.KeyID == "" || !strings.HasPrefix(record.KeyID, "arn:") {
		if _, err := kmskey.ParseRef(record.KeyID); err != nil && record.KeyID != "" {
			return invalid("KeyId: %s", kmserr.As(err).Fact)
		}
	}
	if told, there := record.Unknown[blocksMember]; there {
		// keys show tells it beside the record. Only keys block and the tar of keys export bring a block.
		delete(record.Unknown, blocksMember)
		var blocks []jsontext.Value
		if json.Unmarshal(told, &blocks) != nil || len(blocks) > 0 {
			all.blocked = append(all.blocked, record.KeyID)
		}
	}
	all.records = append(all.records, namedRecord{file, record})
	return nil
}

// decodeRecord is kmskey.DecodeRecord, which does not tell a private key from other things that are no public key.
func decodeRecord(data []byte) (kmskey.Record, error) {
	record, err := kmskey.DecodeRecord(data)
	if err == nil && looksPrivate(record.PublicKey) {
		err = privateKey()
	}
	return record, err
}
