package kmstest

import (
	"slices"
	"time"
)

// nothing is the answer of an operation that answers nothing.
type nothing struct{}

// createKey makes a key with the shared key material of its KeySpec if that is RSA, which takes long to make, and with
// new material otherwise.
func (s *Server) createKey(c *call) (any, *Error) {
	spec, usage := "SYMMETRIC_DEFAULT", ""
	if c.in.KeySpec != nil {
		spec = *c.in.KeySpec
	}
	if specs[spec] == nil {
		return nil, notOneOf(spec, "keySpec", Specs())
	}
	switch {
	case c.in.KeyUsage != nil:
		usage = *c.in.KeyUsage
	case spec == "SYMMETRIC_DEFAULT":
		usage = EncryptDecrypt
	default:
		return nil, validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	}
	if specs[spec][usage] == nil {
		return nil, validation("KeyUsage %s is not compatible with KeySpec %s", usage, spec)
	}
	k := Key{Account: c.Account, Region: c.region, Spec: spec, Usage: usage, Tags: c.in.Tags}
	if c.in.Description != nil {
		k.Description = *c.in.Description
	}
	if c.in.MultiRegion != nil {
		k.MultiRegion = *c.in.MultiRegion
	}
	if !symmetric(spec) {
		if slices.Contains([]string{"RSA_2048", "RSA_3072", "RSA_4096"}, spec) {
			k.Material = Shared(spec)
		} else {
			k.Material = must(Generate(spec))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.authorize(c, "*"); e != nil {
		return nil, e
	}
	return &describeKeyAnswer{metadataOf(must(s.addKey(k)))}, nil
}

// aliasOf checks the alias name of a request and finds the place of the caller. The lock is held for writing.
func (s *Server) aliasOf(c *call) (*place, string, *Error) {
	if c.in.AliasName == nil {
		return nil, "", constraint(nil, "aliasName", "not be null")
	}
	name := *c.in.AliasName
	if len(name) < 6 || name[:6] != "alias/" {
		return nil, "", validation("Alias must start with the prefix \"alias/\". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html")
	}
	if len(name) >= 10 && name[:10] == "alias/aws/" {
		return nil, "", &Error{Code: "NotAuthorizedException"}
	}
	if !aliasPattern.MatchString(name) {
		return nil, "", &Error{Code: "InvalidAliasNameException"}
	}
	p := s.at(c.region, c.Account)
	return p, name, s.authorize(c, p.arn(name))
}

// targetOf finds the key that an alias shall have. The lock is held.
func (s *Server) targetOf(c *call) (*key, *Error) {
	if c.in.TargetKeyId == nil {
		return nil, constraint(nil, "targetKeyId", "not be null")
	}
	named := *c
	named.in.KeyId = c.in.TargetKeyId
	k, e := s.keyOf(&named, ownAccount)
	if e != nil {
		return nil, e
	}
	if k.state.Name == "PendingDeletion" || k.state.Name == "PendingReplicaDeletion" {
		return nil, stateError(k)
	}
	return k, nil
}

func (s *Server) createAlias(c *call) (any, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, name, e := s.aliasOf(c)
	if e != nil {
		return nil, e
	}
	k, e := s.targetOf(c)
	if e != nil {
		return nil, e
	}
	if p.aliases[name] != nil {
		return nil, &Error{Code: "AlreadyExistsException", Message: "An alias with the name " + p.arn(name) + " already exists"}
	}
	s.putAlias(p, name, k)
	return nothing{}, nil
}

// updateAlias moves an alias to a key of the same type and usage, as KMS demands.
func (s *Server) updateAlias(c *call) (any, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, name, e := s.aliasOf(c)
	if e != nil {
		return nil, e
	}
	k, e := s.targetOf(c)
	if e != nil {
		return nil, e
	}
	a := p.aliases[name]
	if a == nil {
		return nil, notFound("Alias %s is not found.", p.arn(name))
	}
	if a.target != nil && (a.target.usage != k.usage || symmetric(a.target.spec) != symmetric(k.spec)) {
		return nil, validation("Alias %s cannot be changed from a KMS key with key usage %s to one with key usage %s.",
			p.arn(name), a.target.usage, k.usage)
	}
	s.putAlias(p, name, k)
	return nothing{}, nil
}

func (s *Server) deleteAlias(c *call) (any, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, name, e := s.aliasOf(c)
	if e != nil {
		return nil, e
	}
	if p.aliases[name] == nil {
		return nil, notFound("Alias %s is not found.", p.arn(name))
	}
	s.dropAlias(p, p.aliases[name])
	return nothing{}, nil
}

// change gives the key of the call another state if it has one of those named.
func (s *Server) change(c *call, to State, from ...string) (*key, *Error) {
	k, e := s.keyOf(c, ownAccount)
	if e != nil {
		return nil, e
	}
	if !slices.Contains(from, k.state.Name) {
		if k.state.Name == "Enabled" || k.state.Name == "Disabled" {
			return nil, &Error{Code: "KMSInvalidStateException", Message: k.arn() + " is not pending deletion."}
		}
		return nil, stateError(k)
	}
	k.state = to.complete()
	return k, nil
}

func (s *Server) enableKey(c *call) (any, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := s.change(c, State{}, "Enabled", "Disabled")
	return nothing{}, e
}

func (s *Server) disableKey(c *call) (any, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, e := s.change(c, State{Name: "Disabled"}, "Enabled", "Disabled")
	return nothing{}, e
}

type deletionAnswer struct {
	DeletionDate        *epoch `json:",omitempty"`
	KeyId               string
	KeyState            string `json:",omitempty"`
	PendingWindowInDays int    `json:",omitzero"`
}

// scheduleKeyDeletion makes a key wait for its end, which never comes. A multi-Region primary with replicas waits for
// these first.
func (s *Server) scheduleKeyDeletion(c *call) (any, *Error) {
	days := 30
	if c.in.PendingWindowInDays != nil {
		if days = *c.in.PendingWindowInDays; days < 7 {
			return nil, constraint(days, "pendingWindowInDays", "have value greater than or equal to 7")
		}
		if days > 30 {
			return nil, constraint(days, "pendingWindowInDays", "have value less than or equal to 30")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.keyOf(c, ownAccount)
	if e != nil {
		return nil, e
	}
	to := State{Name: "PendingDeletion", DeletionDate: time.Now().Add(time.Duration(days) * 24 * time.Hour)}
	if k.family != nil && len(k.family.regions) > 1 && k.family.regions[0] == k.place.region {
		to = State{Name: "PendingReplicaDeletion", PendingWindowInDays: days}
	}
	if _, e := s.change(c, to, "Enabled", "Disabled", "PendingImport", "Unavailable"); e != nil {
		return nil, e
	}
	return &deletionAnswer{DeletionDate: epochOrNil(to.DeletionDate), KeyId: k.arn(), KeyState: to.Name, PendingWindowInDays: days}, nil
}

// cancelKeyDeletion leaves the key disabled, as KMS does.
func (s *Server) cancelKeyDeletion(c *call) (any, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.change(c, State{Name: "Disabled"}, "PendingDeletion", "PendingReplicaDeletion")
	if e != nil {
		return nil, e
	}
	return &deletionAnswer{KeyId: k.arn()}, nil
}

func (s *Server) tagResource(c *call) (any, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.keyOf(c, ownAccount)
	if e != nil {
		return nil, e
	}
	tags := slices.Clone(k.tags)
	for _, tag := range c.in.Tags {
		if i := slices.IndexFunc(tags, func(t Tag) bool { return t.TagKey == tag.TagKey }); i >= 0 {
			tags[i] = tag
		} else {
			tags = append(tags, tag)
		}
	}
	k.tags = tags
	return nothing{}, nil
}

func (s *Server) untagResource(c *call) (any, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, e := s.keyOf(c, ownAccount)
	if e != nil {
		return nil, e
	}
	k.tags = slices.DeleteFunc(slices.Clone(k.tags), func(t Tag) bool { return slices.Contains(c.in.TagKeys, t.TagKey) })
	return nothing{}, nil
}
