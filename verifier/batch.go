package verifier

import (
	"context"
	"io"
	"iter"
	"runtime"
	"sync"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

const (
	// batchWindow is how many questions a worker may be ahead of the answers, and batchGroup how many lines are written to
	// the log at once.
	batchWindow = 128
	batchGroup  = 512
)

// Question makes a request of a batch. It is called once, by one of the workers, so that reading and decoding are shared
// among them as well. An error, or a panic, is the answer; a Request beside an error says what is known for the log. A
// Message that is an io.Closer is closed when the question was answered.
type Question func() (Request, error)

// Ask is the question of a request that is ready.
func Ask(req Request) Question { return func() (Request, error) { return req, nil } }

// Answer is the answer to one question of a batch.
type Answer struct {
	// Index counts the questions from 0.
	Index int64
	// Verified is non-nil if and only if Err is nil. Err is what Verify would have returned, a *kmserr.Error.
	Verified *Verified
	Err      error
	// More says that the next answer is there already: who writes answers need not flush before it.
	More bool
}

// BatchOptions say how a batch runs. The zero value is good for most.
type BatchOptions struct {
	// Workers decide at once; 0 stands for runtime.GOMAXPROCS(0).
	Workers int
}

// VerifyBatch answers many questions, each as Verify would, and yields the answers in the order of the questions. It holds
// a bounded number of questions, however many there are.
//
// Records, aliases, blocks and, in a Verifier of Open, the policy are read at most once a second, and keys are parsed
// once: an answer rests on what the store said within the second before. A change of what the policy says of the log or
// the store is a PolicyInvalidException for every question from then on, and another folder in the home's place a
// StoreAccessException. Lines of the log are written in groups, each
// before any of its answers is given. Config.Explain is not called.
//
// questions runs in a goroutine of its own, up to the end of the batch, and is waited for; a panic in it is the last
// answer. If ctx ends, the batch ends before the first question that was not decided: ctx.Err tells whoever did not count.
func (v *Verifier) VerifyBatch(ctx context.Context, questions iter.Seq[Question], o BatchOptions) iter.Seq[Answer] {
	return func(yield func(Answer) bool) {
		if err := v.ready(); err != nil {
			yield(Answer{Err: err})
			return
		}
		if ctx == nil {
			ctx = context.Background()
		}
		workers := o.Workers
		if workers <= 0 {
			workers = runtime.GOMAXPROCS(0)
		}
		v, _ := v.forDecision() // what keeps it from deciding, the first view finds too
		defer v.release()
		own, cancel := context.WithCancel(ctx)
		b := &batch{
			v: v, caller: ctx, ctx: own, slots: make([]slot, batchWindow*workers),
			viewer: viewer{v: v, store: v.cfg.Store.Remembering(), age: viewAge},
		}
		b.room.L, b.work.L, b.head.L = &b.mu, &b.mu, &b.mu
		var running sync.WaitGroup
		defer running.Wait()
		defer b.stop()
		defer cancel()
		defer context.AfterFunc(ctx, b.stop)()
		running.Go(func() { b.read(questions) })
		for range workers {
			running.Go(b.decide)
		}
		b.answer(yield)
	}
}

// slot is one question on its way.
type slot struct {
	question Question
	judged   *decision
	err      error
	done     bool
}

// batch is a ring of slots. The reader puts questions behind the last, workers take them in order and finish them in any,
// and the answers go out from the first as far as they are done.
type batch struct {
	v           *Verifier
	caller, ctx context.Context // caller's own, and the one that ends with the batch
	viewer      viewer

	mu                     sync.Mutex
	room, work, head       sync.Cond
	slots                  []slot
	asked, taken, answered int64 // questions so far
	closed, stopped        bool
}

func (b *batch) slot(i int64) *slot { return &b.slots[i%int64(len(b.slots))] }

// stop lets everyone leave.
func (b *batch) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	b.room.Broadcast()
	b.work.Broadcast()
	b.head.Broadcast()
}

// read puts the questions into the ring.
func (b *batch) read(questions iter.Seq[Question]) {
	err := guarded(func() error {
		for q := range questions {
			if !b.put(q) {
				break
			}
		}
		return nil
	})
	if err != nil {
		b.put(func() (Request, error) { return Request{}, err })
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.work.Broadcast()
	b.head.Broadcast()
}

func (b *batch) put(q Question) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.asked-b.answered == int64(len(b.slots)) && !b.stopped {
		b.room.Wait()
	}
	if b.stopped {
		return false
	}
	*b.slot(b.asked) = slot{question: q}
	b.asked++
	b.work.Signal()
	return true
}

