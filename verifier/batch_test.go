package verifier

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/keystore"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
	"github.com/awskms-offline/awskms-offline/verifier/policy"
)

// mixed is a world with a key of every kind that is quick to verify, and a sound request for each.
func mixed(t testing.TB) (*world, []Request, [][]byte) {
	t.Helper()
	kinds := []struct {
		spec kmskey.KeySpec
		alg  kmskey.SigningAlgorithm
	}{
		{kmskey.ECCNISTP256, kmskey.ECDSASHA256}, {kmskey.ECCNISTEdwards25519, kmskey.ED25519SHA512}, {kmskey.RSA2048, kmskey.RSASSAPSSSHA256},
		{kmskey.SM2, kmskey.SM2DSA}, {kmskey.MLDSA44, kmskey.MLDSASHAKE256}, {kmskey.ECCSECGP256K1, kmskey.ECDSASHA256},
	}
	var keys []*kmskey.Key
	var requests []Request
	var messages [][]byte
	for i, kind := range kinds {
		s := signerOf(kind.spec)
		arn := fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/%d234abcd-12ab-34cd-56ef-1234567890ab", i)
		keys = append(keys, record(t, arn, s))
		message := fmt.Appendf(nil, "message of %s", kind.spec)
		requests, messages = append(requests, request(arn, s, kind.alg, message)), append(messages, message)
	}
	w := newWorld(t, keys...)
	w.v.cfg.Policy = policy.None{} // fakePolicy is for one goroutine
	return w, requests, messages
}

func each(questions ...Question) iter.Seq[Question] { return slices.Values(questions) }

func batchOf(ctx context.Context, v *Verifier, questions iter.Seq[Question]) []Answer {
	return slices.Collect(v.VerifyBatch(ctx, questions, BatchOptions{}))
}

// TestBatchMixed: every answer is the one that Verify would give, in order, whatever the number of workers; the log has
// the same lines in the same order.
func TestBatchMixed(t *testing.T) {
	const n = 3000
	w, requests, messages := mixed(t)
	bad := func(i int64) bool { return i%97 == 13 }
	for _, workers := range []int{0, 1, 7} {
		w.log.lines = nil
		var next int64
		for a := range w.v.VerifyBatch(t.Context(), func(yield func(Question) bool) {
			for i := range int64(n) {
				req, message := requests[i%int64(len(requests))], messages[i%int64(len(requests))]
				if bad(i) {
					message = append(slices.Clip(message), '!')
				}
				if !yield(func() (Request, error) { req.Message = bytes.NewReader(message); return req, nil }) {
					return
				}
			}
		}, BatchOptions{Workers: workers}) {
			if a.Index != next {
				t.Fatalf("answer %d where %d was due", a.Index, next)
			}
			if (a.Verified == nil) == (a.Err == nil) || (a.Err != nil) != bad(a.Index) {
				t.Fatalf("%d: %v with %v", a.Index, a.Verified, a.Err)
			}
			if a.Err != nil {
				refused(t, a.Err, kmserr.InvalidSignature)
			} else if d := a.Verified.Decision(); !d.Verified || d.KeyARN != requests[next%int64(len(requests))].KeyID {
				t.Fatalf("%d: %+v", a.Index, d)
			}
			if next++; int64(len(w.log.lines)) < next {
				t.Fatalf("answer %d was given before its line", a.Index)
			}
		}
		if next != n || len(w.log.lines) != n {
			t.Fatalf("%d answers, %d lines, expected %d", next, len(w.log.lines), n)
		}
		for i, line := range w.log.lines {
			if line.Verified == bad(int64(i)) || line.Asked != requests[i%len(requests)].KeyID || line.EventName != audit.EventVerify {
				t.Fatalf("line %d says %+v", i, line)
			}
		}
	}
}

