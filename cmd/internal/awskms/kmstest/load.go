package kmstest

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxRecord is the size in bytes of the largest get-public-key or describe-key file that is read.
const maxRecord = 256 << 10

// recorded is what Load reads of the AWS CLI's answers.
type recorded struct {
	KeyId     string
	KeySpec   string
	KeyUsage  string
	PublicKey []byte

	KeyMetadata struct {
		Arn                      string
		Description              string
		KeyState                 string
		CreationDate             moment
		DeletionDate             moment
		MultiRegionConfiguration struct {
			PrimaryKey  regionalKey
			ReplicaKeys []regionalKey
		}
	}
}

// moment is a time as the AWS CLI writes it: a number of seconds since 1970 (version 1) or ISO 8601 (version 2).
type moment struct{ time.Time }

// UnmarshalJSONFrom reads either form.
func (m *moment) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '0' {
		return json.UnmarshalDecode(dec, &m.Time)
	}
	var seconds float64
	if err := json.UnmarshalDecode(dec, &seconds); err != nil {
		return err
	}
	m.Time = time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
	return nil
}

// Load adds the keys of a folder in the shape of this repository's testdata: records/*.get-public-key.json with
// describe-key.json beside it, in the form of the AWS CLI's versions 1 or 2, and the private keys in keys/*.key.pem,
// found by their public key. So the fake answers for the very ARNs that the committed records, images and policies name.
// It returns the ARNs by the first part of the file names: "p256", "sm2", "p256-mrk.eu-west-1".
func (s *Server) Load(testdata string) (map[string]string, error) {
	private := make(map[string]*Material)
	keyFiles, err := filepath.Glob(filepath.Join(testdata, "keys", "*.key.pem"))
	if err != nil {
		return nil, err
	}
	for _, path := range keyFiles {
		m, err := ReadKeyFile(path)
		if err != nil {
			return nil, err
		}
		private[string(m.spki)] = m
	}

	const suffix = ".get-public-key.json"
	files, err := filepath.Glob(filepath.Join(testdata, "records", "*"+suffix))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no records/*%s", testdata, suffix)
	}
	arns := make(map[string]string)
	families := make(map[string]*family) // by account and key ID
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), suffix)
		public, err := readRecord(path)
		if err != nil {
			return nil, err
		}
		described, err := readRecord(strings.TrimSuffix(path, suffix) + ".describe-key.json")
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		k, err := s.loadKey(public, described, private)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		arns[name] = k.arn()
		if config := described.KeyMetadata.MultiRegionConfiguration; config.PrimaryKey.Region != "" {
			id := k.place.account + ":" + k.id
			if families[id] == nil {
				families[id] = &family{regions: []string{config.PrimaryKey.Region}}
				for _, replica := range config.ReplicaKeys {
					families[id].regions = append(families[id].regions, replica.Region)
				}
			}
			k.family = families[id]
		}
	}
	return arns, nil
}

// loadKey adds one key. The lock is held.
func (s *Server) loadKey(public, described recorded, private map[string]*Material) (*key, error) {
	parts := strings.SplitN(public.KeyId, ":", 6)
	if len(parts) != 6 || !strings.HasPrefix(parts[5], "key/") {
		return nil, fmt.Errorf("KeyId is %q, not the ARN of a key", public.KeyId)
	}
	if described.KeyMetadata.Arn != "" && described.KeyMetadata.Arn != public.KeyId {
		return nil, fmt.Errorf("KeyId is %s, but the describe-key.json beside it is of %s", public.KeyId, described.KeyMetadata.Arn)
	}
	material := private[string(public.PublicKey)]
	if material == nil {
		var err error
		if material, err = ParsePublicKey(public.PublicKey); err != nil {
			return nil, fmt.Errorf("PublicKey: %w", err)
		}
	}
	id := strings.TrimPrefix(parts[5], "key/")
	return s.addKey(Key{
		Account: parts[4], Region: parts[3], ID: id, Spec: material.spec, Usage: public.KeyUsage, Material: material,
		MultiRegion: strings.HasPrefix(id, "mrk-"), Description: described.KeyMetadata.Description,
		State:   State{Name: described.KeyMetadata.KeyState, DeletionDate: described.KeyMetadata.DeletionDate.Time},
		Created: described.KeyMetadata.CreationDate.Time,
	})
}

func readRecord(path string) (r recorded, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return r, err
	}
	if info.Size() > maxRecord {
		return r, fmt.Errorf("%s has %d bytes; a record has at most %d", path, info.Size(), maxRecord)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(bytes.TrimSpace(data), &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
