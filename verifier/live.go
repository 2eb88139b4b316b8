package verifier

import (
	"errors"
	"sync"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// readAnew is how old the policies may be that a decision goes by: a program that asks thousands of times a second need not
// read them as often (rule R16). Tests shorten it.
var readAnew = viewAge

// live is what Open found, looked for anew while the verifier is used.
type live struct {
	home   keystore.Home
	unsafe bool
	reload func() (policy.Policy, error)

	mu   sync.Mutex
	cfg  Config
	read time.Time
	// replaced are stores that are read no more but for decisions under way.
	replaced []*keystore.Store
	// closed says that nothing is to be opened again.
	closed bool
}

// current returns the verifier for one decision, with what is in force now; its policy, log and store change no more. The
// error is why what is in force cannot be told, and refuses the decision; what was in force before then still says where
// its line goes.
func (v *Verifier) current() (*Verifier, error) {
	if v == nil || v.live == nil {
		return v, nil
	}
	cfg, err := v.live.current()
	return &Verifier{cfg: cfg, reload: v.reload}, err
}

func (l *live) current() (Config, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.cfg, kmserr.New(kmserr.StoreAccess, "the verifier was closed").WithHint("Make a new one with Open.")
	}
	if time.Since(l.read) < readAnew {
		return l.cfg, nil
	}
	rules, err := l.reload()
	if err != nil {
		return l.cfg, err
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
			return l.cfg, err
		}
		l.replaced = append(l.replaced, l.cfg.Store)
	}
	l.cfg, l.read = now, time.Now()
	return now, nil
}

func (l *live) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	err := l.cfg.Store.Close()
	for _, store := range l.replaced {
		err = errors.Join(err, store.Close())
	}
	return err
}
