package verifier

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// ClockTolerance is how far the clock may stand before what the store knows without being called wrong.
const ClockTolerance = 5 * time.Minute

// optionUnsafeStore is how the log and the answer name a store whose permissions are not checked.
const optionUnsafeStore = "unsafe-store-permissions"

// decision is one question on its way: what was read for it, once, and the line that will be logged.
type decision struct {
	now   time.Time
	asked kmskey.Ref
	found *keystore.Resolution
	// usage is what the key must be for; the zero value is no key's.
	usage kmskey.KeyUsage
	// unsafeState goes on with a key in a state in which KMS does not use it, for a usage other than SIGN_VERIFY.
	unsafeState bool
	// terse: see KeyRequest.
	terse bool
	// former is for a key that the alias meant before, and says whether rules let the alias stand for it still.
	former func(policy.Rules) bool
	// formersAsked says that keys which the alias meant before are asked after this one.
	formersAsked bool
	// rules holds what is in force for every ARN that takes part: the one asked for and those used. inForce has the same,
	// and whence.
	rules   []policy.Rules
	inForce []inForce
	// lastLine returns the time of the log's last line, read once if at all; zero if there is none.
	lastLine func() time.Time
	// explain is Config's.
	explain func(Step)
	line    audit.Decision
}

func (v *Verifier) newDecision(event, keyID string) *decision {
	home := v.store().Home()
	d := &decision{usage: kmskey.SignVerify, now: v.cfg.Now(), lastLine: v.lastLineOnce(), explain: v.cfg.Explain}
	d.line = audit.Decision{
		EventTime: kmskey.Time{Time: d.now.UTC()}, EventName: event, FrontEnd: v.cfg.FrontEnd,
		Home: home.Path, HomeChosenBy: home.ChosenBy,
		Asked: keyID, Options: map[string]string{},
	}
	if v.store().Unchecked() {
		d.line.Options[optionUnsafeStore] = "true"
		d.warn("who else could write the key store %s was not asked", home.Path)
	}
	return d
}

// lastLine asks the log for the time of its last line. A log that cannot say so will not take a line either.
func (v *Verifier) lastLine() time.Time {
	log, tells := v.cfg.Log.(audit.TimedLog)
	if !tells {
		return time.Time{}
	}
	at, err := log.LastTime()
	if err != nil {
		return time.Time{}
	}
	return at
}

// resolve is steps 1 and 2: the identifier, and its record.
func (v *Verifier) resolve(d *decision, keyID string) (err error) {
	if d.asked, err = kmskey.ParseRef(keyID); err != nil {
		return err
	}
	d.found, err = v.store().Resolve(d.asked, keystore.ResolveOptions{ExactRegion: v.cfg.Policy.Store().ExactRegion, Terse: d.terse})
	if err != nil {
		return err
	}
	if err := checkResolution(d.asked, d.found); err != nil {
		return err
	}
	d.noteResolution()
	return nil
}

// noteResolution writes into the line what the answer will rest on.
func (d *decision) noteResolution() {
	key := d.key()
	d.line.KeyARN = d.found.Target.String()
	d.line.KeySpec, d.line.PublicKeySHA256 = string(key.Spec()), key.Fingerprint()
	if d.found.Alias != nil {
		d.line.Files = append(d.line.Files, audit.File{Path: d.found.Alias.Path, SHA256: d.found.Alias.SHA256})
	}
	var states, sources []string
	for i, e := range d.found.Entries {
		d.line.Files = append(d.line.Files, audit.File{Path: e.Path, SHA256: e.SHA256})
		if d.found.Fallback {
			d.line.FallbackARNs = append(d.line.FallbackARNs, e.Key.ARN().String())
		}
		snapshot := e.Key.Snapshot()
		states, sources = appendNew(states, e.Key.State().String()), appendNew(sources, cmp.Or(snapshot.Source, "unknown"))
		if i == 0 || snapshot.StateTime.Before(d.line.StateTime.Time) {
			d.line.StateTime = snapshot.StateTime
		}
	}
	d.line.KeyState, d.line.SnapshotSource = kmskey.JoinNames(states), kmskey.JoinNames(sources)
	d.line.SnapshotTime = d.oldestRecord()
	if alias := d.found.Alias; alias != nil && alias.Time.Before(d.line.SnapshotTime.Time) {
		d.line.SnapshotTime = alias.Time // that the alias means this key is known as of then
	}
	if d.line.Fallback = d.found.Fallback; d.line.Fallback {
		d.warn("%s has no record of its own; the records of its multi-Region replicas answered: %s", d.found.Target, kmskey.JoinNames(d.line.FallbackARNs))
	}
}

