package awskms

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// Actions of KMS that this package uses, as IAM names them.
const (
	ActionGetPublicKey     = "kms:GetPublicKey"
	ActionDescribeKey      = "kms:DescribeKey"
	ActionListAliases      = "kms:ListAliases"
	ActionListKeys         = "kms:ListKeys"
	ActionListResourceTags = "kms:ListResourceTags"
)

// Fetched is what KMS said of one key.
type Fetched struct {
	// Key is the record: public key, state if DescribeKey was allowed, aliases; its times are when KMS was asked.
	Key *kmskey.Key
	// Withheld says that KMS gave no public key, and that the key is as it was known.
	Withheld bool
	// AliasesKnown says that the record's aliases are all that the key has. Without kms:ListAliases they are not known,
	// nor for a key of another account.
	AliasesKnown bool
	// AliasesAt is when the aliases were asked for, where that is later than the record's own time; else zero.
	AliasesAt kmskey.Time
	// Notes are what could not be had, one sentence each.
	Notes []string
	// Incomplete is why the aliases are not known, where that is no matter of what is allowed: the key is good, but what
	// brought it has not done all it could.
	Incomplete error
}

// Fetch asks KMS for a key: GetPublicKey, DescribeKey, ListAliases. Without permission for one of the latter two the
// answer is what remains, and says so. What KMS answers about another key than was asked for is refused.
func (c *Client) Fetch(ctx context.Context, ref kmskey.Ref) (*Fetched, error) {
	return c.fetch(ctx, ref, nil)
}

// fetch is Fetch with what a listing knows already, if it is not nil.
func (c *Client) fetch(ctx context.Context, ref kmskey.Ref, listed *Listed) (*Fetched, error) {
	client, id, err := c.of(ref)
	if err != nil {
		return nil, err
	}
	asked := now()
	answer, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: id})
	if err != nil {
		return nil, c.explain(err, ActionGetPublicKey, ref)
	}
	if aws.ToString(answer.KeyId) == "" || len(answer.PublicKey) == 0 {
		return nil, kmserr.New(kmserr.KMSService, "KMS answered GetPublicKey of %s without a key", ref).
			WithHint("Is the endpoint a real KMS?").WithKey(ref.String())
	}
	out := new(Fetched)
	record := kmskey.Record{
		KeyID: aws.ToString(answer.KeyId), PublicKey: answer.PublicKey,
		KeySpec: kmskey.KeySpec(answer.KeySpec), KeyUsage: kmskey.KeyUsage(answer.KeyUsage),
		CustomerMasterKeySpec:  kmskey.KeySpec(answer.CustomerMasterKeySpec), //nolint:staticcheck // deprecated by AWS, and all that old emulators give
		SigningAlgorithms:      texts[kmskey.SigningAlgorithm](answer.SigningAlgorithms),
		EncryptionAlgorithms:   texts[string](answer.EncryptionAlgorithms),
		KeyAgreementAlgorithms: texts[string](answer.KeyAgreementAlgorithms),
		Snapshot:               kmskey.Snapshot{Time: asked, Source: kmskey.SourceKMS},
	}
	// From here on the key is named by what GetPublicKey answered, so that an alias that moves meanwhile does not mix two.
	exact := ref
	if r, err := kmskey.ParseRef(record.KeyID); err == nil && r.Alias == "" {
		exact = r
		if r.Scope.IsZero() {
			exact.Scope = ref.Scope
		}
	}
	var described *kmskey.KeyMetadata
	var aliases *aliasList
	if listed != nil {
		// The aliases are as old as the list, and the key itself never changes: the record is dated by the older of the two.
		described, aliases = listed.metadata, listed.aliases
		record.Snapshot.Time, record.Snapshot.StateTime = listed.listedAt, listed.describedAt
	}
	if described == nil {
		record.Snapshot.StateTime = now()
		described, err = c.describeEither(ctx, exact, ref, record.KeyID)
		switch {
		case err == nil:
		case notAllowed(err):
			record.Snapshot.StateTime = kmskey.Time{}
			out.Notes = append(out.Notes, fmt.Sprintf("the key state is recorded as unknown: %s", kmserr.As(err).Fact))
		default:
			return nil, err
		}
	}
	record.KeyMetadata = described
	if described != nil {
		if _, err := kmskey.ParseARN(record.KeyID); err != nil && described.Arn != "" {
			record.KeyID = described.Arn // emulators answer GetPublicKey with a bare key ID
		}
	}
	arn, err := checkARN(record.KeyID, ref, client.Options().Region)
	if err != nil {
		return nil, err
	}
	if aliases == nil {
		aliases = c.aliasesOf(ctx, arn)
	}
	record.Aliases, out.AliasesKnown, out.Incomplete = aliases.names, aliases.known, aliases.failed
	if aliases.note != "" {
		out.Notes = append(out.Notes, aliases.note)
	}
	// GetPublicKey has just said what this alias means, whatever the list says of a moment later.
	if ref.Alias != "" && !slices.Contains(record.Aliases, ref.Alias) {
		record.Aliases = append(slices.Clone(record.Aliases), ref.Alias)
		slices.Sort(record.Aliases)
	}
	if out.Key, err = kmskey.NewKey(record); err != nil {
		e := kmserr.As(err)
		return nil, kmserr.New(e.Name, "KMS's answer about %s: %s", ref, e.Fact).
			WithHint("Is the endpoint a real KMS? What contradicts itself is not stored.").WithKey(arn.String())
	}
	return out, nil
}