// TestBatchSaysWhatVerifySays: an answer, good or bad, is that of Verify to the letter.
func TestBatchSaysWhatVerifySays(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)), record(t, arnB, signerOf(kmskey.ECCNISTP256), state(kmskey.StateDisabled)))
	w.v.cfg.Policy = policy.None{}
	w.alias(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)), at("2026-11-20T00:00:00Z"))
	for _, edit := range []func(*Request){
		func(*Request) {},
		func(r *Request) { r.KeyID = "alias/release" },
		func(r *Request) { r.KeyID = arnB },
		func(r *Request) { r.KeyID = "alias/none" },
		func(r *Request) { r.KeyID = "" },
		func(r *Request) { r.Signature = nil },
		func(r *Request) { r.Message = nil },
		func(r *Request) { r.SigningAlgorithm = kmskey.SM2DSA },
		func(r *Request) { r.MessageType = "DIGESTED" },
		func(r *Request) { r.Message = strings.NewReader("another") },
	} {
		one, two := good(arnA), good(arnA)
		two.Signature = one.Signature
		edit(&one)
		edit(&two)
		w.log.lines = nil
		verified, err := w.v.Verify(t.Context(), one)
		answers := batchOf(t.Context(), w.v, each(Ask(two), Ask(Request{})))
		if len(answers) != 2 || fmt.Sprint(answers[0].Err) != fmt.Sprint(err) || (answers[0].Verified == nil) != (verified == nil) {
			t.Errorf("Verify says %v, the batch %+v", err, answers)
		}
		if kmserr.As(err) != nil && kmserr.As(err).Hint != kmserr.As(answers[0].Err).Hint {
			t.Errorf("hints: %q and %q", kmserr.As(err).Hint, kmserr.As(answers[0].Err).Hint)
		}
		if got, want := fmt.Sprintf("%+v", w.log.lines[1]), fmt.Sprintf("%+v", w.log.lines[0]); got != want {
			t.Errorf("lines differ:\n%s\n%s", want, got)
		}
	}
}

