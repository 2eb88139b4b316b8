package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/awskms-offline/awskms-offline/cmd/internal/awskms"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// kmsFlags say how KMS is reached.
type kmsFlags struct {
	profile, endpoint string
	regions           []string
	parallel          int
}

// defaultParallel is far below KMS's request quotas, and enough to hide a network's latency.
const defaultParallel = 16

// register adds the flags that every command has that calls KMS.
func (f *kmsFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.profile, "profile", "", "the profile of AWS's configuration files")
	fl.StringVar(&f.endpoint, "endpoint-url", "", "KMS's endpoint (default: AWS's, or AWS_ENDPOINT_URL_KMS)")
	fl.IntVar(&f.parallel, "parallel", defaultParallel, "keys asked for at once, 1 to 64")
}

const regionUsage = "the Region of identifiers that do not name one"

// registerForOne adds the flags of a command about one key, which is named by the caller.
func (f *kmsFlags) registerForOne(fl *pflag.FlagSet) {
	f.register(fl)
	fl.StringSliceVar(&f.regions, "region", nil, regionUsage)
	if err := fl.MarkHidden("parallel"); err != nil {
		panic(err) // the flag is registered three lines above
	}
}

func (f *kmsFlags) client(ctx context.Context) (*awskms.Client, error) {
	if f.parallel < 1 || f.parallel > 64 {
		return nil, invalid("--parallel is %d, expected 1 to 64", f.parallel)
	}
	config := awskms.Config{Profile: f.profile, EndpointURL: f.endpoint}
	if len(f.regions) > 0 {
		config.Region = f.regions[0]
	}
	for _, region := range f.regions {
		if err := (kmskey.Scope{Partition: "aws", Region: region, Account: "000000000000"}).Check(); err != nil {
			return nil, invalid("--region is %q, which is no Region", region)
		}
	}
	return awskms.New(ctx, config)
}

// pullFlags are the flags of keys pull.
type pullFlags struct {
	kms         kmsFlags
	all         bool
	aliasPrefix string
	tags        []string
	printPolicy bool
}

func (a *app) keysPull() *cobra.Command {
	var f pullFlags
	c := &cobra.Command{
		Use:   "pull KEY… | --all",
		Short: "Download keys from AWS KMS: public key, state, aliases",
		Long: `Downloads keys from AWS KMS into the store: the public key (GetPublicKey), the key state (DescribeKey) and the aliases
(ListAliases), with AWS's usual credential chain. A KEY is a key ARN, an alias ARN, a key ID or alias/NAME; an ARN is asked for in its own
Region. --all takes every asymmetric signing key of the account in the Region, or in each Region given.

What the store knows is never lost: a different public key under a known ARN is refused, loudly. A key that fails keeps no other from being
stored; the exit code is then 3, or 1 where such a refusal is all that failed. Ctrl-C stops asking, stores what KMS has answered, and says what was done.`,
		Example: "  awskms-offline keys pull alias/release --region us-east-1\n" +
			"  awskms-offline keys pull --all --region us-east-1,eu-west-1 --alias-prefix alias/release-\n" +
			"  awskms-offline keys pull --print-iam-policy arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		RunE: func(_ *cobra.Command, args []string) error { return a.runPull(f, args) },
	}
	fl := c.Flags()
	f.kms.register(fl)
	fl.StringSliceVar(&f.kms.regions, "region", nil, regionUsage+"; with --all one or more")
	fl.BoolVar(&f.all, "all", false, "every asymmetric signing key of the account")
	fl.StringVar(&f.aliasPrefix, "alias-prefix", "", "with --all: keys with an alias that begins so, such as alias/release-")
	fl.StringArrayVar(&f.tags, "tag", nil, "with --all: keys with this tag, NAME or NAME=VALUE; all of them, if given more than once")
	fl.BoolVar(&f.printPolicy, "print-iam-policy", false, "print the smallest IAM policy that allows this call, and call nobody")
	return c
}

