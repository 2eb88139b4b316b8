package kmstest

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Rule says which requests a fault strikes. The zero value is every request, for ever.
type Rule struct {
	// Operation is the API's name, "GetPublicKey"; empty: any.
	Operation string
	// Key is a key ID, key ARN, alias name or alias ARN, whichever of them the request uses; empty: any.
	Key string
	// Region and AccessKeyID are those of the signature; empty: any.
	Region, AccessKeyID string
	// Times is how often the fault strikes; 0: until it is taken back.
	Times int
	// Percent of the requests that match are struck; 0: all. The dice are the same in every run.
	Percent int
}

// Fault is what goes wrong. Several that strike one request add up: delays are added, of all else the last one counts.
type Fault struct {
	delay    time.Duration
	err      *Error
	send     func(http.ResponseWriter) // in place of KMS's answer
	status   int                       // of what send sends
	edit     func(map[string]any)
	cut      bool
	cutAfter int
}

// Delay makes the answer slow.
func Delay(d time.Duration) Fault { return Fault{delay: d} }

// Fail answers an error.
func Fail(e *Error) Fault { return Fault{err: e} }

// Edit lets the test change a successful answer before it is sent. Binary members are base64, numbers float64.
func Edit(change func(answer map[string]any)) Fault { return Fault{edit: change} }

// CutAfter closes the connection after that many bytes of the answer's body, whose length was announced; with 0 after
// the headers, with -1 before them.
func CutAfter(bytes int) Fault { return Fault{cut: true, cutAfter: bytes} }

// Answer sends a body of one's own, as a captive portal or a broken proxy does.
func Answer(status int, contentType, body string) Fault {
	return Fault{status: status, send: func(w http.ResponseWriter) { respond(w, status, contentType, []byte(body)) }}
}

// NotJSON answers 200 with a body that is no JSON.
func NotJSON() Fault {
	return Answer(http.StatusOK, contentType, "<html><body>Please log in to the network.</body></html>")
}

// Oversized answers 200 with a JSON object that has that many bytes and is well-formed.
func Oversized(bytes int64) Fault {
	return Fault{status: http.StatusOK, send: func(w http.ResponseWriter) {
		const head, tail = `{"Padding":"`, `"}`
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(http.StatusOK)
		padding := io.LimitReader(letters{}, bytes-int64(len(head)+len(tail)))
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader(head), padding, strings.NewReader(tail))) // the client may have enough
	}}
}

// letters reads as A without end.
type letters struct{}

func (letters) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'A'
	}
	return len(b), nil
}

type rule struct {
	Rule
	fault Fault
	left  int // how often it still strikes; -1: for ever
}

// Inject makes the fault strike the requests of the rule. The function it returns takes that back.
func (s *Server) Inject(r Rule, f Fault) (remove func()) {
	added := &rule{Rule: r, fault: f, left: r.Times}
	if r.Times == 0 {
		added.left = -1
	}
	s.rulesMu.Lock()
	defer s.rulesMu.Unlock()
	s.rules = append(s.rules, added)
	return func() {
		s.rulesMu.Lock()
		defer s.rulesMu.Unlock()
		s.rules = slices.DeleteFunc(s.rules, func(other *rule) bool { return other == added })
	}
}

// ThrottleNext answers ThrottlingException to the next n requests.
func (s *Server) ThrottleNext(n int) (remove func()) {
	return s.Inject(Rule{Times: n}, Fail(Throttling))
}

// ThrottlePercent answers ThrottlingException to that part of the requests.
func (s *Server) ThrottlePercent(percent int) (remove func()) {
	return s.Inject(Rule{Percent: percent}, Fail(Throttling))
}

// ExpireCredentials answers ExpiredTokenException to the requests of an access key, or of all if it is empty.
func (s *Server) ExpireCredentials(accessKeyID string) (renew func()) {
	return s.Inject(Rule{AccessKeyID: accessKeyID}, Fail(ExpiredToken))
}

// SetLatency makes every answer take that much longer, as a network does. Calls add up.
func (s *Server) SetLatency(d time.Duration) (remove func()) { return s.Inject(Rule{}, Delay(d)) }

// faultFor adds up what strikes the request.
func (s *Server) faultFor(c *call) Fault {
	s.rulesMu.Lock()
	struck := slices.Clone(s.rules)
	s.rulesMu.Unlock()
	struck = slices.DeleteFunc(struck, func(r *rule) bool { return !s.strikes(r, c) })

	s.rulesMu.Lock()
	defer s.rulesMu.Unlock()
	var sum Fault
	for _, r := range struck {
		if r.left == 0 || r.Percent > 0 && s.random.IntN(100) >= r.Percent {
			continue
		}
		if r.left > 0 {
			r.left--
		}
		sum.delay += r.fault.delay
		if r.fault.err != nil || r.fault.send != nil {
			sum.err, sum.send, sum.status = r.fault.err, r.fault.send, r.fault.status
		}
		if r.fault.edit != nil {
			sum.edit = r.fault.edit
		}
		if r.fault.cut {
			sum.cut, sum.cutAfter = true, r.fault.cutAfter
		}
	}
	return sum
}

// strikes tells whether the request is one of the rule's.
func (s *Server) strikes(r *rule, c *call) bool {
	if r.Operation != "" && r.Operation != c.operation || r.Region != "" && r.Region != c.region ||
		r.AccessKeyID != "" && r.AccessKeyID != c.accessKeyID {
		return false
	}
	if r.Key == "" {
		return true
	}
	if c.in.KeyId == nil {
		return false
	}
	if r.Key == *c.in.KeyId {
		return true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	asked, e := s.find(c, *c.in.KeyId, true)
	if e != nil {
		return false
	}
	named := *c
	named.region, named.Account = asked.place.region, asked.place.account
	meant, e := s.find(&named, r.Key, true)
	return e == nil && meant == asked
}

// cut sends part of an answer and closes the connection. It does not return.
func cut(w http.ResponseWriter, status int, body []byte, after int) {
	if after >= 0 {
		setHeaders(w, contentType, body)
		w.WriteHeader(status)
		_, _ = w.Write(body[:min(after, len(body))]) // whoever does not read it sees the cut all the same
		_ = http.NewResponseController(w).Flush()
	}
	panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
}