func texts[T, S ~string](in []S) []T {
	var out []T
	for _, s := range in {
		out = append(out, T(s))
	}
	return out
}

// now is what an answer's age counts from: the moment before it was asked for.
func now() kmskey.Time { return kmskey.Time{Time: time.Now().UTC().Truncate(time.Millisecond)} }

// checkARN checks that an answer is about what was asked for.
func checkARN(answered string, asked kmskey.Ref, region string) (kmskey.ARN, error) {
	arn, err := kmskey.ParseARN(answered)
	if err != nil {
		return arn, kmserr.New(kmserr.KMSService, "KMS answered about %s with the KeyId %q, which is no key ARN, and DescribeKey gave none", asked, answered).
			WithHint("Allow kms:DescribeKey, which gives the key's ARN.").WithKey(asked.String())
	}
	if !asked.Scope.IsZero() && asked.Scope != arn.Scope || arn.Region != region || asked.Alias == "" && asked.KeyID != arn.KeyID {
		return arn, kmserr.New(kmserr.KMSService, "KMS was asked for %s in %s and answered about %s", asked, region, arn).
			WithHint("Is the endpoint a real KMS, and the one of that Region?").WithKey(asked.String())
	}
	return arn, nil
}

// describe asks for a key's metadata.
func (c *Client) describe(ctx context.Context, ref kmskey.Ref) (*kmskey.KeyMetadata, error) {
	client, id, err := c.of(ref)
	if err != nil {
		return nil, err
	}
	answer, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: id})
	if err != nil {
		return nil, c.explain(err, ActionDescribeKey, ref)
	}
	if answer.KeyMetadata == nil {
		return nil, kmserr.New(kmserr.KMSService, "KMS answered DescribeKey of %s without KeyMetadata", ref).WithKey(ref.String())
	}
	return metadata(answer.KeyMetadata), nil
}

// describeEither is describe of the key that GetPublicKey named or, where that is not allowed, of the alias that was asked for:
// a policy may allow it by the alias alone (condition key kms:RequestAlias). By now that may mean another key than keyID, or none.
func (c *Client) describeEither(ctx context.Context, key, asked kmskey.Ref, keyID string) (*kmskey.KeyMetadata, error) {
	described, err := c.describe(ctx, key)
	if !notAllowed(err) || asked.Alias == "" {
		return described, err
	}
	byAlias, other := c.describe(ctx, asked)
	switch {
	case other == nil && byAlias.Arn == keyID:
		return byAlias, nil
	case other != nil && !notAllowed(other) && !kmserr.Is(other, kmserr.NotFound):
		return nil, other
	}
	return nil, err
}

