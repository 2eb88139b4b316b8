package kmstest

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// epoch is a time as AWS JSON 1.1 writes it: seconds since 1970 with milliseconds, in the scientific notation of the
// real service.
type epoch struct{ time.Time }

// MarshalJSONTo writes the time, for example 1.773313199787E9.
func (e epoch) MarshalJSONTo(enc *jsontext.Encoder) error {
	seconds := math.Round(float64(e.UnixMilli())) / 1000
	text := strconv.FormatFloat(seconds, 'E', -1, 64)
	return enc.WriteValue(jsontext.Value(strings.Replace(text, "E+0", "E", 1)))
}

func epochOrNil(t time.Time) *epoch {
	if t.IsZero() {
		return nil
	}
	return &epoch{t}
}

// algorithmLists has the one list that goes with the key's usage.
type algorithmLists struct {
	EncapsulationAlgorithms []string `json:",omitempty"`
	EncryptionAlgorithms    []string `json:",omitempty"`
	KeyAgreementAlgorithms  []string `json:",omitempty"`
	MacAlgorithms           []string `json:",omitempty"`
	SigningAlgorithms       []string `json:",omitempty"`
}

func listsOf(k *key) algorithmLists {
	var l algorithmLists
	*map[string]*[]string{
		SignVerify: &l.SigningAlgorithms, EncryptDecrypt: &l.EncryptionAlgorithms, KeyAgreement: &l.KeyAgreementAlgorithms,
		GenerateVerifyMac: &l.MacAlgorithms, EncapsulateDecapsulate: &l.EncapsulationAlgorithms,
	}[k.usage] = k.algorithms()
	return l
}

type publicKeyAnswer struct {
	CustomerMasterKeySpec string
	KeyId                 string
	KeySpec               string
	KeyUsage              string
	PublicKey             []byte
	algorithmLists
}

// getPublicKey answers for a disabled key too, but not for one that is to be deleted or has no material: so KMS was
// observed to do. A key without a public key is an UnsupportedOperationException with no text.
func (s *Server) getPublicKey(c *call) (any, *Error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, e := s.keyOf(c, anywhere)
	if e != nil {
		return nil, e
	}
	if k.material == nil {
		return nil, &Error{Code: "UnsupportedOperationException"}
	}
	switch k.state.Name {
	case "Enabled", "Disabled", "Updating":
	default:
		return nil, stateError(k)
	}
	return &publicKeyAnswer{
		CustomerMasterKeySpec: k.spec, KeyId: k.arn(), KeySpec: k.spec, KeyUsage: k.usage, PublicKey: k.material.spki,
		algorithmLists: listsOf(k),
	}, nil
}

type regionalKey struct{ Arn, Region string }

type multiRegionConfiguration struct {
	MultiRegionKeyType string
	PrimaryKey         regionalKey
	ReplicaKeys        []regionalKey
}

type keyMetadata struct {
	AWSAccountId                string
	Arn                         string
	CreationDate                epoch
	CurrentKeyMaterialId        string `json:",omitempty"`
	CustomerMasterKeySpec       string
	DeletionDate                *epoch `json:",omitempty"`
	Description                 string
	Enabled                     bool
	ExpirationModel             string `json:",omitempty"`
	KeyId                       string
	KeyManager                  string
	KeySpec                     string
	KeyState                    string
	KeyUsage                    string
	MultiRegion                 bool
	MultiRegionConfiguration    *multiRegionConfiguration `json:",omitempty"`
	Origin                      string
	PendingDeletionWindowInDays int    `json:",omitzero"`
	ValidTo                     *epoch `json:",omitempty"`
	algorithmLists
}

type describeKeyAnswer struct{ KeyMetadata *keyMetadata }

func (s *Server) describeKey(c *call) (any, *Error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, e := s.keyOf(c, anywhere)
	if e != nil {
		return nil, e
	}
	return &describeKeyAnswer{metadataOf(k)}, nil
}