// TestBatchQuestions: a question that cannot be made, panics or is nil is refused, and the next one answered; its message
// is closed.
func TestBatchQuestions(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.v.cfg.Policy = policy.None{}
	closed := 0
	closing := func() (Request, error) {
		req := good(arnA)
		req.Message = struct {
			io.Reader
			io.Closer
		}{req.Message, closer(func() error { closed++; return errors.New("never mind") })}
		return req, nil
	}
	panicking := good(arnA)
	panicking.Message = readerFunc(func([]byte) (int, error) { panic("in Read") })
	answers := batchOf(t.Context(), w.v, each(
		func() (Request, error) {
			return Request{KeyID: "alias/x"}, kmserr.New(kmserr.Validation, "the line is bad")
		},
		func() (Request, error) { panic("in the question") },
		nil,
		Ask(panicking),
		func() (Request, error) { return Request{}, errors.New("no error of ours") },
		closing,
		func() (Request, error) {
			return Request{KeyID: arnA, Signature: []byte("s"), MessageType: kmskey.Digest}, errors.New("no message")
		},
		func() (Request, error) { // as of gzip.NewReader, which returns a nil pointer beside its error
			var none *gzip.Reader
			return Request{KeyID: arnA, Message: none}, errors.New("no gzip")
		},
		func() (Request, error) {
			req := good(arnA)
			req.Message = struct {
				io.Reader
				io.Closer
			}{req.Message, closer(func() error { panic("in Close") })}
			return req, nil
		},
		Ask(good(arnA)),
	))
	if len(answers) != 10 || len(w.log.lines) != 10 {
		t.Fatalf("%d answers, %d lines", len(answers), len(w.log.lines))
	}
	refused(t, answers[0].Err, kmserr.Validation, "the line is bad")
	refused(t, answers[1].Err, kmserr.Internal, "in the question")
	refused(t, answers[2].Err, kmserr.Internal, "nil")
	refused(t, answers[3].Err, kmserr.Internal, "in Read")
	refused(t, answers[4].Err, kmserr.Internal, "no error of ours")
	if answers[5].Err != nil || closed != 1 {
		t.Errorf("%v, closed %d times", answers[5].Err, closed)
	}
	refused(t, answers[7].Err, kmserr.Internal, "no gzip")
	if answers[8].Err != nil || answers[9].Err != nil {
		t.Errorf("%v, %v", answers[8].Err, answers[9].Err)
	}
	if line := w.log.lines[0]; line.Asked != "alias/x" || line.Verified || line.ErrorMessage != "the line is bad" || line.SignatureSHA256 != "" {
		t.Errorf("the line says %+v", line)
	}
	// What is known of a question that cannot be asked is in its line.
	if line := w.log.lines[6]; line.SignatureSHA256 != hexSHA256([]byte("s")) || line.MessageType != "DIGEST" || line.Verified {
		t.Errorf("the line says %+v", line)
	}

	w.log.lines = nil
	answers = batchOf(t.Context(), w.v, func(yield func(Question) bool) {
		yield(Ask(good(arnA)))
		panic("between the questions")
	})
	if len(answers) != 2 || answers[0].Err != nil {
		t.Fatalf("got %+v", answers)
	}
	refused(t, answers[1].Err, kmserr.Internal, "between the questions")

	w.v.cfg.Now = func() time.Time { panic("no clock") }
	w.v.cfg.MaxMessage = 100 // an option, which the line has all the same
	lines := len(w.log.lines)
	answers = batchOf(t.Context(), w.v, each(Ask(good(arnA))))
	if len(answers) != 1 {
		t.Fatalf("got %+v", answers)
	}
	refused(t, answers[0].Err, kmserr.Internal, "no clock")
	if last := w.log.lines[len(w.log.lines)-1]; len(w.log.lines) != lines+1 || last.Options["max-message"] != "100" || last.Asked != arnA {
		t.Errorf("the line is %+v", last)
	}

	if none := batchOf(t.Context(), w.v, each()); len(none) != 0 {
		t.Errorf("got %+v", none)
	}
	answers = batchOf(t.Context(), &Verifier{}, each(Ask(good(arnA))))
	if len(answers) != 1 {
		t.Fatalf("got %+v", answers)
	}
	refused(t, answers[0].Err, kmserr.Internal)
}

type closer func() error

func (c closer) Close() error { return c() }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// endless asks for ever, and counts.
func endless(asked *atomic.Int64, req func() Request) iter.Seq[Question] {
	return func(yield func(Question) bool) {
		for yield(Ask(req())) {
			asked.Add(1)
		}
	}
}

// TestBatchBounded: whoever does not take answers is not asked on for ever, and leaving ends everything.
func TestBatchBounded(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.v.cfg.Policy = policy.None{}
	var asked atomic.Int64
	req := good(arnA)
	req.Message = nil
	next, stop := iter.Pull(w.v.VerifyBatch(t.Context(), endless(&asked, func() Request { return req }), BatchOptions{Workers: 2}))
	for range 3 {
		next()
	}
	time.Sleep(100 * time.Millisecond)
	if n, most := asked.Load(), int64(3+2*batchWindow+batchGroup); n > most {
		t.Errorf("%d questions were taken for 3 answers, expected %d at most", n, most)
	}
	stop()
	after := asked.Load()
	time.Sleep(10 * time.Millisecond)
	if asked.Load() != after {
		t.Error("it asks on after its end")
	}
}