// metadata keeps of DescribeKey's answer what a verification needs, and beside it what a person may ask about.
func metadata(m *types.KeyMetadata) *kmskey.KeyMetadata {
	out := &kmskey.KeyMetadata{
		Arn: aws.ToString(m.Arn), KeyID: aws.ToString(m.KeyId), KeyState: kmskey.KeyState(m.KeyState), Enabled: &m.Enabled,
		KeySpec: kmskey.KeySpec(m.KeySpec), KeyUsage: kmskey.KeyUsage(m.KeyUsage), MultiRegion: m.MultiRegion,
		DeletionDate: moment(m.DeletionDate), ValidTo: moment(m.ValidTo),
		Unknown: make(map[string]jsontext.Value),
	}
	keep := func(name string, there bool, value any) {
		if data, err := json.Marshal(value, json.Deterministic(true)); there && err == nil {
			out.Unknown[name] = data
		}
	}
	keep("AWSAccountId", m.AWSAccountId != nil, m.AWSAccountId)
	keep("CreationDate", m.CreationDate != nil, moment(m.CreationDate))
	keep("Description", aws.ToString(m.Description) != "", m.Description)
	keep("KeyManager", m.KeyManager != "", m.KeyManager)
	keep("Origin", m.Origin != "", m.Origin)
	keep("ExpirationModel", m.ExpirationModel != "", m.ExpirationModel)
	if r := m.MultiRegionConfiguration; r != nil {
		keep("MultiRegionKeyType", r.MultiRegionKeyType != "", r.MultiRegionKeyType)
	}
	if len(out.Unknown) == 0 {
		out.Unknown = nil
	}
	return out
}

func moment(t *time.Time) kmskey.Time {
	if t == nil {
		return kmskey.Time{}
	}
	return kmskey.Time{Time: t.UTC()}
}

// aliasList is the aliases of one key.
type aliasList struct {
	names  []string // sorted; never nil if known
	known  bool
	note   string
	failed error // why they are not known, if that is neither a permission nor another account's key
}

// aliasesOf asks for the aliases of a key. That they may not be had is a note, not an error: the key itself is good. For a
// key of another account KMS gives none, whatever is allowed. What another call could have got, after an interruption or a
// timeout within KMS, has failed.
func (c *Client) aliasesOf(ctx context.Context, arn kmskey.ARN) *aliasList {
	out := &aliasList{names: []string{}}
	err := c.eachAlias(ctx, arn.Region, aws.String(arn.String()), func(name, target string) {
		if target == arn.KeyID {
			out.names = append(out.names, name)
		}
	})
	switch {
	case err == nil:
	case notAllowed(err), kmserr.Is(err, kmserr.NotFound), kmserr.Is(err, kmserr.Validation):
		return &aliasList{note: fmt.Sprintf("the key's aliases are not known: %s", kmserr.As(err).Fact)}
	default:
		e := kmserr.As(err)
		return &aliasList{failed: kmserr.New(e.Name, "the aliases of %s are not known: %s", arn, e.Fact).WithHint("%s", e.Hint).WithCause(err).WithKey(arn.String())}
	}
	slices.Sort(out.names)
	out.known = true
	return out
}

// eachAlias calls take for every alias of a key, of the whole account in the Region if keyID is nil.
func (c *Client) eachAlias(ctx context.Context, region string, keyID *string, take func(name, target string)) error {
	client, err := c.in(region)
	if err != nil {
		return err
	}
	what := kmskey.Ref{Scope: kmskey.Scope{Region: region}}
	if keyID != nil {
		if what, err = kmskey.ParseRef(*keyID); err != nil {
			return err
		}
	}
	return pages(func(marker *string) (*string, bool, error) {
		page, err := client.ListAliases(ctx, &kms.ListAliasesInput{KeyId: keyID, Limit: aws.Int32(100), Marker: marker})
		if err != nil {
			return nil, false, c.explain(err, ActionListAliases, what)
		}
		for _, a := range page.Aliases {
			name := aws.ToString(a.AliasName)
			if _, err := kmskey.ParseAlias(name); err != nil || a.TargetKeyId == nil {
				continue // AWS's own aliases may mean no key yet
			}
			take(name, *a.TargetKeyId)
		}
		return page.NextMarker, page.Truncated, nil
	})
}

