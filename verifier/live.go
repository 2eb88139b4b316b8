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

// readAnew is how old the policies may be that a decision goes by: a program that asks thousands of times a second need not
// read them as often, as a batch does not (docs/decisions/0014-a-batch-looks-once-a-second.md). Tests shorten it.
var readAnew = viewAge

// live is what Open found, looked for anew while the verifier is used.
type live struct {
	home   keystore.Home
	unsafe bool
	reload func() (policy.Policy, error)

	mu   sync.Mutex
	cfg  Config
	read time.Time
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

// current returns the verifier for one decision, with what is in force now; its policy, log and store change no more. The
// error is why what is in force cannot be told, and refuses the decision; what was in force before then still says where
// its line goes. Whoever asks gives the verifier back by release.
func (v *Verifier) current() (*Verifier, error) {
	if v == nil || v.live == nil {
		return v, nil
	}
	cfg, users, err := v.live.current()
	return &Verifier{cfg: cfg, reload: v.reload, users: users}, err
}

// release says that what current returned is used no more.
func (v *Verifier) release() {
	if v.users != nil {
		v.users.Add(-1)
	}
}

func (l *live) current() (Config, *users, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.lookAnew()
	l.users.Add(1)
	return l.cfg, l.users, err
}

// lookAnew brings cfg up to date, unless it is young enough.
func (l *live) lookAnew() error {
	if l.closed {
		return kmserr.New(kmserr.StoreAccess, "the verifier was closed").WithHint("Make a new one with Open.")
	}
	if time.Since(l.read) < readAnew {
		return nil
	}
	l.closeUnused()
	rules, err := l.reload()
	if err != nil {
		return err
	}
	now := l.cfg
	now.Policy = rules
	strict := rules.Store().StrictPermissions
	turned := strict != l.cfg.Policy.Store().StrictPermissions
	if rules.Log() != l.cfg.Policy.Log() || turned {
		now.Log = openLog(rules.Log(), unsafeUnder(rules, l.unsafe))
	}
	if turned || l.cfg.Store.Replaced() {
		now.Store, err = keystore.Open(l.home, keystore.Options{UnsafePermissions: l.unsafe, StrictPermissions: strict})
		if err != nil {
			return err
		}
		l.replaced = append(l.replaced, replaced{l.cfg.Store, l.users})
		l.users = new(users)
		l.closeUnused()
	}
	l.cfg, l.read = now, time.Now()
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
