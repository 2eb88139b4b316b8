package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/awskms-offline/awskms-offline/internal/progress"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawverify"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// maxFormers is how many keys that an alias meant before are looked at, the newest first. Those count too of which no grant
// says anything: else a grant less would let an older one in.
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
		arn := kmskey.ARN{Scope: alias.ARN.Scope, KeyID: was.KeyID}
		in, err := v.former(d.asked, alias, arn, d.now)
		if err != nil {
			return nil, err
		}
		if !allows(in.young) {
			continue
		}
		found, err := v.recordOfFormer(alias, was)
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
		former.former, former.rules, former.inForce = allows, nil, nil
		former.found = &keystore.Resolution{Asked: d.asked, Target: arn, Entries: found.Entries, Alias: alias}
		former.line = d.line
		former.line.Files, former.line.PolicyRules = nil, nil
		// So far these are about the store, not the key: an alias has no fallback to warn of.
		former.line.Options, former.line.Warnings = maps.Clone(d.line.Options), slices.Clone(d.line.Warnings)
		former.noteResolution()
		former.line.Options["alias-history"] = was.KeyID
		former.warn("%s means %s now; this is a key that it meant until %s", alias.ARN, d.found.Target, stamp(was.To.Time))
		all = append(all, &former)
	}
	return all, nil
}

// former is what the policy says of a key that an alias meant before. Its record is not asked for: without a grant nothing is.
func (v *Verifier) former(asked kmskey.Ref, alias *keystore.AliasEntry, arn kmskey.ARN, now time.Time) (inForce, error) {
	all, err := v.rulesFor(asked, &keystore.Resolution{Asked: asked, Target: arn, Alias: alias}, true, now)
	if err != nil {
		return inForce{}, err
	}
	return all[0], nil
}

// recordOfFormer looks up a key that an alias meant before.
func (v *Verifier) recordOfFormer(alias *keystore.AliasEntry, was keystore.AliasHistory) (*keystore.Resolution, error) {
	return v.store().Resolve(kmskey.Ref{Scope: alias.ARN.Scope, KeyID: was.KeyID}, keystore.ResolveOptions{ExactRegion: true, Terse: true})
}

// meantBefore are the keys that an alias meant before and does not mean now, newest first, each once and maxFormers of them
// at most; none of no alias.
func meantBefore(alias *keystore.AliasEntry) (all []keystore.AliasHistory) {
	if alias == nil {
		return nil
	}
	seen := map[string]bool{alias.TargetKeyID: true}
	for _, was := range slices.Backward(alias.History) {
		if !seen[was.KeyID] && len(all) < maxFormers {
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
// does, the refusal is the first one's. Only our own failure ends it at once. Every refusal goes on, that of a call which
// makes no sense to this key too (no algorithm for one that has several, a digest of another length): it may make sense to
// a former one, and would be asked there as soon as something stricter refused this key before.
func (v *Verifier) checkInTurn(ctx context.Context, d *decision, req Request, formers []*decision) error {
	rewind, err := v.replay(ctx, &req)
	if err != nil {
		return err
	}
	first := v.check(ctx, d, req)
	switch {
	case first == nil, kmserr.ExitCode(first) == kmserr.ExitOurSide:
		return first
	case rewind == nil:
		return v.readOnce(first, d.found.Alias.ARN)
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

// readOnce adds to a refusal that no former key was asked, as the message is gone.
func (v *Verifier) readOnce(refusal error, alias kmskey.AliasARN) error {
	return kmserr.Besides(refusal, fmt.Sprintf("Besides, the keys that %s meant before were not tried: the message is longer than %d bytes and can be read only once; name the key itself, or give the message as a file.",
		alias, v.maxMessage()))
}

func (v *Verifier) maxMessage() int64 {
	return rawverify.Options{MaxMessage: v.cfg.MaxMessage}.Limit()
}

// replay makes the message one that can be read more than once: a file by going back, anything else by holding it, up to
// the limit of messages that are held. A longer one is read once, and rewind is nil.
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
	limit := v.maxMessage()
	data, err := io.ReadAll(io.LimitReader(progress.Reader(ctx, req.Message), limit+1))
	if err != nil {
		if e := new(kmserr.Error); ctx.Err() != nil || errors.As(err, &e) {
			return nil, err
		}
		return nil, unreadable(err)
	}
	held := bytes.NewReader(data)
	if int64(len(data)) > limit {
		req.Message = io.MultiReader(held, req.Message)
		return nil, nil
	}
	req.Message = held
	return func() error { held.Reset(data); return nil }, nil
}