func (a *app) runPull(f pullFlags, args []string) error {
	filter := awskms.Filter{AliasPrefix: f.aliasPrefix}
	for _, text := range f.tags {
		name, value, valued := strings.Cut(text, "=")
		tag := awskms.Tag{Name: name}
		if valued {
			tag.Value = &value
		}
		switch {
		case name == "":
			return invalid("--tag is %q, expected NAME or NAME=VALUE", text)
		case slices.ContainsFunc(filter.Tags, func(t awskms.Tag) bool { return t.Name == name }):
			return invalid("--tag %s is given twice, and a key has one value of a tag", name)
		}
		filter.Tags = append(filter.Tags, tag)
	}
	for i, region := range f.kms.regions {
		if slices.Contains(f.kms.regions[:i], region) {
			return invalid("--region %s is given twice", region)
		}
	}
	var refs []kmskey.Ref
	for _, arg := range args {
		ref, err := kmskey.ParseRef(arg)
		if err != nil {
			return err
		}
		if slices.Contains(refs, ref) {
			return invalid("%s is given twice", arg).WithHint("Give each key once.")
		}
		refs = append(refs, ref)
	}
	switch {
	case f.all && len(refs) > 0:
		return invalid("--all and %d keys are given, expected one or the other", len(refs))
	case !f.all && len(refs) == 0:
		return invalid("no key is given").WithHint("Name keys, or give --all.")
	case !f.all && (f.aliasPrefix != "" || len(f.tags) > 0):
		return invalid("--alias-prefix and --tag are for --all")
	case f.aliasPrefix != "" && !strings.HasPrefix(f.aliasPrefix, "alias/"):
		return invalid("--alias-prefix is %q, which does not start with alias/", f.aliasPrefix).WithHint("Write alias/%s.", f.aliasPrefix)
	case !f.all && len(f.kms.regions) > 1:
		return invalid("%d Regions are given, expected one", len(f.kms.regions)).WithHint("Name keys of several Regions by their ARNs; several Regions are for --all.")
	case f.printPolicy:
		return a.printIAMPolicy(f, refs)
	}
	client, err := f.kms.client(a.ctx)
	if err != nil {
		return err
	}
	t := &transfer{app: a, client: client, parallel: f.kms.parallel}
	if f.all {
		regions := f.kms.regions
		if len(regions) == 0 {
			regions = []string{""}
		}
		for _, region := range regions {
			list, err := client.Listing(a.ctx, region, filter, f.kms.parallel)
			switch {
			case a.ctx.Err() != nil:
				t.summary.NotAsked = len(t.jobs)
				t.fail(cmp.Or(err, t.interrupted())) // there may be a list all the same, and other Regions that failed
				return t.finish()
			case kmserr.Is(err, kmserr.Validation):
				return err // no Region is known: the call is wrong
			case err != nil:
				t.fail(err) // the other Regions are done all the same
				continue
			}
			for _, note := range list.Notes {
				a.note(note)
			}
			t.summary.Skipped += list.Skipped
			for _, key := range list.Keys {
				t.jobs = append(t.jobs, job{name: key.Ref.String(), fetch: t.orKnown(key.Ref, func(ctx context.Context) (*awskms.Fetched, error) { return client.FetchListed(ctx, key) })})
			}
		}
		if len(t.jobs) == 0 && len(t.failed) == 0 { // as a batch without a line: another account or a misspelt filter must not pass
			return invalid("KMS lists no signing key that is asked for: nothing was brought; %d others are not for signing, or outside the filter", t.summary.Skipped).
				WithHint("Check the Region, whose credentials are used, --alias-prefix and --tag.")
		}
		return t.run()
	}
	for _, ref := range refs {
		if ref.Scope.IsZero() && client.Region() == "" {
			return client.NoRegion()
		}
		t.jobs = append(t.jobs, job{name: ref.String(), fetch: t.orKnown(ref, func(ctx context.Context) (*awskms.Fetched, error) { return client.Fetch(ctx, ref) })})
	}
	return t.run()
}

func (a *app) keysRefresh() *cobra.Command {
	var f kmsFlags
	c := &cobra.Command{
		Use:   "refresh [KEY…]",
		Short: "Ask AWS KMS again about the keys in the store",
		Long: `Asks AWS KMS again about the named keys, or about all keys in the store, each in its own Region: state, aliases, and whether the
public key is still the one on record, which never changes. It is meant for cron, and says what changed.

A key that KMS has no more is kept, with the state NotFound, so it no longer verifies. An alias that moved keeps its history. A different
public key under a known ARN is an alarm: it is refused, both fingerprints are shown, the record stays, and the exit code is 1.`,
		Example: "  awskms-offline keys refresh\n  awskms-offline keys refresh alias/release --output json",
		RunE:    func(_ *cobra.Command, args []string) error { return a.runRefresh(f, args) },
	}
	f.register(c.Flags())
	c.Flags().StringSliceVar(&f.regions, "region", nil, "the Region to get credentials in, if the profile names none; each key is asked for in its own")
	return c
}

func (a *app) runRefresh(f kmsFlags, args []string) error {
	if len(f.regions) > 1 {
		return invalid("%d Regions are given, expected one", len(f.regions)).WithHint("Each key is asked for in its own Region.")
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	known, unread, err := keysNamed(store, args)
	if closed := store.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	client, err := f.client(a.ctx)
	if err != nil {
		return err
	}
	t := &transfer{app: a, client: client, parallel: f.parallel, onRecord: true}
	for _, problem := range unread {
		t.fail(problem)
	}
	for _, key := range known {
		t.jobs = append(t.jobs, job{name: key.ARN().String(), fetch: func(ctx context.Context) (*awskms.Fetched, error) { return client.Refetch(ctx, key) }})
	}
	return t.run()
}

// keysNamed returns the keys in the store that are named, all if none is, and of all what cannot be read: one damaged
// record keeps no other from its turn, and is passed over in no silence.
func keysNamed(store *keystore.Store, names []string) (keys []*kmskey.Key, unread []error, err error) {
	if len(names) == 0 {
		for entry, err := range store.List() {
			if err != nil {
				unread = append(unread, err)
				continue
			}
			keys = append(keys, entry.Key)
		}
		if len(keys) == 0 && len(unread) == 0 {
			return nil, nil, kmserr.New(kmserr.NotFound, "the store holds no key").WithHint("Pull or import one first.")
		}
		return keys, unread, nil
	}
	for _, name := range names {
		ref, err := kmskey.ParseRef(name)
		if err != nil {
			return nil, nil, err
		}
		found, err := store.Resolve(ref, keystore.ResolveOptions{ExactRegion: true})
		if err != nil {
			return nil, nil, err
		}
		if key := found.Entries[0].Key; !slices.ContainsFunc(keys, func(k *kmskey.Key) bool { return k.ARN() == key.ARN() }) {
			keys = append(keys, key)
		}
	}
	return keys, nil, nil
}
