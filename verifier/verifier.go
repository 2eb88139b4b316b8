// Package verifier is the one door: every front end asks here, and only here is decided.
//
// A question, a type. Verify answers "this signature, over this message, by this key, permitted", VerifyBatch the same for
// many. AuthorizeKey answers "this public key is that KMS key, and it may be relied on", for callers whose own core checks
// the signature. Encrypt and DeriveSharedSecret use a key of another usage, by the same steps. These are decisions, each with
// its line in the log. Digest and Outlook decide nothing and log nothing: what to hand to KMS Sign, and what a
// verification would meet.
//
// A nil error is the only yes, but for KeyRequest.SeparateState, whose caller asks StateError of the result as well. A result
// is non-nil if and only if the error is nil, and no result of a decision can be made outside this package. Every error but
// Close's is a *kmserr.Error.
//
// The order of a decision is fixed: resolve, permit, state, age, usage, algorithm, signature, log. It stands in verify, check
// and admit, and decide writes the log. The network is never used.
package verifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/internal/rawverify"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// Config is what a Verifier is made of.
type Config struct {
	// Store holds the keys. Required.
	Store *keystore.Store
	// Policy is in force. Required: policy.None{} where there is none.
	Policy policy.Policy
	// Log takes every decision; nil keeps none, where the policy requires none.
	Log audit.Log
	// FrontEnd is the program that asks, for the log.
	FrontEnd audit.FrontEnd
	// Explain, if set, is called with each step of a decision as it is done, in order, for a person who asks why. It is
	// called from the goroutine that asks.
	Explain func(Step)
	// Now is read once a decision; nil stands for time.Now.
	Now func() time.Time
	// MaxMessage limits, in bytes, messages that an algorithm must hold in memory (pure Ed25519, ML-DSA); 0 or less stands
	// for DefaultMaxMessage.
	MaxMessage int64
}

// DefaultMaxMessage is the longest message held in memory, in bytes, where Config says nothing else: 256 MiB.
const DefaultMaxMessage = rawverify.DefaultMaxMessage

// Verifier decides. It is safe for use by several goroutines.
type Verifier struct {
	cfg Config
	// reload reads the policy anew, nil where it was given to New. seen is what one decision, or a batch for a second, has
	// read of the store and the log.
	reload reload
	seen   *view
	// live is set by Open: what it found is looked for anew while the verifier is used.
	live *live
	// users of the store count this verifier, which current returned; nil for every other.
	users *users
}

// store is where a decision reads.
func (v *Verifier) store() reader {
	if v.seen != nil {
		return v.seen
	}
	return v.cfg.Store
}

