package verifier

import (
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// readAge is how long what was read of the policies stands where nothing is decided, and where Open read it for the first
// decision: a plugin that opens and asks at once reads once.
const readAge = time.Second

// live is what Open found, looked for anew at every decision.
type live struct {
	home   keystore.Home
	unsafe bool
	reload reload

	mu  sync.Mutex
	cfg Config
	// read is when the policies were read, and undecided that Open did it and nothing was decided since.
	read      time.Time
	undecided bool
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

// maxMoves is how often a decision begins anew because another folder came into the home's place while it looked.
const maxMoves = 5

// errMoved says that policy and store are not of one folder. Neither alone says what was ever in force.
var errMoved = errors.New("another folder came into the home's place")

func (l *live) current(decides bool) (Config, *users, error) {
	if l.suffices(decides) {
		return l.settle(reading{}, nil)
	}
	for range maxMoves {
		now := reading{at: time.Now()}
		var err error
		now.rules, now.home, err = l.reload() // beside other decisions, which wait for each other only to take what was read
		cfg, users, err := l.settle(now, err)
		if err != errMoved { //nolint:errorlint // settle returns it bare
			return cfg, users, err
		}
		users.Add(-1)
	}
	return l.settle(reading{}, moved(l.home))
}

func moved(home keystore.Home) error {
	return kmserr.New(kmserr.StoreAccess, "the key store %s was replaced by another folder again and again while it was read", home.Path).
		WithHint("Try again.")
}

// reading is what reload gave, and when it was asked.
type reading struct {
	rules policy.Policy
	home  fs.FileInfo
	at    time.Time
}

// settle takes what was read, if anything, and returns what is in force.
func (l *live) settle(now reading, err error) (Config, *users, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		err = kmserr.New(kmserr.StoreAccess, "the verifier was closed").WithHint("Make a new one with Open.")
	case now.rules != nil:
		err = l.take(now)
	}
	if err != nil {
		l.read = time.Time{} // why nothing can be told now may be mended a moment later, or be worse
	}
	l.users.Add(1)
	return l.cfg, l.users, err
}

// suffices reports whether what was read may be gone by still.
func (l *live) suffices(decides bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	yes := time.Since(l.read) < readAge && (l.undecided || !decides)
	if decides {
		l.undecided = false
	}
	return yes
}

// take brings cfg up to date with the policy that was read, and with the home's folder that it was read with.
func (l *live) take(what reading) error {
	l.closeUnused()
	now, rules := l.cfg, what.rules
	now.Policy = rules
	strict := rules.Store().StrictPermissions
	turned := strict != l.cfg.Policy.Store().StrictPermissions
	if rules.Log() != l.cfg.Policy.Log() || turned {
		now.Log = openLog(rules.Log(), unsafeUnder(rules, l.unsafe))
	}
	if turned || !l.cfg.Store.ReadsFrom(what.home) {
		store, err := openStore(l.home, l.unsafe, rules, what.home)
		if err != nil {
			return err
		}
		now.Store = store
		l.replaced = append(l.replaced, replaced{l.cfg.Store, l.users})
		l.users = new(users)
		l.closeUnused()
	}
	l.cfg, l.read, l.undecided = now, what.at, false
	return nil
}

// openStore opens the store that the rules were read with: errMoved if it is another folder by now.
func openStore(home keystore.Home, unsafe bool, rules policy.Policy, folder fs.FileInfo) (*keystore.Store, error) {
	store, err := keystore.Open(home, keystore.Options{UnsafePermissions: unsafe, StrictPermissions: rules.Store().StrictPermissions})
	if err != nil {
		return nil, err
	}
	if !store.ReadsFrom(folder) {
		_ = store.Close() // nothing was read of it
		return nil, errMoved
	}
	return store, nil
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