// oldestRecord is what is said of several records' age: no date is older than any.
func (d *decision) oldestRecord() kmskey.Time {
	oldest := d.key().Snapshot().Time
	for _, e := range d.found.Entries[1:] {
		if at := e.Key.Snapshot().Time; at.Before(oldest.Time) {
			oldest = at
		}
	}
	return oldest
}

// checkResolution checks again that what a lookup returned is what was asked for.
func checkResolution(asked kmskey.Ref, found *keystore.Resolution) error {
	wrong := func(format string, args ...any) error {
		return kmserr.New(kmserr.StoreIntegrity, "the store answered to %s "+format, append([]any{asked}, args...)...)
	}
	if found == nil || len(found.Entries) == 0 {
		return wrong("with no record")
	}
	target := found.Target
	switch alias := found.Alias; {
	case asked.Alias != "" && (alias == nil || alias.ARN.Alias != asked.Alias || alias.Target() != target ||
		!asked.Scope.IsZero() && alias.ARN.Scope != asked.Scope):
		return wrong("with an alias of %s", target)
	case asked.Alias == "" && (alias != nil || target.KeyID != asked.KeyID || !asked.Scope.IsZero() && target.Scope != asked.Scope):
		return wrong("with %s", target)
	case found.Fallback && (alias != nil || asked.Scope.IsZero() || !target.MultiRegion()):
		return wrong("with records of other Regions, which is for the full ARN of a multi-Region key only")
	case !found.Fallback && len(found.Entries) != 1:
		return wrong("with %d records", len(found.Entries))
	}
	first := found.Entries[0].Key
	for _, e := range found.Entries {
		arn := e.Key.ARN()
		if found.Fallback {
			arn.Region = target.Region
		}
		if arn != target || e.Key.Fingerprint() != first.Fingerprint() || e.Key.Usage() != first.Usage() {
			return wrong("with the record of %s", e.Key.ARN())
		}
	}
	return nil
}