// New returns a Verifier of the given parts. They must be what the policy demands: a policy that requires the log and is given
// none that is required is an AuditUnavailableException, and one that says that permissions are strict and is given a store
// that was opened without strict permissions is a StoreIntegrityException.
func New(cfg Config) (*Verifier, error) {
	if cfg.Store == nil || cfg.Policy == nil {
		return nil, kmserr.New(kmserr.Internal, "a verifier needs a store and a policy")
	}
	if cfg.Policy.Log().Required && (cfg.Log == nil || !cfg.Log.Required()) {
		return nil, kmserr.New(kmserr.AuditUnavailable, "the policy requires the log, and the verifier is given none that is required").
			WithHint("Give Config.Log a log whose Required is true, or let Open make all of it.")
	}
	if cfg.Policy.Store().StrictPermissions && !cfg.Store.Strict() {
		return nil, kmserr.New(kmserr.StoreIntegrity, "the policy says that permissions are strict, and the store %s was opened without", cfg.Store.Home().Path).
			WithHint("Open it with Options.StrictPermissions, or let Open of this package open it.")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{cfg: cfg}, nil
}

// Options say how Open finds and reads the home.
type Options struct {
	// Home is the folder asked for, with HomeOption, the name of the flag or option it came from. Nil: found by the
	// rules of keystore.Locate.
	Home       *string
	HomeOption string
	// UnsafeStorePermissions takes a store that others could write, unless a policy says that permissions are strict.
	UnsafeStorePermissions bool
	// FrontEnd is the program that asks, for the log.
	FrontEnd audit.FrontEnd
	// MaxMessage, in bytes, and Explain: see Config.
	MaxMessage int64
	Explain    func(Step)
}

// Open finds the home, loads the policies, opens the store and returns a Verifier over them. It may be used for as long as
// the program runs: a change of the policies, or another folder in the home's place, counts at the next question, in a batch
// after a second at most; the first decision within a second of Open goes by what Open read. What
// decides nothing may be a second late. Close it after use.
func Open(o Options) (*Verifier, error) {
	home, err := keystore.Locate(o.Home, o.HomeOption)
	if err != nil {
		return nil, err
	}
	reload := rulesOf(home.Path, o.UnsafeStorePermissions)
	opened := time.Now()
	store, rules, err := openWithRules(home, o.UnsafeStorePermissions, reload)
	if err != nil {
		return nil, err
	}
	v, err := New(Config{
		Store: store, Policy: rules, Log: openLog(rules.Log(), unsafeUnder(rules, o.UnsafeStorePermissions)),
		FrontEnd: o.FrontEnd, MaxMessage: o.MaxMessage, Explain: o.Explain,
	})
	if err == nil {
		v.reload = reload
		v.live = &live{home: home, unsafe: o.UnsafeStorePermissions, reload: reload, cfg: v.cfg, users: new(users), read: opened, undecided: true}
	}
	return v, err
}

// openWithRules opens a store and reads the policies that rule it, both of one folder.
func openWithRules(home keystore.Home, unsafe bool, reload reload) (*keystore.Store, policy.Policy, error) {
	for range maxMoves {
		rules, folder, err := reload()
		if err != nil {
			return nil, nil, err
		}
		store, err := openStore(home, unsafe, rules, folder)
		if err != errMoved { //nolint:errorlint // openStore returns it bare
			return store, rules, err
		}
	}
	return nil, nil, moved(home)
}

// ready refuses a Verifier that neither New nor Open made.
func (v *Verifier) ready() error {
	if v == nil || v.cfg.Store == nil || v.cfg.Policy == nil || v.cfg.Now == nil {
		return kmserr.New(kmserr.Internal, "the verifier was not made by New or Open, so it has no store")
	}
	return nil
}

// Close releases the store. Every question afterwards is a StoreAccessException.
func (v *Verifier) Close() error {
	if err := v.ready(); err != nil {
		return err
	}
	if v.live != nil {
		return v.live.close()
	}
	return v.cfg.Store.Close()
}

// Store returns the store that the verifier reads now, nil for a Verifier that neither New nor Open made. Close closes it,
// and nothing before: of a Verifier of Open, each folder whose store was asked for stays open until then.
func (v *Verifier) Store() *keystore.Store {
	if v.ready() != nil {
		return nil
	}
	now, _ := v.current() // why nothing can be decided, whoever asks for a decision is told; not released, as nobody says when it is read no more
	return now.cfg.Store
}

// decide answers one question about a key: by what is in force now, it guards against panics, lets steps decide, and
// writes the log line before the answer is given. Nobody else but a batch, which looks once a second, comes to a decision.
// note, if any, writes into the line what is asked. The decision is non-nil if and only if the error is nil.
func (v *Verifier) decide(ctx context.Context, event, keyID string, note func(*decision), steps func(context.Context, *Verifier, *decision) error) (*decision, error) {
	if err := v.ready(); err != nil {
		return nil, err
	}
	if ctx == nil {
		ctx = context.Background()
	}
	now, stale := v.forDecision()
	defer now.release()
	now = now.once()
	d := now.newDecision(event, keyID)
	if note != nil {
		note(d)
	}
	err := now.judge(ctx, d, func() error {
		if stale != nil {
			return stale
		}
		return steps(ctx, now, d)
	})
	var logErr error
	if log := now.cfg.Log; log != nil {
		// A decision whose time is over is a decision too, and gets its line: the log bounds its own waiting.
		logErr = guarded(func() error { return log.Append(context.WithoutCancel(ctx), d.line) })
	}
	if err := now.conclude(d, err, logErr); err != nil {
		return nil, err
	}
	return d, nil
}

// Refuse refuses a call of which the verifier is asked nothing, because its front end cannot make a question of it: an option
// that cannot be honoured, a signature that cannot be read. The call gets its line in the log like any other. keyID is the
// identifier asked about, empty where nobody could read one; event is audit.EventVerify or audit.EventAuthorizeKey.
//
// It returns the error to answer with, which is never nil: the refusal, or what comes before every question of this
// verifier's, such as a policy that cannot be read, a required log that cannot be written, a context that is over. Before
// there is a verifier, see LogRefusal.
func (v *Verifier) Refuse(ctx context.Context, event, keyID string, refusal error) error {
	if refusal == nil {
		refusal = kmserr.New(kmserr.Internal, "a front end refuses the call without a reason").WithCure()
	}
	_, err := v.decide(ctx, event, keyID, nil, func(context.Context, *Verifier, *decision) error { return refusal })
	return err
}

// judge lets body decide and completes the line. The decision says Verified only here, after body has returned no error.
func (v *Verifier) judge(ctx context.Context, d *decision, body func() error) error {
	err := ctx.Err()
	if err == nil {
		err = guarded(body)
	}
	if err == nil {
		err = ctx.Err()
	}
	err = v.typed(err, d)
	// Only now is known what was met while this decision read the store.
	own := d.line.Warnings
	d.line.Warnings = nil
	for _, w := range slices.Concat(v.store().Warnings(), v.cfg.Policy.Warnings(), own) {
		d.line.Warnings = appendNew(d.line.Warnings, w) // a machine's folder may be policy's and store's
	}
	d.line.Verified = err == nil
	if err != nil {
		refusal := kmserr.As(err)
		d.line.ErrorCode, d.line.ErrorMessage = string(refusal.Name), refusal.Fact
	}
	return err
}

// conclude makes the answer of what was judged and of what became of its line.
func (v *Verifier) conclude(d *decision, err, logErr error) error {
	if v.cfg.Log == nil {
		d.tell("log", nil, "off")
		return err
	}
	d.tell("log", logErr, "the line is written")
	if logErr == nil {
		return err
	}
	if !v.cfg.Log.Required() {
		d.warn("%s", notLogged(logErr))
		return Unlogged(err, logErr)
	}
	d.line.Verified = false
	unlogged := kmserr.New(kmserr.AuditUnavailable, "the log that the policy requires cannot be written: %v", logErr).WithCure().
		WithCause(errors.Join(logErr, err)).WithKey(d.subject())
	if why, ok := logErr.(*kmserr.Error); ok && why.Name == kmserr.AuditUnavailable { // the log's own word, and it knows what helps
		unlogged.Fact = "the log that the policy requires cannot be written: " + why.Fact
		unlogged.Hint = cmp.Or(why.Hint, unlogged.Hint)
	}
	return unlogged
}

func notLogged(why error) string { return fmt.Sprintf("the decision was not logged: %v", why) }

// Unlogged returns a refusal with a sentence that says why it has no line in the log, which every front end shows with
// it; nil for none.
func Unlogged(refusal, why error) error {
	if refusal == nil || why == nil {
		return refusal
	}
	return kmserr.Besides(refusal, "Besides, "+notLogged(why)+".")
}

// guarded turns a panic into an error.
func guarded(body func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = kmserr.New(kmserr.Internal, "the verification stopped: %v", r).WithCure()
		}
	}()
	return body()
}