// TestBatchCancelled: the end of the context ends the batch: every answer given was decided and has its line, and what
// was broken off is no answer.
func TestBatchCancelled(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.v.cfg.Policy = policy.None{}
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	answers := 0
	for a := range w.v.VerifyBatch(ctx, endless(&asked, func() Request { return good(arnA) }), BatchOptions{}) {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		if answers++; answers == 100 {
			cancel()
		}
	}
	if answers < 100 || len(w.log.lines) < answers {
		t.Errorf("%d answers, %d lines", answers, len(w.log.lines))
	}
	// A message that comes slowly is broken off.
	ctx, cancel = context.WithCancel(t.Context())
	slow := good(arnA)
	slow.Message = readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if got := batchOf(ctx, w.v, each(Ask(good(arnA)), Ask(slow), Ask(good(arnA)))); len(got) > 1 {
		t.Errorf("got %+v", got)
	}
	if got := batchOf(ctx, w.v, each(Ask(good(arnA)))); len(got) != 0 {
		t.Errorf("after the end: %+v", got)
	}
	// A deadline of a question's own is an answer like another.
	late := func() (Request, error) { return Request{}, kmserr.New(kmserr.DeadlineExceeded, "too slow") }
	if got := batchOf(t.Context(), w.v, each(late, Ask(good(arnA)))); len(got) != 2 || got[1].Err != nil {
		t.Errorf("got %+v", got)
	}
}

// groupLog is a log that takes groups.
type groupLog struct {
	fakeLog
	groups []int
}

func (l *groupLog) AppendAll(ctx context.Context, all []audit.Decision) error {
	l.groups = append(l.groups, len(all))
	if err := errors.Join(l.err, ctx.Err()); err != nil {
		return err
	}
	l.lines = append(l.lines, all...)
	return nil
}

// TestBatchLog: lines are written together, and what cannot be logged is no yes where the log is required.
func TestBatchLog(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.v.cfg.Policy = policy.None{}
	const n = 2000
	many := func(yield func(Question) bool) {
		for range n {
			if !yield(Ask(Request{KeyID: arnA})) {
				return
			}
		}
	}
	log := &groupLog{}
	w.v.cfg.Log = log
	if got := batchOf(t.Context(), w.v, many); len(got) != n || len(log.lines) != n || len(log.groups) > n/2 || slices.Max(log.groups) > batchGroup {
		t.Errorf("%d answers, %d lines in %d groups", len(got), len(log.lines), len(log.groups))
	}
	log.err = errors.New("the disk is full")
	answers := batchOf(t.Context(), w.v, each(Ask(good(arnA))))
	if len(answers) != 1 || answers[0].Err != nil || !strings.Contains(fmt.Sprint(answers[0].Verified.Decision().Warnings), "the disk is full") {
		t.Errorf("not required: %+v", answers)
	}
	log.required = true
	for _, answer := range batchOf(t.Context(), w.v, each(Ask(good(arnA)), Ask(good(arnA)))) {
		if answer.Verified != nil {
			t.Error("verified without a line")
		}
		refused(t, answer.Err, kmserr.AuditUnavailable, "the disk is full")
	}
	w.v.cfg.Log = &fakeLog{panics: true, required: true}
	for _, answer := range batchOf(t.Context(), w.v, each(Ask(good(arnA)))) {
		refused(t, answer.Err, kmserr.AuditUnavailable, "panics")
	}
	// A log that takes one line at a time.
	w.v.cfg.Log = &fakeLog{err: errors.New("the disk is full"), required: true}
	for _, answer := range batchOf(t.Context(), w.v, each(Ask(good(arnA)))) {
		refused(t, answer.Err, kmserr.AuditUnavailable, "the disk is full")
	}
	w.v.cfg.Log = nil
	if answers := batchOf(t.Context(), w.v, each(Ask(good(arnA)))); len(answers) != 1 || answers[0].Err != nil {
		t.Errorf("no log: %+v", answers)
	}
}

