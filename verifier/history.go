package verifier

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/awskms-offline/awskms-offline/internal/progress"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawverify"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// maxFormers is how many keys that an alias meant before are looked at, the newest first.
const maxFormers = 16

// allowsHistory and allowsHistoryForNotation are the two ways in which a grant lets an alias stand for a former key.
func allowsHistory(r policy.Rules) bool            { return r.AllowAliasHistory }
func allowsHistoryForNotation(r policy.Rules) bool { return r.AllowAliasHistoryForNotation }

// formers returns a decision for each key that the alias asked for meant before, newest first, where a grant of the policy
// lets the alias stand for it still and its own record is there. Nothing else is decided yet: each then goes through every
// step as if it had been asked for. Without an alias, without a history or without a grant there is none.
func (v *Verifier) formers(d *decision, allows func(policy.Rules) bool) ([]*decision, error) {
	alias := d.found.Alias
	var all []*decision
	for _, was := range meantBefore(alias) {
		if len(all) == maxFormers {
			break
		}
		arn := kmskey.ARN{Scope: alias.ARN.Scope, KeyID: was.KeyID}
		rules, err := v.cfg.Policy.Rules(policy.Subject{Asked: d.asked, ARN: arn, Former: true})
		if err != nil {
			return nil, kmserr.New(kmserr.PolicyInvalid, "the policy cannot tell about %s: %v", arn, err).WithCause(err)
		}
		if !allows(rules) {
			continue
		}
		found, err := v.store().Resolve(kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID}, keystore.ResolveOptions{ExactRegion: true, Terse: true})
		if kmserr.Is(err, kmserr.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := checkResolution(kmskey.Ref{Scope: arn.Scope, KeyID: arn.KeyID}, found); err != nil {
			return nil, err
		}
		former := *d
		former.former, former.rules, former.inForce = true, nil, nil
		former.found = &keystore.Resolution{Asked: d.asked, Target: arn, Entries: found.Entries, Alias: alias}
		former.line = d.line
		former.line.Files, former.line.Warnings, former.line.PolicyRules = nil, nil, nil
		former.line.Options = maps.Clone(d.line.Options)
		former.noteResolution()
		former.line.Options["alias-history"] = was.KeyID
		former.warn("%s means %s now; this is a key that it meant until %s", alias.ARN, d.found.Target, stamp(was.To.Time))
		all = append(all, &former)
	}
	return all, nil
}

// meantBefore are the keys that an alias meant before and does not mean now, newest first, each once; none of no alias.
func meantBefore(alias *keystore.AliasEntry) (all []keystore.AliasHistory) {
	if alias == nil {
		return nil
	}
	seen := map[string]bool{alias.TargetKeyID: true}
	for _, was := range slices.Backward(alias.History) {
		if !seen[was.KeyID] {
			all = append(all, was)
		}
		seen[was.KeyID] = true
	}
	return all
}

// formerWith returns the former key that has this public key, nil if none has.
func (v *Verifier) formerWith(d *decision, der []byte) (*decision, error) {
	formers, err := v.formers(d, allowsHistoryForNotation)
	if err != nil {
		return nil, err
	}
	for _, former := range formers {
		if former.matchPublicKey(der) == nil {
			return former, nil
		}
	}
	return nil, nil
}

// checkInTurn checks the key that the alias means, then those that it meant. The first that verifies decides; if none
// does, the refusal is the first one's. What is no refusal but a failure ends it at once.
func (v *Verifier) checkInTurn(ctx context.Context, d *decision, req Request, formers []*decision) error {
	rewind, err := v.replay(ctx, &req)
	if err != nil {
		return err
	}
	first := v.check(ctx, d, req)
	if first == nil || kmserr.ExitCode(first) != kmserr.ExitRefused {
		return first
	}
	for _, former := range formers {
		if err := rewind(); err != nil {
			return err
		}
		former.tell("key", nil, "%s, which %s meant before", former.found.Target, former.found.Alias.ARN)
		err := v.check(ctx, former, req)
		switch {
		case err == nil:
			*d = *former
			return nil
		case kmserr.ExitCode(err) == kmserr.ExitOurSide:
			return err
		}
	}
	return first
}

// replay makes the message one that can be read more than once: a file by going back, anything else by holding it, up to
// the limit of messages that are held.
func (v *Verifier) replay(ctx context.Context, req *Request) (rewind func() error, err error) {
	if req.Message == nil {
		return func() error { return nil }, nil
	}
	unreadable := func(err error) error {
		return kmserr.New(kmserr.Validation, "the message cannot be read: %v", err).WithCause(err)
	}
	if file, ok := req.Message.(io.ReadSeeker); ok {
		if start, err := file.Seek(0, io.SeekCurrent); err == nil {
			return func() error {
				if _, err := file.Seek(start, io.SeekStart); err != nil {
					return unreadable(err)
				}
				return nil
			}, nil
		}
	}
	limit := v.cfg.MaxMessage
	if limit <= 0 {
		limit = rawverify.DefaultMaxMessage
	}
	data, err := io.ReadAll(io.LimitReader(progress.Reader(ctx, req.Message), limit+1))
	if err != nil {
		if e := new(kmserr.Error); ctx.Err() != nil || errors.As(err, &e) {
			return nil, err
		}
		return nil, unreadable(err)
	}
	if int64(len(data)) > limit {
		return nil, kmserr.New(kmserr.Validation, "the message is longer than %d bytes, and the alias's history makes it be read more than once", limit).
			WithHint("Name the key itself, or give the message as a file.")
	}
	held := bytes.NewReader(data)
	req.Message = held
	return func() error { held.Reset(data); return nil }, nil
}
