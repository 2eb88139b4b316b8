package kmstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Defaults of a key and of a caller of whom nothing else was said.
const (
	DefaultAccount = "111122223333" // one of the account IDs that AWS uses in its documentation
	DefaultRegion  = "us-east-1"
)

// Key says what key to add. The zero value is an enabled ECC_NIST_P256 signing key of the default account in the
// default Region.
type Key struct {
	Account string // 12 digits
	Region  string
	// ID is a lower-case UUID, or mrk- and 32 hexadecimal digits. Empty: one is made from the account, the Region, the
	// key material and the number of keys before it, so that the same program gives the same IDs for the same material.
	ID string
	// Spec is the KeySpec; empty: that of Material, or ECC_NIST_P256.
	Spec string
	// Usage is the KeyUsage; empty: SIGN_VERIFY if the KeySpec can sign, else its only one.
	Usage string
	// Material is the key pair; nil: Shared(Spec). Symmetric and HMAC keys have none.
	Material *Material
	// MultiRegion makes it a multi-Region key with an mrk- ID: the primary in Region, a replica in each of Replicas.
	MultiRegion bool
	Replicas    []string
	// Aliases are alias names ("alias/release") in Region.
	Aliases     []string
	Tags        []Tag
	Description string
	// State is the key state; the zero value is Enabled.
	State State
	// Origin is AWS_KMS if empty; Manager is CUSTOMER if empty, AWS for AWS managed keys.
	Origin, Manager string
	// Created is the CreationDate; zero: now. KMS has milliseconds.
	Created time.Time
}

// State is a key state as DescribeKey tells it.
type State struct {
	// Name is Enabled, Disabled, PendingDeletion, PendingImport, PendingReplicaDeletion, Unavailable, Creating or
	// Updating; empty is Enabled. Another name is taken too, for a state that this version of KMS does not have.
	Name string
	// DeletionDate goes with PendingDeletion; zero: 30 days from now.
	DeletionDate time.Time
	// PendingWindowInDays goes with PendingReplicaDeletion; zero: 30.
	PendingWindowInDays int
	// ValidTo is when imported key material expires; it makes ExpirationModel KEY_MATERIAL_EXPIRES.
	ValidTo time.Time
}

// Tag is one tag of a key.
type Tag struct {
	TagKey, TagValue string
}

// key is one key in one Region. Its fields are guarded by Server.mu, but for those that never change: id, place, spec,
// usage, family. It is kept small: tests hold a hundred thousand.
type key struct {
	place       *place
	id          string
	slot        int // index in place.order
	spec, usage string
	material    *Material // nil for symmetric and HMAC keys
	family      *family   // nil for a single-Region key
	state       *State    // never nil; shared by keys in the same state, so replaced and never changed
	description string
	origin      string
	manager     string
	created     time.Time
	tags        []Tag
	aliases     []*alias
}

// family is a multi-Region key: the Regions that have it, the primary first.
type family struct{ regions []string }

// alias is one alias. Its target is nil for a predefined alias of AWS, which has no key yet.
type alias struct {
	name             string
	slot             int // index in place.aliasOrder
	target           *key
	created, updated time.Time
}