// TestBatchGroups: what is decided while the first answer is waited for goes out together, each group's lines before its
// answers, and every answer but the last says that there is more.
func TestBatchGroups(t *testing.T) {
	const workers, n = 8, batchGroup + 100
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.v.cfg.Policy = policy.None{}
	log := &groupLog{}
	w.v.cfg.Log = log
	var others atomic.Int64
	answers := slices.Collect(w.v.VerifyBatch(t.Context(), func(yield func(Question) bool) {
		yield(func() (Request, error) {
			for others.Load() < n-1 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(50 * time.Millisecond) // the last of them is being decided
			return Request{}, errors.New("the first")
		})
		for range n - 1 {
			yield(func() (Request, error) { others.Add(1); return Request{}, errors.New("another") })
		}
	}, BatchOptions{Workers: workers}))
	if len(answers) != n || !slices.Equal(log.groups, []int{batchGroup, n - batchGroup}) {
		t.Fatalf("%d answers, groups of %d", len(answers), log.groups)
	}
	for i, a := range answers {
		if a.Index != int64(i) || a.More != (i < n-1) {
			t.Fatalf("answer %d: %+v", i, a)
		}
	}
}

// TestBatchEndsBehindWhatWasDecided: what was decided before the end of the context is answered, what was not is not.
func TestBatchEndsBehindWhatWasDecided(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.v.cfg.Policy = policy.None{}
	const n = 10
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	decided := make(chan bool) // closed by the one worker when it comes to the last question
	got := 0
	for a := range w.v.VerifyBatch(ctx, func(yield func(Question) bool) {
		for range n {
			yield(Ask(good(arnA)))
		}
		yield(func() (Request, error) { close(decided); <-ctx.Done(); return good(arnA), nil })
	}, BatchOptions{Workers: 1}) {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		if got == 0 {
			<-decided
			cancel()
		}
		got++
	}
	if got != n || len(w.log.lines) != n {
		t.Errorf("%d answers and %d lines, expected %d", got, len(w.log.lines), n)
	}
	var none context.Context
	for a := range w.v.VerifyBatch(none, each(Ask(good(arnA))), BatchOptions{}) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
}

// TestBatchEndsBetweenQuestions: a batch whose time is over while the only worker is between two questions, so that none is
// broken off and none of those behind is ever decided, ends all the same.
func TestBatchEndsBetweenQuestions(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.v.cfg.Policy = policy.None{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped, ended := make(chan struct{}), make(chan struct{})
	decided := closer(func() error { // the question is decided when its message is closed
		cancel()
		select {
		case <-stopped:
		case <-time.After(10 * time.Second):
			t.Error("the questions go on")
		}
		return nil
	})
	go func() {
		defer close(ended)
		for a := range w.v.VerifyBatch(ctx, func(yield func(Question) bool) {
			defer close(stopped)
			req := good(arnA)
			req.Message = struct {
				io.Reader
				io.Closer
			}{req.Message, decided}
			for yield(Ask(req)) {
				req = good(arnA)
			}
		}, BatchOptions{Workers: 1}) {
			if a.Err != nil {
				t.Error(a.Err)
			}
		}
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the batch does not end")
	}
}

// slowly asks one question after the other was answered and the view is old.
func slowly(v *Verifier, req func() Request, between ...func()) []Answer {
	var answers []Answer
	answered := make(chan bool)
	for a := range v.VerifyBatch(context.Background(), func(yield func(Question) bool) {
		for i := range len(between) + 1 {
			if !yield(Ask(req())) || i == len(between) {
				return
			}
			<-answered
			between[i]()
			time.Sleep(viewAge + 50*time.Millisecond)
		}
	}, BatchOptions{}) {
		answers = append(answers, a)
		if len(answers) <= len(between) {
			answered <- true
		}
	}
	return answers
}

// TestBatchSeesChanges: a block and a new state hold a second later, in the midst of a batch.
func TestBatchSeesChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	w.v.cfg.Policy = policy.None{}
	answers := slowly(w.v, func() Request { return good(arnA) },
		func() { w.block(t, keystore.Block{KeyID: arnA, Reason: "test"}) },
		func() {
			w.write(t, func(writer *keystore.Writer) error {
				_, err := writer.Unblock(must(kmskey.ParseARN(arnA)), "")
				return err
			})
		})
	if len(answers) != 3 || answers[0].Err != nil || answers[2].Err != nil {
		t.Fatalf("got %+v", answers)
	}
	refused(t, answers[1].Err, kmserr.KeyBlocked)
}