// decide is a worker.
func (b *batch) decide() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for b.taken == b.asked && !b.closed && !b.stopped {
			b.work.Wait()
		}
		if b.stopped || b.taken == b.asked {
			return
		}
		i := b.taken
		b.taken++
		s := b.slot(i)
		b.mu.Unlock()
		judged, err := b.judge(s.question)
		b.mu.Lock()
		s.question, s.judged, s.err, s.done = nil, judged, err, true
		if i == b.answered {
			b.head.Signal()
		}
	}
}

// judge decides one question, all but its line in the log.
func (b *batch) judge(q Question) (d *decision, err error) {
	// First, as it may take its time: what is in force is what is so after it.
	req, questionErr := answerOf(q)
	if c, ok := req.Message.(io.Closer); ok {
		defer func() { _ = guarded(c.Close) }() // it was read only, and may be a nil pointer beside an error
	}
	var v *Verifier
	var broken error
	if err := guarded(func() error { v, broken = b.viewer.current(); d = v.newDecision(audit.EventVerify, ""); return nil }); err != nil {
		d = &decision{line: audit.Decision{EventName: audit.EventVerify, FrontEnd: b.v.cfg.FrontEnd, Options: map[string]string{}}}
		v, broken = b.v, err
	}
	d.line.Asked = req.KeyID
	if len(req.Signature) > 0 || questionErr == nil {
		v.noteRequest(d, req)
	}
	err = v.judge(b.ctx, d, func() error {
		switch {
		case questionErr != nil:
			return questionErr
		case broken != nil:
			own := *kmserr.As(broken) // whoever gets it may add to it
			return &own
		}
		return v.verify(b.ctx, d, req)
	})
	return d, err
}

// answerOf asks for the request.
func answerOf(q Question) (req Request, err error) {
	err = guarded(func() (err error) {
		if q == nil {
			return kmserr.New(kmserr.Internal, "the question is nil")
		}
		req, err = q()
		return err
	})
	return req, err
}

// answer yields the answers as far as they are done, and writes their lines before.
func (b *batch) answer(yield func(Answer) bool) {
	var group []slot
	var lines []audit.Decision
	for first := int64(0); ; first += int64(len(group)) {
		var more bool
		if group, more = b.take(group[:0]); len(group) == 0 {
			return
		}
		lines = lines[:0]
		for _, s := range group {
			lines = append(lines, s.judged.line)
		}
		failed := b.log(lines)
		for i, s := range group {
			a := Answer{Index: first + int64(i), More: more || i < len(group)-1}
			if a.Err = b.v.conclude(s.judged, s.err, failed[i]); a.Err == nil {
				a.Verified = &Verified{line: &s.judged.line}
			}
			if !yield(a) {
				return
			}
		}
	}
}

// take waits for the next answers and removes them from the ring; none at the end of the batch. more says that there is
// one behind them already.
func (b *batch) take(group []slot) (taken []slot, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.ready() && !b.stopped && !(b.closed && b.answered == b.asked) {
		b.head.Wait()
	}
	for len(group) < batchGroup && b.ready() {
		s := b.slot(b.answered)
		if b.caller.Err() != nil && kmserr.Is(s.err, kmserr.DeadlineExceeded) {
			break // it was broken off
		}
		group = append(group, *s)
		*s = slot{}
		b.answered++
	}
	b.room.Broadcast()
	return group, b.ready()
}

// ready reports whether the next answer is there.
func (b *batch) ready() bool { return b.slot(b.answered).done }

// log writes the lines, together where the log can do so, and returns what kept each from being written.
func (b *batch) log(lines []audit.Decision) []error {
	failed := make([]error, len(lines))
	log := b.v.cfg.Log
	if log == nil {
		return failed
	}
	ctx := context.WithoutCancel(b.ctx) // what was decided gets its line
	together, ok := log.(audit.GroupLog)
	if !ok {
		for i, line := range lines {
			failed[i] = guarded(func() error { return log.Append(ctx, line) })
		}
		return failed
	}
	err := guarded(func() error { return together.AppendAll(ctx, lines) })
	for i := range failed {
		failed[i] = err
	}
	return failed
}
