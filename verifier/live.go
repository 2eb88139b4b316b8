package verifier

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// openAge is how long what Open read stands for the reading of the first decision: a plugin that opens and asks at once
// reads once.
const openAge = time.Second

// live is what Open found, looked for anew at every decision.
type live struct {
	home   keystore.Home
	unsafe bool
	reload func() (policy.Policy, error)

	mu  sync.Mutex
	cfg Config
	// opened is when Open read the policies, zero once there was a decision.
	opened time.Time
	// users of the store in cfg.
	users *users
	// replaced are stores that are read no more but by their users.
	replaced []replaced
	// closed says that nothing is to be opened again.
	closed bool
}

// users counts who reads a store. A store gets new ones only while it is the one in force, under live's lock: one that was
// replaced and has none is read by nobody any more.
type users struct{ atomic.Int64 }

type replaced struct {
	store *keystore.Store
	users *users
}

// current returns the verifier with what is in force now; its policy, log and store change no more. The error is why what
// is in force cannot be told; what was in force before then still says where a refusal's line goes. Whoever asks gives the
// verifier back by release.
func (v *Verifier) current() (*Verifier, error) { return v.inForce(false) }

// forDecision is current for a decision, which is refused by the error. What Open read is one decision's reading only.
func (v *Verifier) forDecision() (*Verifier, error) { return v.inForce(true) }

func (v *Verifier) inForce(decides bool) (*Verifier, error) {
	if v == nil || v.live == nil {
		return v, nil
	}
	cfg, users, err := v.live.current(decides)
	return &Verifier{cfg: cfg, reload: v.reload, users: users}, err
}

// release says that what current returned is used no more.
func (v *Verifier) release() {
	if v.users != nil {
		v.users.Add(-1)
	}
}

func (l *live) current(decides bool) (Config, *users, error) {
	var rules policy.Policy
	var err error
	justOpened := l.justOpened(decides)
	if !justOpened {
		rules, err = l.reload() // beside other decisions, which wait for each other only to take what was read
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		err = kmserr.New(kmserr.StoreAccess, "the verifier was closed").WithHint("Make a new one with Open.")
	case err == nil && !justOpened:
		err = l.take(rules)
	}
	l.users.Add(1)
	return l.cfg, l.users, err
}

// justOpened reports whether what Open read may be gone by still.
func (l *live) justOpened(decides bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	yes := time.Since(l.opened) < openAge
	if decides {
		l.opened = time.Time{}
	}
	return yes
}

// take brings cfg up to date with the policy that was read.
func (l *live) take(rules policy.Policy) error {
	l.closeUnused()
	now := l.cfg
	now.Policy = rules
	strict := rules.Store().StrictPermissions
	turned := strict != l.cfg.Policy.Store().StrictPermissions
	if rules.Log() != l.cfg.Policy.Log() || turned {
		now.Log = openLog(rules.Log(), unsafeUnder(rules, l.unsafe))
	}
	if turned || l.cfg.Store.Replaced() {
		store, err := keystore.Open(l.home, keystore.Options{UnsafePermissions: l.unsafe, StrictPermissions: strict})
		if err != nil {
			return err
		}
		now.Store = store
		l.replaced = append(l.replaced, replaced{l.cfg.Store, l.users})
		l.users = new(users)
		l.closeUnused()
	}
	l.cfg = now
	return nil
}

// closeUnused closes the stores that were replaced and are read no more: a program that runs for weeks would have one open
// for every time that its keys were renewed.
func (l *live) closeUnused() {
	l.replaced = slices.DeleteFunc(l.replaced, func(r replaced) bool {
		if r.users.Load() > 0 {
			return false
		}
		_ = r.store.Close() // it was read only
		return true
	})
}

func (l *live) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	err := l.cfg.Store.Close()
	for _, r := range l.replaced {
		err = errors.Join(err, r.store.Close())
	}
	return err
}