// TestBatchSeesPolicy: the policy of a Verifier of Open is read anew; what cannot be changed in the midst ends in refusals.
func TestBatchSeesPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	v, err := Open(Options{Home: &w.home.Path, HomeOption: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	v.cfg.Log = nil
	put := func(text string) func() {
		return func() {
			if err := os.WriteFile(filepath.Join(w.home.Path, policy.FileName), []byte(text), 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	answers := slowly(v, func() Request { return good(arnA) },
		put(`{"version":"1","restrictions":[{"name":"x","signingAlgorithms":["SM2DSA"]}]}`),
		put(`{"version":"1","log":{"mode":"required"}}`),
		put(`{"version":`),
	)
	if len(answers) != 4 || answers[0].Err != nil {
		t.Fatalf("got %+v", answers)
	}
	refused(t, answers[1].Err, kmserr.AlgorithmNotAllowed)
	refused(t, answers[2].Err, kmserr.PolicyInvalid, "while the batch ran")
	refused(t, answers[3].Err, kmserr.PolicyInvalid)
}

// TestBatchSeesAnotherHome: where another folder was put in the home's place, nothing of the old one counts.
func TestBatchSeesAnotherHome(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows renames no folder that is open: a folder that is exchanged is not tested")
	}
	key := record(t, arnA, signerOf(kmskey.ECCNISTP256))
	old, next := newWorld(t, key), newWorld(t, key)
	next.block(t, keystore.Block{KeyID: arnA, Reason: "test"})
	v, err := Open(Options{Home: &old.home.Path, HomeOption: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	v.cfg.Log = nil
	answers := slowly(v, func() Request { return good(arnA) }, func() {
		if err := errors.Join(os.Rename(old.home.Path, old.home.Path+".old"), os.Rename(next.home.Path, old.home.Path)); err != nil {
			t.Error(err)
		}
	})
	if len(answers) != 2 || answers[0].Err != nil {
		t.Fatalf("got %+v", answers)
	}
	refused(t, answers[1].Err, kmserr.StoreAccess, "replaced")
}

// What a view remembers is bounded.
// TestTake: who waits for answers is let go when the batch stops, and gets none that was broken off.
func TestTake(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	late := kmserr.New(kmserr.DeadlineExceeded, "late")
	for name, c := range map[string]struct {
		caller          context.Context
		stopped, closed bool
		asked           int64
		done            []error // of the first answers, which are there
		want            int
		more            bool
	}{
		"stopped, with questions that nobody answers": {caller: t.Context(), stopped: true, asked: 2},
		"closed, all answered":                        {caller: t.Context(), closed: true},
		"two are there":                               {caller: t.Context(), asked: 3, done: []error{nil, io.EOF}, want: 2},
		"late, but nobody broke it off":               {caller: t.Context(), asked: 1, done: []error{late}, want: 1},
		"broken off":                                  {caller: over, stopped: true, asked: 2, done: []error{nil, late}, want: 1, more: true},
		"over, and refused by itself":                 {caller: over, stopped: true, asked: 2, done: []error{nil, io.EOF}, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := &batch{caller: c.caller, slots: make([]slot, 4), asked: c.asked, stopped: c.stopped, closed: c.closed}
			b.room.L, b.work.L, b.head.L = &b.mu, &b.mu, &b.mu
			for i, err := range c.done {
				b.slots[i].done, b.slots[i].err = true, err
			}
			type answer struct {
				group []slot
				more  bool
			}
			taken := make(chan answer, 1)
			go func() {
				group, more := b.take(nil)
				taken <- answer{group, more}
			}()
			select {
			case a := <-taken:
				if len(a.group) != c.want || a.more != c.more {
					t.Errorf("%d answers, more: %v", len(a.group), a.more)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("waits for ever")
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var m memory[int, int]
	for i := range 3 * maxViewed {
		if got, err := m.get(i, func() (int, error) { return -i, nil }); got != -i || err != nil {
			t.Fatalf("%d: %d, %v", i, got, err)
		}
		if len(m.answers) > maxViewed {
			t.Fatalf("%d answers are kept", len(m.answers))
		}
	}
	if len(m.answers) != maxViewed {
		t.Errorf("%d answers are kept, expected %d", len(m.answers), maxViewed)
	}
}

// Why nothing can be decided is said to everyone, for as long as a view holds; and another rule of the store's is such a reason.
func TestViewerRefuses(t *testing.T) {
	w := newWorld(t)
	rules := &fakePolicy{}
	var reloadErr error
	folder := must(os.Stat(w.home.Path))
	other := must(os.Stat(t.TempDir()))
	home := folder
	w.v.reload = func() (policy.Policy, fs.FileInfo, error) { return rules, home, reloadErr }
	viewer := &viewer{v: w.v, store: w.v.cfg.Store, age: time.Hour}
	if now, err := viewer.current(); err != nil || now.cfg.Policy != rules {
		t.Fatalf("%v, %v", now, err)
	}
	for name, change := range map[string]func(){
		"the policy cannot be read": func() { reloadErr = io.ErrUnexpectedEOF },
		"another folder":            func() { home = other },
		"no folder":                 func() { home = nil },
		"another rule":              func() { rules = &fakePolicy{store: policy.StoreRules{StrictPermissions: true}} },
	} {
		rules, home, reloadErr = &fakePolicy{}, folder, nil
		change()
		viewer.now = nil
		for range 2 {
			if now, err := viewer.current(); err == nil || now == nil {
				t.Errorf("%s: %v, %v", name, now, err)
			}
		}
	}
}

// TestViewReads: what was read is given again, a refusal too, and errors are the caller's own.
func TestViewReads(t *testing.T) {
	w := newWorld(t, record(t, arnA, signerOf(kmskey.ECCNISTP256)))
	store := w.v.Store().Remembering()
	seen := &view{Store: store}
	ref := must(kmskey.ParseRef(arnA))
	first, again := must(seen.Resolve(ref, keystore.ResolveOptions{})), must(seen.Resolve(ref, keystore.ResolveOptions{}))
	if first != again {
		t.Error("the store was asked again")
	}
	fresh := must((&view{Store: store}).Resolve(ref, keystore.ResolveOptions{}))
	if fresh == first || fresh.Entries[0].Key != first.Entries[0].Key {
		t.Error("the record was not read again, or parsed again")
	}
	none := must(kmskey.ParseRef(arnB))
	_, err := seen.Resolve(none, keystore.ResolveOptions{})
	refused(t, err, kmserr.NotFound)
	kmserr.As(err).Fact = "spoilt"
	_, err = seen.Resolve(none, keystore.ResolveOptions{})
	refused(t, err, kmserr.NotFound, arnB)
	w.block(t, keystore.Block{KeyID: arnB, Reason: "test"})
	arns := []kmskey.ARN{must(kmskey.ParseARN(arnA)), must(kmskey.ParseARN(arnB))}
	if blocks := must(seen.Blocks(arns[:1], "")); len(blocks) != 0 {
		t.Errorf("got %v", blocks)
	}
	if blocks := must(seen.Blocks(nil, "")); len(blocks) != 0 {
		t.Errorf("got %v for no key", blocks)
	}
	if blocks := must(seen.Blocks(arns, "")); len(blocks) != 1 {
		t.Errorf("got %v: another question's answer", blocks)
	}
}
