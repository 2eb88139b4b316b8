package verifier

import (
	"strings"
	"sync"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

// reader is what a decision reads of the store: *keystore.Store, which reads the disk for each question, or a view.
type reader interface {
	Home() keystore.Home
	Unchecked() bool
	Warnings() []string
	Resolve(kmskey.Ref, keystore.ResolveOptions) (*keystore.Resolution, error)
	Alias(kmskey.AliasARN) (*keystore.AliasEntry, error)
	Blocks([]kmskey.ARN, string) ([]keystore.Block, error)
}

const (
	// viewAge is how long a batch relies on what it read: docs/decisions/0014-a-batch-looks-once-a-second.md.
	viewAge = time.Second
	// maxViewed bounds the answers of each kind that a view keeps.
	maxViewed = 1024
)

// view is the store as one decision sees it, or a batch for viewAge: each answer, a refusal too, is the store's own, and
// given again to whoever asks the same. It may be used by several goroutines; what it returns is theirs to read only.
type view struct {
	*keystore.Store
	resolved memory[resolveKey, *keystore.Resolution]
	aliases  memory[kmskey.AliasARN, *keystore.AliasEntry]
	blocked  memory[blockKey, []keystore.Block]
	lastLine func() time.Time
}

type resolveKey struct {
	ref  kmskey.Ref
	opts keystore.ResolveOptions
}

type blockKey struct {
	first       kmskey.ARN
	others      string
	fingerprint string
}

func (w *view) Resolve(ref kmskey.Ref, opts keystore.ResolveOptions) (*keystore.Resolution, error) {
	return w.resolved.get(resolveKey{ref, opts}, func() (*keystore.Resolution, error) { return w.Store.Resolve(ref, opts) })
}

func (w *view) Alias(alias kmskey.AliasARN) (*keystore.AliasEntry, error) {
	return w.aliases.get(alias, func() (*keystore.AliasEntry, error) { return w.Store.Alias(alias) })
}

func (w *view) Blocks(arns []kmskey.ARN, fingerprint string) ([]keystore.Block, error) {
	key := blockKey{fingerprint: fingerprint}
	if len(arns) > 0 {
		key.first = arns[0]
		var others []string
		for _, arn := range arns[1:] {
			others = append(others, arn.String())
		}
		key.others = strings.Join(others, " ")
	}
	return w.blocked.get(key, func() ([]keystore.Block, error) { return w.Store.Blocks(arns, fingerprint) })
}

// memory keeps answers by their question.
type memory[K comparable, V any] struct {
	mu      sync.RWMutex
	answers map[K]remembered[V]
}

type remembered[V any] struct {
	value V
	err   error
}

func (m *memory[K, V]) get(key K, read func() (V, error)) (V, error) {
	m.mu.RLock()
	answer, known := m.answers[key]
	m.mu.RUnlock()
	if !known {
		answer.value, answer.err = read()
		m.mu.Lock()
		if m.answers == nil || len(m.answers) >= maxViewed {
			m.answers = make(map[K]remembered[V])
		}
		m.answers[key] = answer
		m.mu.Unlock()
	}
	if answer.err != nil {
		own := *kmserr.As(answer.err) // whoever gets an error may add to it
		return answer.value, &own
	}
	return answer.value, nil
}

// lastLineOnce returns a function that asks the log for the time of its last line, at most once a decision or a view.
func (v *Verifier) lastLineOnce() func() time.Time {
	if v.seen != nil {
		return v.seen.lastLine
	}
	return sync.OnceValue(v.lastLine)
}

// once returns the verifier for one decision, which reads nothing twice.
func (v *Verifier) once() *Verifier {
	if v.seen != nil {
		return v
	}
	own := *v
	own.seen = &view{Store: v.cfg.Store, lastLine: sync.OnceValue(v.lastLine)}
	return &own
}

// viewer makes views, one after the other, for a batch.
type viewer struct {
	v     *Verifier
	store *keystore.Store
	age   time.Duration

	mu   sync.RWMutex
	now  *Verifier
	err  error // why nothing can be decided under the policy as it is now
	born time.Time
}

// current returns the verifier that a decision which begins now is made by, and why it cannot make one.
func (w *viewer) current() (*Verifier, error) {
	w.mu.RLock()
	v, err, fresh := w.now, w.err, w.now != nil && time.Since(w.born) < w.age
	w.mu.RUnlock()
	if fresh {
		return v, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now == nil || time.Since(w.born) >= w.age {
		w.now, w.err = w.look()
		w.born = time.Now()
	}
	return w.now, w.err
}

func (w *viewer) look() (*Verifier, error) {
	now := *w.v
	now.cfg.Explain = nil // the steps of many questions at once would tell nobody anything
	now.seen = &view{Store: w.store, lastLine: sync.OnceValue(w.v.lastLine)}
	if w.v.reload == nil {
		return &now, nil
	}
	rules, home, err := w.v.reload()
	if err != nil {
		return &now, err
	}
	if !w.store.ReadsFrom(home) {
		return &now, kmserr.New(kmserr.StoreAccess, "the key store %s was taken away or replaced by another folder while the batch ran", w.store.Home().Path).
			WithHint("Begin a new batch with what is left.")
	}
	if was := w.v.cfg.Policy; rules.Log() != was.Log() || rules.Store() != was.Store() {
		return &now, kmserr.New(kmserr.PolicyInvalid, "what the policy says of the log or of the store changed while the batch ran").
			WithHint("Begin a new batch with what is left.")
	}
	now.cfg.Policy = rules
	return &now, nil
}