func appendNew(all []string, one string) []string {
	if slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

func (d *decision) key() *kmskey.Key { return d.found.Entries[0].Key }

func (d *decision) warn(format string, args ...any) {
	d.line.Warnings = append(d.line.Warnings, fmt.Sprintf(format, args...))
}

// participants are the ARNs that take part in an answer: the one asked for, and those used.
func participants(found *keystore.Resolution) []kmskey.ARN {
	arns := []kmskey.ARN{found.Target}
	for _, e := range found.Entries {
		if e.Key.ARN() != found.Target {
			arns = append(arns, e.Key.ARN())
		}
	}
	return arns
}

// permit is step 3: blocks, the list of allowed keys, and the times of the policy.
func (v *Verifier) permit(d *decision) error {
	blocks, err := v.store().Blocks(participants(d.found), d.key().Fingerprint())
	if err != nil {
		return err
	}
	for _, f := range v.cfg.Policy.Files() {
		d.line.Files = append(d.line.Files, audit.File{Path: f.Path, SHA256: f.SHA256})
	}
	if len(blocks) > 0 {
		for _, b := range blocks {
			d.line.Files = append(d.line.Files, audit.File{Path: b.Path, SHA256: b.SHA256})
		}
		b := blocks[0]
		return kmserr.New(kmserr.KeyBlocked, "the key is blocked here%s%s", clause(" by ", b.By), clause(": ", b.Reason)).WithCure()
	}
	d.rules = nil
	if d.inForce, err = v.rulesFor(d.asked, d.found, d.former != nil, d.now); err != nil {
		return err
	}
	for _, in := range d.inForce {
		d.rules = append(d.rules, in.rules)
		d.line.PolicyRules = append(d.line.PolicyRules, in.rules.Applied...)
		for _, alias := range in.aliases {
			if file := (audit.File{Path: alias.Path, SHA256: alias.SHA256}); !slices.Contains(d.line.Files, file) {
				d.line.Files = append(d.line.Files, file)
			}
		}
		for _, u := range in.unheeded {
			d.warn("%s", u.sentence)
		}
	}
	for _, in := range d.inForce {
		r := in.rules
		if u, old := in.refusedForAge(d.former); old {
			why := "the policy allows the key by an alias alone"
			if d.former != nil {
				why = "the alias stands for the key by what it meant before"
			}
			return kmserr.New(u.name, "%s, and %s", why, u.sentence).WithCure()
		}
		if d.former != nil && !d.former(r) { // another alias by which it was allowed has moved meanwhile
			return kmserr.New(kmserr.KeyNotAllowed, "no grant lets %s stand for the key that it meant before", d.asked).WithCure()
		}
		if r.Excluded != "" {
			return kmserr.New(kmserr.KeyNotAllowed, "the key %s", r.Excluded).WithCure()
		}
		for _, e := range d.found.Entries {
			if source := e.Key.Snapshot().Source; r.Sources != nil && !slices.Contains(r.Sources, source) {
				return kmserr.New(kmserr.KeyNotAllowed, "the source of the record of %s is %q, and the policy allows: %s", e.Key.ARN(), source, orNone(r.Sources)).
					WithHint("Get the key from a source that the policy allows.")
			}
		}
		if !r.NotBefore.IsZero() || !r.NotAfter.IsZero() {
			if err := d.checkClock(); err != nil {
				return err
			}
		}
		if d.now.Before(r.NotBefore) || !r.NotAfter.IsZero() && d.now.After(r.NotAfter) {
			return kmserr.New(kmserr.OutsideValidity, "now is %s, and the policy lets this key verify from %s to %s",
				stamp(d.now), orAnyTime(r.NotBefore), orAnyTime(r.NotAfter)).WithCure()
		}
	}
	return nil
}

// inForce is what the policy says of one ARN, and the aliases that it says so by.
type inForce struct {
	// subject is what it was asked about.
	subject policy.Subject
	rules   policy.Rules
	// aliases are named by grants, lead to the key, and are as young as they must be.
	aliases  []keystore.AliasEntry
	unheeded []unheeded
	// young are the rules as they would be if every alias were young enough.
	young policy.Rules
	// tooOld says that the key is excluded, and would not be if what is known of the unheeded aliases were younger.
	tooOld bool
}

// refusedForAge says by which alias's age the key is refused, if it is. former is decision's.
func (in inForce) refusedForAge(former func(policy.Rules) bool) (unheeded, bool) {
	if len(in.unheeded) > 0 && (in.tooOld || former != nil && !former(in.rules)) {
		return in.unheeded[0], true
	}
	return unheeded{}, false
}

// unheeded is an alias that a grant names and that leads to the key, but not by knowledge as young as the policy demands.
type unheeded struct {
	name     kmserr.Name // what refuses what is that old
	sentence string      // without its final period
}

// rulesFor asks the policy about every ARN that takes part. A grant by alias holds however the key was asked for, as long as
// what is known of the alias is no older than the policy lets anything be that the answer rests on.
func (v *Verifier) rulesFor(asked kmskey.Ref, found *keystore.Resolution, former bool, now time.Time) (all []inForce, err error) {
	for _, arn := range participants(found) {
		in := inForce{subject: policy.Subject{Asked: asked, ARN: arn, Former: former}}
		if in.aliases, err = v.aliasesNow(arn, found); err != nil {
			return nil, err
		}
		if err := v.ask(&in); err != nil {
			return nil, err
		}
		in.young = in.rules
		all = append(all, in)
	}
	limit := ageLimit(all) // of restrictions, which no alias has a part in
	if limit == 0 {
		return all, nil
	}
	for i := range all {
		in := &all[i]
		old := false
		if former { // it stands by what the alias asked for is known to have meant, whatever else leads to it
			var u unheeded
			if u, old = tooOld(*found.Alias, now, limit); old {
				in.unheeded = append(in.unheeded, u)
			}
		}
		in.aliases = slices.DeleteFunc(in.aliases, func(alias keystore.AliasEntry) bool {
			u, old := tooOld(alias, now, limit)
			if old {
				in.unheeded = append(in.unheeded, u)
			}
			return old
		})
		if len(in.unheeded) == 0 {
			continue
		}
		if !former || old { // an alias that was asked for counts as one that leads to the key, if it is young enough, and by nothing else
			in.subject.Asked = kmskey.Ref{Scope: in.subject.ARN.Scope, KeyID: in.subject.ARN.KeyID}
		}
		if err := v.ask(in); err != nil {
			return nil, err
		}
		in.tooOld = old || in.young.Excluded == "" && in.rules.Excluded != ""
	}
	return all, nil
}

// ask asks the policy about one ARN, by the aliases that count.
func (v *Verifier) ask(in *inForce) (err error) {
	in.subject.Aliases = nil
	for _, alias := range in.aliases {
		in.subject.Aliases = append(in.subject.Aliases, alias.ARN)
	}
	if in.rules, err = v.cfg.Policy.Rules(in.subject); err != nil {
		return kmserr.New(kmserr.PolicyInvalid, "the policy cannot tell about %s: %v", in.subject.ARN, err).WithCause(err)
	}
	return nil
}

// ageLimit is the shortest of several, 0 if there is none.
func ageLimit(all []inForce) (limit time.Duration) {
	for _, in := range all {
		if age := in.rules.MaxSnapshotAge; age != 0 && (limit == 0 || age < limit) {
			limit = age
		}
	}
	return limit
}

func tooOld(alias keystore.AliasEntry, now time.Time, limit time.Duration) (u unheeded, old bool) {
	name, why := kmserr.SnapshotExpired, ""
	switch age := now.Sub(alias.Time.Time); {
	case alias.Time.IsZero():
		why = "has no date"
	case -age > ClockTolerance:
		name, why = kmserr.Clock, "is of "+stamp(alias.Time.Time)+", and the clock says "+stamp(now)
	case age > limit:
		why = fmt.Sprintf("is of %s, %s old", stamp(alias.Time.Time), howOld(age))
	default:
		return u, false
	}
	return unheeded{name, fmt.Sprintf("no grant holds by %s, as its snapshot %s, and the policy allows an age of %s at most", alias.ARN, why, kmskey.FormatAge(limit))}, true
}

// aliasesNow returns those of the aliases named by the policy's grants that mean the key now. The one that was asked for was
// read already.
func (v *Verifier) aliasesNow(arn kmskey.ARN, asked *keystore.Resolution) ([]keystore.AliasEntry, error) {
	var now []keystore.AliasEntry
	for _, alias := range v.cfg.Policy.Aliases(arn) {
		if asked.Alias != nil && asked.Alias.ARN == alias {
			if asked.Alias.Target() == arn {
				now = append(now, *asked.Alias)
			}
			continue
		}
		found, err := v.store().Alias(alias)
		if err != nil {
			return nil, err
		}
		if found != nil && found.Target() == arn {
			now = append(now, *found)
		}
	}
	return now, nil
}

// besides is what a hint says of grants that would have let the key pass.
func (d *decision) besides() string {
	text := ""
	for _, in := range d.inForce {
		for _, u := range in.unheeded {
			text += " Besides, " + u.sentence + "."
		}
	}
	return text
}

// checkState is step 4, for every record used: the state of the snapshot, and its dates.
func (d *decision) checkState() error {
	for _, e := range d.found.Entries {
		arn, state := e.Key.ARN(), e.Key.State()
		if m := e.Key.Metadata(); m != nil {
			for _, end := range []struct {
				name string
				at   kmskey.Time
			}{{"DeletionDate", m.DeletionDate}, {"ValidTo", m.ValidTo}} {
				if !end.at.IsZero() && !d.now.Before(end.at.Time) {
					return kmserr.New(kmserr.KMSInvalidState, "%s is %s with the %s %s, which is past", arn, state, end.name, stamp(end.at.Time)).WithCure()
				}
				if !end.at.IsZero() { // a clock that was set back would prolong it
					if err := d.checkClock(); err != nil {
						return err
					}
				}
			}
		}
		for _, r := range d.rules {
			if err := d.stateServes(e.Key, r); err != nil {
				return err
			}
		}
		if state == kmskey.StateUnknown {
			d.warn("the key state of %s is not known: its record holds no describe-key answer", arn)
		}
	}
	return nil
}

func (d *decision) stateServes(key *kmskey.Key, r policy.Rules) error {
	arn, state := key.ARN(), key.State()
	if state == kmskey.StateUnknown {
		if r.RequireKnownState {
			return kmserr.New(kmserr.KMSInvalidState, "the key state of %s is not known, and the policy demands a known one", arn).
				WithHint("Import the key's describe-key output.%s", inForceText(r.Applied))
		}
		return nil
	}
	listed := r.KeyStates == nil && state.Verifies() || slices.Contains(r.KeyStates, state)
	if d.usage != kmskey.SignVerify {
		// What a grant adds is for signatures that were made before: nothing new is made for such a key by it.
		listed = listed && state.Verifies()
	}
	if listed {
		return nil
	}
	if d.unsafeState && mayAllowState(state, r) {
		d.warn("%s is %s: KMS %s unless that changes", arn, state, d.kmsWouldNot())
		return nil
	}
	if state.Verifies() { // and the policy lets it not
		return kmserr.New(kmserr.KMSInvalidState, "%s is %s, and the policy allows the states: %s", arn, state, orNone(r.KeyStates)).
			WithHint("Use a key that is in one of them, or change the policy.%s%s", inForceText(r.Applied), d.besides())
	}
	since := ""
	if at := key.Snapshot().StateTime; !at.IsZero() {
		since = " at " + stamp(at.Time)
	}
	if state == kmskey.StateDisabled {
		return kmserr.New(kmserr.Disabled, "%s is disabled: KMS said so%s%s", arn, since, clause(", so KMS ", d.kmsWouldNot())).
			WithHint("%s%s%s", kmserr.Lookup(kmserr.Disabled).Cure, d.wayOn(state, r), d.besides())
	}
	deletion := ""
	if at := key.Metadata().DeletionDate; !at.IsZero() {
		deletion = ", to be deleted on " + stamp(at.Time)
	}
	return kmserr.New(kmserr.KMSInvalidState, "%s is %s%s: KMS said so%s%s", arn, state, deletion, since, clause(", so KMS ", d.kmsWouldNot())).
		WithHint("%s%s%s", kmserr.Lookup(kmserr.KMSInvalidState).Cure, d.wayOn(state, r), d.besides())
}

// mayAllowState reports whether a caller can go on with a key in this state: one that it can leave towards Enabled, and
// that no restriction of the policy excludes.
func mayAllowState(state kmskey.KeyState, r policy.Rules) bool {
	switch state {
	case kmskey.StateDisabled, kmskey.StatePendingDeletion, kmskey.StatePendingReplicaDel, kmskey.StatePendingImport,
		kmskey.StateUnavailable, kmskey.StateCreating:
		return r.OnlyKeyStates == nil || slices.Contains(r.OnlyKeyStates, state)
	}
	return false
}

// kmsWouldNot is what KMS does not do with a key that is not Enabled, a clause; empty for signatures.
func (d *decision) kmsWouldNot() string {
	switch d.usage {
	case kmskey.EncryptDecrypt:
		return "will not decrypt what is encrypted for it"
	case kmskey.KeyAgreement:
		return "will not derive the same secret"
	}
	return ""
}

// wayOn ends the hint of a refusal by state.
func (d *decision) wayOn(state kmskey.KeyState, r policy.Rules) string {
	if d.usage == kmskey.SignVerify || !mayAllowState(state, r) {
		return ""
	}
	return " To go on all the same, say --unsafe-allow-state."
}

// checkAge is step 5: the oldest part of what the answer rests on.
func (d *decision) checkAge() error {
	limit := ageLimit(d.inForce)
	if limit == 0 {
		if err := d.checkClock(); err != nil {
			d.warn("%s", kmserr.As(err).Fact)
		}
		return nil
	}
	if err := d.checkClock(); err != nil {
		return err
	}
	for _, part := range d.parts() {
		if part.at.IsZero() {
			return kmserr.New(kmserr.SnapshotExpired, "%s has no date, and the policy allows an age of %s at most", part.name(), kmskey.FormatAge(limit)).WithCure()
		}
		if age := d.now.Sub(part.at.Time); age > limit {
			return kmserr.New(kmserr.SnapshotExpired, "%s is of %s, %s old, and the policy allows %s", part.name(), stamp(part.at.Time), howOld(age), kmskey.FormatAge(limit)).WithCure()
		}
	}
	return nil
}

// howOld writes an age that is above a limit, rounded up, so that it reads as one that is.
func howOld(age time.Duration) string {
	unit := time.Minute
	if age >= 48*time.Hour {
		unit = time.Hour
	}
	if rest := age % unit; rest > 0 && age+unit > age { // the longest there is stays
		age += unit - rest
	}
	days, rest := age/(24*time.Hour), age%(24*time.Hour)
	switch {
	case unit == time.Hour && rest > 0:
		return fmt.Sprintf("%dd%dh", days, rest/time.Hour)
	case age%time.Hour > 0 && age > time.Hour:
		return fmt.Sprintf("%dh%dm", age/time.Hour, age%time.Hour/time.Minute)
	}
	return kmskey.FormatAge(age)
}

type part struct {
	what string
	key  *kmskey.Key // whose ARN ends the name, nil for none
	at   kmskey.Time
}

func (p part) name() string {
	if p.key == nil {
		return p.what
	}
	return p.what + p.key.ARN().String()
}

// parts are the dated things that an answer rests on.
func (d *decision) parts() []part {
	var parts []part
	if d.found.Alias != nil {
		parts = append(parts, part{"the snapshot of " + d.found.Alias.ARN.Alias, nil, d.found.Alias.Time})
	}
	for _, e := range d.found.Entries {
		snapshot := e.Key.Snapshot()
		parts = append(parts, part{"the snapshot of ", e.Key, snapshot.Time})
		if e.Key.Metadata() != nil {
			parts = append(parts, part{"the key state of ", e.Key, snapshot.StateTime})
		}
	}
	return parts
}

// checkClock finds a clock that stands before what the store knows.
func (d *decision) checkClock() error {
	for _, part := range d.parts() {
		if part.at.Sub(d.now) > ClockTolerance { // what has no date is long past
			return wrongClock(d.now, part.name(), part.at.Time)
		}
	}
	if last := d.lastLine(); last.Sub(d.now) > ClockTolerance {
		return wrongClock(d.now, "the last line of the log", last)
	}
	return nil
}

func wrongClock(now time.Time, name string, at time.Time) error {
	return kmserr.New(kmserr.Clock, "the clock says %s, but %s is of %s", stamp(now), name, stamp(at)).WithCure()
}

// checkUsage is step 6.
func (d *decision) checkUsage() error {
	for _, e := range d.found.Entries {
		if usage := e.Key.Usage(); usage != d.usage {
			err := kmserr.New(kmserr.InvalidKeyUsage, "%s is for %s, expected %s", e.Key.ARN(), usage, d.usage)
			if d.usage == kmskey.SignVerify {
				return err.WithCure()
			}
			return err.WithHint("Use a key whose KeyUsage is %s.", d.usage)
		}
	}
	return nil
}

// admit is steps 3 to 6, the same for every question about a key.
func (v *Verifier) admit(d *decision) error {
	if err := v.tellPolicy(d, v.permit(d)); err != nil {
		return err
	}
	if err := d.tellState(d.checkState()); err != nil {
		return err
	}
	if err := d.tellAge(d.checkAge()); err != nil {
		return err
	}
	return d.tell("usage", d.checkUsage(), "%s", d.usage)
}

// permitted returns the algorithms that every record used lists and every rule allows.
func (d *decision) permitted() []kmskey.SigningAlgorithm {
	var all []kmskey.SigningAlgorithm
	for _, a := range d.key().SigningAlgorithms() {
		if d.permits(a) {
			all = append(all, a)
		}
	}
	return all
}

func (d *decision) permits(a kmskey.SigningAlgorithm) bool {
	for _, e := range d.found.Entries {
		if !slices.Contains(e.Key.SigningAlgorithms(), a) {
			return false
		}
	}
	for _, r := range d.rules {
		if r.SigningAlgorithms != nil && !slices.Contains(r.SigningAlgorithms, a) {
			return false
		}
	}
	return true
}

// checkAlgorithm is step 7 for one named algorithm.
func (d *decision) checkAlgorithm(a kmskey.SigningAlgorithm) error {
	spec := d.key().Spec()
	switch {
	case !a.Known():
		return kmserr.New(kmserr.Validation, "the signing algorithm %q is none of KMS's: %s", string(a), kmskey.JoinNames(kmskey.SigningAlgorithms())).
			WithHint("%s", kmskey.HintNearest(string(a), kmskey.SigningAlgorithms()))
	case !slices.Contains(spec.SigningAlgorithms(), a):
		return kmserr.New(kmserr.InvalidKeyUsage, "Algorithm %s is incompatible with key spec %s", a, spec).
			WithHint("This key takes: %s.", orNone(d.permitted()))
	case !slices.Contains(d.key().SigningAlgorithms(), a):
		return kmserr.New(kmserr.InvalidKeyUsage, "the record of %s lists %s, not %s", d.key().ARN(), orNone(d.key().SigningAlgorithms()), a).
			WithHint("This key takes: %s.", orNone(d.permitted()))
	case !d.permits(a):
		return kmserr.New(kmserr.AlgorithmNotAllowed, "%s is not allowed for this key, which leaves: %s", a, orNone(d.permitted())).WithCure()
	}
	return nil
}

// checkSomeAlgorithm is step 7 where none is named.
func (d *decision) checkSomeAlgorithm() error {
	if len(d.permitted()) == 0 {
		return kmserr.New(kmserr.AlgorithmNotAllowed, "no signing algorithm is permitted for %s", d.found.Target).WithCure()
	}
	return nil
}

func orNone[T ~string](names []T) string {
	if len(names) == 0 {
		return "none"
	}
	return kmskey.JoinNames(names)
}

func clause(lead, text string) string {
	if text == "" {
		return ""
	}
	return lead + text
}

// orAnyTime is stamp for an end of a time that is not limited where it is zero.
func orAnyTime(t time.Time) string {
	if t.IsZero() {
		return "any time"
	}
	return stamp(t)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}