// typed makes every error a *kmserr.Error that names the key, and the rules if it is they that refuse.
func (v *Verifier) typed(err error, d *decision) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		if !kmserr.Is(err, kmserr.DeadlineExceeded) {
			err = kmserr.New(kmserr.DeadlineExceeded, "the decision was not ready when its time was over (%v)", err).WithCause(err)
		}
	}
	return kmserr.Besides(err, d.byRules(kmserr.As(err).Name)).WithKey(d.subject())
}

// byRules is what a hint says of a refusal that a rule of the policy has a part in: which rules there are, and where.
func (d *decision) byRules(name kmserr.Name) string {
	switch name {
	case kmserr.AlgorithmNotAllowed, kmserr.OutsideValidity, kmserr.SnapshotExpired:
		return inForceText(d.line.PolicyRules)
	}
	return ""
}

// inForceText is a sentence behind another; empty without a rule.
func inForceText(rules []string) string {
	if len(rules) == 0 {
		return ""
	}
	const most = 5
	text := " In force for the key: " + strings.Join(rules[:min(len(rules), most)], "; ")
	if more := len(rules) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text + "."
}

// subject is what an error of the decision is about: the key, as far as it is known.
func (d *decision) subject() string {
	if d.line.KeyARN == "" {
		return d.line.Asked
	}
	return d.line.KeyARN
}