// AliasTarget asks what an alias means now: a bare key ID in the alias's own account and Region; empty if KMS has no such
// alias.
func (c *Client) AliasTarget(ctx context.Context, alias kmskey.AliasARN) (keyID string, at kmskey.Time, err error) {
	ref, err := kmskey.ParseRef(alias.String())
	if err != nil {
		return "", at, err
	}
	at = now()
	m, err := c.describe(ctx, ref)
	if kmserr.Is(err, kmserr.NotFound) {
		return "", at, nil
	}
	if err != nil {
		return "", at, err
	}
	arn, err := checkARN(m.Arn, ref, alias.Region)
	return arn.KeyID, at, err
}

// List is what ListKeys found.
type List struct {
	// Keys are the signing keys, described.
	Keys []Listed
	// Skipped counts other keys: symmetric, for encryption, for key agreement, or outside the filter.
	Skipped int
	// Notes are what could not be had.
	Notes []string
}

// Listed is a key that was listed, not fetched yet.
type Listed struct {
	Ref      kmskey.Ref
	metadata *kmskey.KeyMetadata
	aliases  *aliasList
	// listedAt is from before the aliases were listed, describedAt from before the key was described.
	listedAt, describedAt kmskey.Time
	outside               bool // the filter
	err                   error
}

// ErrNotForSigning is FetchListed's answer to a key that Listing could not tell to be none: DescribeKey was denied.
var ErrNotForSigning = errors.New("the key is not for signing")

// Filter narrows a list. The zero value takes every signing key.
type Filter struct {
	// AliasPrefix: at least one alias begins with it, "alias/" included.
	AliasPrefix string
	// Tags the key must all have.
	Tags []Tag
}

// Tag is a tag that a key must have.
type Tag struct {
	Name  string
	Value *string // nil: any
}

// Listing lists the asymmetric signing keys of the account in a Region, with at most parallel calls at once.
func (c *Client) Listing(ctx context.Context, region string, filter Filter, parallel int) (*List, error) {
	client, err := c.in(region)
	if err != nil {
		return nil, err
	}
	out, listedAt := new(List), now()
	names := make(map[string]*aliasList)
	err = c.eachAlias(ctx, client.Options().Region, nil, func(name, target string) {
		if names[target] == nil {
			names[target] = &aliasList{known: true}
		}
		names[target].names = append(names[target].names, name)
	})
	unknown := ""
	if err != nil {
		if !notAllowed(err) || filter.AliasPrefix != "" {
			return nil, err
		}
		unknown = fmt.Sprintf("aliases are not known: %s", kmserr.As(err).Fact)
		out.Notes = append(out.Notes, unknown)
	}
	var refs []Listed
	err = pages(func(marker *string) (*string, bool, error) {
		page, err := client.ListKeys(ctx, &kms.ListKeysInput{Limit: aws.Int32(1000), Marker: marker})
		if err != nil {
			return nil, false, c.explain(err, ActionListKeys, kmskey.Ref{Scope: kmskey.Scope{Region: client.Options().Region}})
		}
		for _, k := range page.Keys {
			ref, err := kmskey.ParseRef(aws.ToString(k.KeyArn))
			if err != nil {
				return nil, false, kmserr.New(kmserr.KMSService, "KMS listed the key %q, which is no key ARN", aws.ToString(k.KeyArn)).WithCause(err)
			}
			aliases := names[ref.KeyID]
			switch {
			case unknown != "":
				aliases = &aliasList{}
			case aliases == nil:
				aliases = &aliasList{names: []string{}, known: true}
			}
			slices.Sort(aliases.names)
			if filter.AliasPrefix != "" && !slices.ContainsFunc(aliases.names, func(n string) bool { return strings.HasPrefix(n, filter.AliasPrefix) }) {
				out.Skipped++
				continue
			}
			refs = append(refs, Listed{Ref: ref, aliases: aliases, listedAt: listedAt})
		}
		return page.NextMarker, page.Truncated, nil
	})
	if err != nil {
		return nil, err
	}
	Each(ctx, parallel, len(refs), func(ctx context.Context, i int) {
		k := &refs[i]
		k.describedAt = now()
		if k.metadata, k.err = c.describe(ctx, k.Ref); notAllowed(k.err) {
			k.err = nil // what the key is, FetchListed learns from its public key
		}
		if k.err != nil || len(filter.Tags) == 0 || k.metadata != nil && !signs(k.metadata) {
			return
		}
		// A key whose tags cannot be read is not taken for one that has them.
		var match bool
		match, k.err = c.tagged(ctx, k.Ref, filter.Tags)
		k.outside = !match
	})
	if err := ctx.Err(); err != nil {
		return nil, c.explain(err, ActionListKeys, kmskey.Ref{Scope: kmskey.Scope{Region: client.Options().Region}})
	}
	for _, k := range refs {
		if k.err == nil && (k.outside || k.metadata != nil && !signs(k.metadata)) {
			out.Skipped++
			continue
		}
		out.Keys = append(out.Keys, k) // what is wrong with it, if anything is, FetchListed says
	}
	return out, nil
}