// metadataOf is what DescribeKey tells. The lock is held.
func metadataOf(k *key) *keyMetadata {
	m := &keyMetadata{
		AWSAccountId: k.place.account, Arn: k.arn(), CreationDate: epoch{k.created}, CustomerMasterKeySpec: k.spec,
		Description: k.description, Enabled: k.state.Name == "Enabled", KeyId: k.id, KeyManager: k.manager, KeySpec: k.spec,
		KeyState: k.state.Name, KeyUsage: k.usage, MultiRegion: k.family != nil, Origin: k.origin,
		DeletionDate:                epochOrNil(k.state.DeletionDate),
		PendingDeletionWindowInDays: k.state.PendingWindowInDays,
		ValidTo:                     epochOrNil(k.state.ValidTo),
		algorithmLists:              listsOf(k),
	}
	if k.spec == "SYMMETRIC_DEFAULT" && k.state.Name != "PendingImport" {
		// 64 hexadecimal digits, the same in every Region of a multi-Region key.
		id := strings.NewReplacer("-", "", "mrk", "").Replace(k.id)
		m.CurrentKeyMaterialId = id + id
	}
	if k.origin == "EXTERNAL" && k.state.Name != "PendingImport" {
		m.ExpirationModel = "KEY_MATERIAL_DOES_NOT_EXPIRE"
		if !k.state.ValidTo.IsZero() {
			m.ExpirationModel = "KEY_MATERIAL_EXPIRES"
		}
	}
	if k.family != nil && len(k.family.regions) > 0 {
		regions := k.family.regions
		regional := func(region string) regionalKey {
			return regionalKey{Arn: InRegion(k.arn(), region), Region: region}
		}
		config := &multiRegionConfiguration{MultiRegionKeyType: "REPLICA", PrimaryKey: regional(regions[0]), ReplicaKeys: []regionalKey{}}
		if k.place.region == regions[0] {
			config.MultiRegionKeyType = "PRIMARY"
		}
		for _, region := range regions[1:] {
			config.ReplicaKeys = append(config.ReplicaKeys, regional(region))
		}
		m.MultiRegionConfiguration = config
	}
	return m
}

// List limits of the API.
const (
	keysLimit, keysDefault       = 1000, 100
	aliasesLimit, aliasesDefault = 100, 50
	tagsLimit, tagsDefault       = 50, 50
)

type keyListEntry struct{ KeyArn, KeyId string }