// place is one account in one Region. order and aliasOrder are in the order of creation, with nil where something was
// deleted, so that an index is a marker which stays true while a client lists.
type place struct {
	partition, region, account string
	keys                       map[string]*key
	order                      []*key
	aliases                    map[string]*alias
	aliasOrder                 []*alias
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	regionPattern  = regexp.MustCompile(`^[a-z]{2,12}(-[a-z0-9]{1,16}){1,4}$`)
	uuidPattern    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	mrkPattern     = regexp.MustCompile(`^mrk-[0-9a-f]{32}$`)
	aliasPattern   = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]{1,250}$`)
)

// Partition is the partition of a Region: "aws" but for the Regions that AWS keeps apart.
func Partition(region string) string {
	for _, p := range []struct{ prefix, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"eusc-", "aws-eusc"}, {"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

func (p *place) arn(resource string) string {
	return "arn:" + p.partition + ":kms:" + p.region + ":" + p.account + ":" + resource
}

func (k *key) arn() string { return k.place.arn("key/" + k.id) }

func (k *key) algorithms() []string { return specs[k.spec][k.usage] }

// enabledState is the state of almost every key.
var enabledState = &State{Name: "Enabled"}

// at finds or makes a place. The lock is held.
func (s *Server) at(region, account string) *place {
	name := region + ":" + account
	p := s.places[name]
	if p == nil {
		p = &place{
			partition: Partition(region), region: region, account: account,
			keys: make(map[string]*key), aliases: make(map[string]*alias),
		}
		s.places[name] = p
	}
	return p
}

// AddKey adds a key and returns its ARN; that of a multi-Region key is the primary's.
func (s *Server) AddKey(k Key) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return must(s.addKey(k)).arn()
}

// AddKeys adds n keys that differ in nothing but the ID, and returns their ARNs. They share one key material, so a
// hundred thousand cost little; Aliases may hold one %d, which becomes the number of the key, from 0.
func (s *Server) AddKeys(n int, template Key) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if template.ID != "" && n > 1 {
		panic("kmstest: AddKeys cannot give several keys one ID")
	}
	arns := make([]string, n)
	for i := range arns {
		k := template
		k.Aliases = slices.Clone(template.Aliases)
		for j, name := range k.Aliases {
			if strings.Contains(name, "%d") {
				k.Aliases[j] = fmt.Sprintf(name, i)
			}
		}
		arns[i] = must(s.addKey(k)).arn()
	}
	return arns
}

// addKey is AddKey. The lock is held. Nothing is added if there is an error.
func (s *Server) addKey(k Key) (*key, error) {
	if k.Account == "" {
		k.Account = DefaultAccount
	}
	if k.Region == "" {
		k.Region = DefaultRegion
	}
	if k.Spec == "" && k.Material != nil {
		k.Spec = k.Material.spec
	}
	if k.Spec == "" {
		k.Spec = "ECC_NIST_P256"
	}
	if k.Usage == "" {
		k.Usage = defaultUsage(k.Spec)
	}
	if k.Origin == "" {
		k.Origin = "AWS_KMS"
	}
	if k.Manager == "" {
		k.Manager = "CUSTOMER"
	}
	if k.Created.IsZero() {
		k.Created = time.Now()
	}
	if specs[k.Spec][k.Usage] == nil {
		return nil, fmt.Errorf("KeyUsage %s is not compatible with KeySpec %s", k.Usage, k.Spec)
	}
	if symmetric(k.Spec) {
		if k.Material != nil {
			return nil, fmt.Errorf("a key of KeySpec %s has no public key", k.Spec)
		}
	} else if k.Material == nil {
		k.Material = Shared(k.Spec)
	}
	if k.Material != nil && k.Material.spec != k.Spec {
		return nil, fmt.Errorf("the key material is of KeySpec %s, not %s", k.Material.spec, k.Spec)
	}
	if k.ID == "" {
		k.ID = s.newID(k)
	}
	if id := mrkPattern.MatchString(k.ID); id != k.MultiRegion || !id && !uuidPattern.MatchString(k.ID) {
		return nil, fmt.Errorf("%q is not the ID of a key with MultiRegion %t", k.ID, k.MultiRegion)
	}
	if !k.MultiRegion && len(k.Replicas) > 0 {
		return nil, fmt.Errorf("a key with Replicas must be MultiRegion")
	}
	regions := append([]string{k.Region}, k.Replicas...)
	for _, region := range regions {
		if !regionPattern.MatchString(region) || !accountPattern.MatchString(k.Account) {
			return nil, fmt.Errorf("%q is no Region or %q no account", region, k.Account)
		}
		if s.at(region, k.Account).keys[k.ID] != nil {
			return nil, fmt.Errorf("key %s exists in %s", k.ID, region)
		}
	}
	for _, name := range k.Aliases {
		if err := s.checkNewAlias(s.at(k.Region, k.Account), name); err != nil {
			return nil, err
		}
	}
	var f *family
	if k.MultiRegion {
		f = &family{regions: regions}
	}
	state := k.State.complete()
	var primary *key
	for i, region := range regions {
		p := s.at(region, k.Account)
		added := &key{
			place: p, id: k.ID, slot: len(p.order), spec: k.Spec, usage: k.Usage, material: k.Material, family: f,
			state: state, description: k.Description, origin: k.Origin, manager: k.Manager, created: k.Created, tags: k.Tags,
		}
		p.keys[k.ID] = added
		p.order = append(p.order, added)
		if i == 0 {
			primary = added
		}
	}
	for _, name := range k.Aliases {
		s.putAlias(primary.place, name, primary)
	}
	return primary, nil
}

// newID makes a key ID that nothing has yet. The lock is held.
func (s *Server) newID(k Key) string {
	s.made++
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %s %s %d\n", k.Account, k.Region, k.Spec, k.Usage, s.made)
	if k.Material != nil {
		h.Write(k.Material.spki)
	}
	sum := h.Sum(nil)
	if k.MultiRegion {
		return "mrk-" + hex.EncodeToString(sum[:16])
	}
	sum[6] = sum[6]&0x0f | 0x40 // RFC 9562, section 5.4: version 4 ...
	sum[8] = sum[8]&0x3f | 0x80 // ... variant 10
	x := hex.EncodeToString(sum[:16])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

func (st State) complete() *State {
	switch st.Name {
	case "", "Enabled":
		if st.ValidTo.IsZero() {
			return enabledState
		}
		st.Name = "Enabled"
	case "PendingDeletion":
		if st.DeletionDate.IsZero() {
			st.DeletionDate = time.Now().Add(30 * 24 * time.Hour)
		}
	case "PendingReplicaDeletion":
		if st.PendingWindowInDays == 0 {
			st.PendingWindowInDays = 30
		}
	}
	return &st
}

// SetState gives a key another state. It sets the one Region of the ARN: replicas have states of their own.
func (s *Server) SetState(arn string, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustKey(arn).state = state.complete()
}

// ReplaceMaterial puts another key pair under an ARN: something that KMS never does, and that its clients must notice.
// The KeySpec becomes that of the material. Only the Region of the ARN is changed.
func (s *Server) ReplaceMaterial(arn string, m *Material) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.mustKey(arn)
	if specs[m.spec][k.usage] == nil {
		panic(fmt.Sprintf("kmstest: KeyUsage %s is not compatible with KeySpec %s", k.usage, m.spec))
	}
	k.material, k.spec = m, m.spec
}

// SetPrimary makes another Region the primary of a multi-Region key. The ARN may be that of any of its Regions.
func (s *Server) SetPrimary(arn, region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.mustKey(arn)
	if k.family == nil || !slices.Contains(k.family.regions, region) {
		panic(fmt.Sprintf("kmstest: %s is not a multi-Region key with a replica in %s", arn, region))
	}
	regions := []string{region}
	for _, r := range k.family.regions {
		if r != region {
			regions = append(regions, r)
		}
	}
	k.family.regions = regions
}

// RemoveKey deletes a key and its aliases, as KMS does when the waiting period is over. Only the Region of the ARN loses
// it.
func (s *Server) RemoveKey(arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.mustKey(arn)
	for _, a := range slices.Clone(k.aliases) {
		s.dropAlias(k.place, a)
	}
	delete(k.place.keys, k.id)
	k.place.order[k.slot] = nil
	if k.family != nil {
		k.family.regions = slices.DeleteFunc(slices.Clone(k.family.regions), func(r string) bool { return r == k.place.region })
	}
}

// PutAlias points an alias at a key of the same account and Region, and makes the alias if there is none: CreateAlias and
// UpdateAlias in one.
func (s *Server) PutAlias(name, keyARN string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.mustKey(keyARN)
	if k.place.aliases[name] == nil && !aliasPattern.MatchString(name) {
		panic(fmt.Sprintf("kmstest: %q is no alias name", name))
	}
	s.putAlias(k.place, name, k)
}

// PutPredefinedAlias adds an alias without a key, such as alias/aws/s3 in an account that never used it.
func (s *Server) PutPredefinedAlias(region, account, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putAlias(s.at(region, account), name, nil)
}

// RemoveAlias deletes an alias, named by its ARN.
func (s *Server) RemoveAlias(aliasARN string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, resource, ok := s.splitARN(aliasARN)
	if !ok || p == nil || p.aliases[resource] == nil {
		panic(fmt.Sprintf("kmstest: there is no alias %s", aliasARN))
	}
	s.dropAlias(p, p.aliases[resource])
}

// checkNewAlias tells whether the alias may be made. The lock is held.
func (s *Server) checkNewAlias(p *place, name string) error {
	if !aliasPattern.MatchString(name) {
		return fmt.Errorf("%q is no alias name", name)
	}
	if p.aliases[name] != nil {
		return fmt.Errorf("an alias with the name %s already exists", p.arn(name))
	}
	return nil
}

// putAlias makes or moves an alias. The lock is held.
func (s *Server) putAlias(p *place, name string, target *key) {
	a := p.aliases[name]
	now := time.Now()
	if a == nil {
		a = &alias{name: name, slot: len(p.aliasOrder), created: now}
		p.aliases[name] = a
		p.aliasOrder = append(p.aliasOrder, a)
	} else if a.target != nil {
		a.target.aliases = slices.DeleteFunc(slices.Clone(a.target.aliases), func(other *alias) bool { return other == a })
	}
	a.target, a.updated = target, now
	if target != nil {
		target.aliases = append(slices.Clip(target.aliases), a)
	}
}

// dropAlias deletes an alias. The lock is held.
func (s *Server) dropAlias(p *place, a *alias) {
	if a.target != nil {
		a.target.aliases = slices.DeleteFunc(slices.Clone(a.target.aliases), func(other *alias) bool { return other == a })
	}
	delete(p.aliases, a.name)
	p.aliasOrder[a.slot] = nil
}

// InRegion is the ARN of a multi-Region key's replica in another Region.
func InRegion(arn, region string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		panic(fmt.Sprintf("kmstest: %q is no ARN", arn))
	}
	parts[1], parts[3] = Partition(region), region
	return strings.Join(parts, ":")
}

// splitARN splits the ARN of a key or alias into its place, which is nil if nothing is there, and "key/ID" or
// "alias/NAME". The lock is held.
func (s *Server) splitARN(arn string) (p *place, resource string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "kms" || parts[1] != Partition(parts[3]) ||
		!strings.HasPrefix(parts[5], "key/") && !strings.HasPrefix(parts[5], "alias/") {
		return nil, "", false
	}
	return s.places[parts[3]+":"+parts[4]], parts[5], true
}

func (s *Server) mustKey(arn string) *key {
	p, resource, ok := s.splitARN(arn)
	if ok && p != nil {
		if k := p.keys[strings.TrimPrefix(resource, "key/")]; k != nil {
			return k
		}
	}
	panic(fmt.Sprintf("kmstest: there is no key %s", arn))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("kmstest: %v", err))
	}
	return value
}