func signs(m *kmskey.KeyMetadata) bool { return m.KeyUsage == kmskey.SignVerify }

// tagged reports whether the key has all of the tags.
func (c *Client) tagged(ctx context.Context, ref kmskey.Ref, want []Tag) (bool, error) {
	client, id, err := c.of(ref)
	if err != nil {
		return false, err
	}
	has := make(map[string]string)
	err = pages(func(marker *string) (*string, bool, error) {
		page, err := client.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: id, Marker: marker})
		if err != nil {
			return nil, false, c.explain(err, ActionListResourceTags, ref)
		}
		for _, tag := range page.Tags {
			has[aws.ToString(tag.TagKey)] = aws.ToString(tag.TagValue)
		}
		return page.NextMarker, page.Truncated, nil
	})
	if err != nil {
		return false, err
	}
	for _, tag := range want {
		if value, there := has[tag.Name]; !there || tag.Value != nil && *tag.Value != value {
			return false, nil
		}
	}
	return true, nil
}

// maxPages is the longest list taken: KMS's quotas allow 100,000 keys in a Region, of which a page has up to 1,000, and 50
// aliases each, of which a page has 100. Tests lower it.
var maxPages = 50_000

// pages calls page until it says that nothing is left. The SDK's own paginators end in silence where a service answers
// with the same marker for ever, or says that there is more and not where: half a list would pass for the whole. A list
// that comes back to where it was, by however many markers, or never ends, would fill the memory.
func pages(page func(marker *string) (next *string, more bool, err error)) error {
	const unreal = "Is the endpoint a real KMS? Nothing of an unfinished list is taken."
	var marker *string
	seen := make(map[[sha256.Size]byte]bool) // a marker may be as long as an answer
	for range maxPages {
		next, more, err := page(marker)
		if err != nil || !more {
			return err
		}
		sum := sha256.Sum256([]byte(aws.ToString(next)))
		if aws.ToString(next) == "" || seen[sum] {
			return kmserr.New(kmserr.KMSService, "KMS says that a list goes on at the marker %.100q, where it was already", aws.ToString(next)).
				WithHint(unreal)
		}
		seen[sum], marker = true, next
	}
	return kmserr.New(kmserr.KMSService, "KMS says that a list goes on after %d pages, more than its quotas allow", maxPages).WithHint(unreal)
}

// FetchListed fetches a key that Listing found; what it knows already is not asked for again. ErrNotForSigning says that
// the key is one to be skipped.
func (c *Client) FetchListed(ctx context.Context, k Listed) (*Fetched, error) {
	if k.err != nil {
		return nil, k.err
	}
	got, err := c.fetch(ctx, k.Ref, &k)
	if k.metadata == nil && (kmserr.Is(err, kmserr.UnsupportedOperation) || err == nil && got.Key.Usage() != kmskey.SignVerify) {
		return nil, ErrNotForSigning
	}
	return got, err
}