type keysAnswer struct {
	Keys       []keyListEntry
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func (s *Server) listKeys(c *call) (any, *Error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.authorize(c, "*"); e != nil {
		return nil, e
	}
	var order []*key
	if p := s.places[c.region+":"+c.Account]; p != nil {
		order = p.order
	}
	page, next, e := paginate(s, c, order, keysLimit, keysDefault, func(k *key) bool { return k != nil })
	if e != nil {
		return nil, e
	}
	answer := &keysAnswer{Keys: make([]keyListEntry, len(page)), NextMarker: next, Truncated: next != ""}
	for i, k := range page {
		answer.Keys[i] = keyListEntry{KeyArn: k.arn(), KeyId: k.id}
	}
	return answer, nil
}

type aliasListEntry struct {
	AliasArn        string
	AliasName       string
	CreationDate    *epoch `json:",omitempty"`
	LastUpdatedDate *epoch `json:",omitempty"`
	TargetKeyId     string `json:",omitempty"`
}

type aliasesAnswer struct {
	Aliases    []aliasListEntry
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func (s *Server) listAliases(c *call) (any, *Error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.places[c.region+":"+c.Account]
	var order []*alias
	if c.in.KeyId != nil {
		k, e := s.keyOf(c, ownAccount)
		if e != nil {
			return nil, e
		}
		p, order = k.place, k.aliases
	} else {
		if e := s.authorize(c, "*"); e != nil {
			return nil, e
		}
		if p != nil {
			order = p.aliasOrder
		}
	}
	page, next, e := paginate(s, c, order, aliasesLimit, aliasesDefault, func(a *alias) bool { return a != nil })
	if e != nil {
		return nil, e
	}
	answer := &aliasesAnswer{Aliases: make([]aliasListEntry, len(page)), NextMarker: next, Truncated: next != ""}
	for i, a := range page {
		entry := aliasListEntry{AliasArn: p.arn(a.name), AliasName: a.name}
		if a.target != nil {
			entry.CreationDate, entry.LastUpdatedDate, entry.TargetKeyId = &epoch{a.created}, &epoch{a.updated}, a.target.id
		}
		answer.Aliases[i] = entry
	}
	return answer, nil
}

type tagsAnswer struct {
	NextMarker string `json:",omitempty"`
	Tags       []Tag
	Truncated  bool
}

func (s *Server) listResourceTags(c *call) (any, *Error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, e := s.keyOf(c, ownAccount)
	if e != nil {
		return nil, e
	}
	page, next, e := paginate(s, c, k.tags, tagsLimit, tagsDefault, func(Tag) bool { return true })
	if e != nil {
		return nil, e
	}
	return &tagsAnswer{NextMarker: next, Tags: append([]Tag{}, page...), Truncated: next != ""}, nil
}

// paginate cuts the page that the call asks for. The marker is the place in the list where the next page begins, made
// opaque so that no client reads it; next is empty if nothing that is still there comes after the page. The lock is held.
func paginate[E any](s *Server, c *call, list []E, limit, standard int, there func(E) bool) (page []E, next string, e *Error) {
	n := standard
	if c.in.Limit != nil {
		if n = *c.in.Limit; n < 1 {
			return nil, "", constraint(n, "limit", "have value greater than or equal to 1")
		}
		if n > limit {
			return nil, "", constraint(n, "limit", "have value less than or equal to "+strconv.Itoa(limit))
		}
	}
	if s.page > 0 {
		n = min(n, s.page)
	}
	from := 0
	if c.in.Marker != nil {
		text, err := base64.RawURLEncoding.DecodeString(*c.in.Marker)
		position, ok := strings.CutPrefix(string(text), c.operation+":")
		if from, err = atoi(position, err); err != nil || !ok || from < 0 {
			return nil, "", &Error{Code: "InvalidMarkerException", Message: "Could not deserialize marker"}
		}
	}
	for i := min(from, len(list)); i < len(list); i++ {
		if !there(list[i]) {
			continue
		}
		if len(page) == n {
			return page, base64.RawURLEncoding.EncodeToString([]byte(c.operation + ":" + strconv.Itoa(i))), nil
		}
		page = append(page, list[i])
	}
	return page, "", nil
}

func atoi(text string, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// reach says which keys an operation can be used on.
type reach bool

const (
	anywhere   reach = true  // "Cross-account use: Yes" in the API reference
	ownAccount reach = false // "Cross-account use: No"
)

// keyOf finds the key that the call names, and checks that the caller may use it. The lock is held.
func (s *Server) keyOf(c *call, r reach) (*key, *Error) {
	if c.in.KeyId == nil {
		return nil, constraint(nil, "keyId", "not be null")
	}
	id := *c.in.KeyId
	if id == "" {
		return nil, constraint(id, "keyId", "have length greater than or equal to 1")
	}
	if len(id) > 2048 {
		return nil, constraint(id, "keyId", "have length less than or equal to 2048")
	}
	takesAlias := slices.Contains([]string{"GetPublicKey", "DescribeKey", "Sign", "Verify"}, c.operation)
	k, e := s.find(c, id, takesAlias)
	if e != nil {
		// Who may not use a key is not told that there is none.
		if strings.HasPrefix(id, "arn:") {
			if denied := s.authorize(c, id); denied != nil {
				return nil, denied
			}
		}
		return nil, e
	}
	if denied := s.authorize(c, k.arn()); denied != nil {
		return nil, denied
	}
	if k.place.account != c.Account && r == ownAccount {
		return nil, accessDenied(c.Caller, c.operation, k.arn())
	}
	return k, nil
}

// find resolves a key ID, key ARN, alias name or alias ARN as KMS does: in the Region of the request and, for what is no
// ARN, in the account of the caller. The lock is held.
func (s *Server) find(c *call, id string, takesAlias bool) (*key, *Error) {
	p, resource := s.places[c.region+":"+c.Account], id
	arn := "arn:" + c.partition + ":kms:" + c.region + ":" + c.Account + ":"
	if strings.HasPrefix(id, "arn:") {
		parts := strings.SplitN(id, ":", 6)
		if len(parts) != 6 || parts[2] != "kms" || !accountPattern.MatchString(parts[4]) || !regionPattern.MatchString(parts[3]) {
			return nil, &Error{Code: "InvalidArnException", Message: "Invalid arn " + id}
		}
		if parts[3] != c.region || parts[1] != c.partition {
			return nil, notFound("Invalid arn %s", parts[3])
		}
		p, resource, arn = s.places[parts[3]+":"+parts[4]], parts[5], strings.Join(parts[:5], ":")+":"
		if !strings.HasPrefix(resource, "alias/") {
			var ok bool
			if resource, ok = strings.CutPrefix(resource, "key/"); !ok {
				return nil, &Error{Code: "InvalidArnException", Message: "Invalid arn " + id}
			}
		}
	}
	if strings.HasPrefix(resource, "alias/") {
		if !takesAlias {
			return nil, &Error{Code: "InvalidArnException", Message: "Key Aliases are not supported for this operation."}
		}
		if p == nil || p.aliases[resource] == nil || p.aliases[resource].target == nil {
			return nil, notFound("Alias %s is not found.", arn+resource)
		}
		return p.aliases[resource].target, nil
	}
	if !uuidPattern.MatchString(resource) && !mrkPattern.MatchString(resource) {
		return nil, notFound("Invalid keyId '%s'", resource)
	}
	if p == nil || p.keys[resource] == nil {
		return nil, notFound("Key '%skey/%s' does not exist", arn, resource)
	}
	return p.keys[resource], nil
}
