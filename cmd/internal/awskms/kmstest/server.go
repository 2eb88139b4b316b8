package kmstest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	contentType   = "application/x-amz-json-1.1"
	targetService = "TrentService" // what KMS is called in X-Amz-Target
	// maxRequest is the size in bytes of the largest request that is read. The largest that KMS takes, Verify with an
	// ML_DSA_87 signature and 4096 bytes of message, has 12 KiB.
	maxRequest = 256 << 10
	// maxLog is how many requests the log keeps.
	maxLog = 100_000
)

// Server is a fake KMS with no keys at first. It is safe for concurrent use.
type Server struct {
	url  string
	http *http.Server

	mu      sync.RWMutex
	places  map[string]*place // by "REGION:ACCOUNT"
	callers map[string]Caller
	denials map[*denial]bool
	made    int // number of key IDs made
	page    int // largest page of a list; 0: no limit but KMS's

	rulesMu sync.Mutex
	rules   []*rule
	random  *mathrand.Rand

	logMu       sync.Mutex
	log         []Request
	total       int
	inFlight    int
	maxInFlight int
}

// Request is one request as the log keeps it.
type Request struct {
	Time time.Time
	// Duration is how long it took to make the answer, delays included; not how long to send it.
	Duration time.Duration
	// Operation is the API's name, "GetPublicKey".
	Operation string
	// KeyID is KeyId as the caller wrote it; AliasName in requests that have that instead.
	KeyID string
	// MessageType is Sign's and Verify's, empty where there is none.
	MessageType string
	// Region and AccessKeyID are those of the signature, Account is the caller's.
	Region, Account, AccessKeyID string
	// Attempt counts the SDK's retries, from 1; 0 if the client does not tell.
	Attempt   int
	UserAgent string
	// Status is the HTTP status; 0 if the connection was cut.
	Status int
	// Error is the error's name; empty on success, and for faults that are not of KMS's making.
	Error string
}

// T is what Start needs of a *testing.T.
type T interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// New makes a server that does not listen: an http.Handler for a listener of one's own.
func New() *Server {
	return &Server{
		places:  make(map[string]*place),
		callers: make(map[string]Caller),
		denials: make(map[*denial]bool),
		random:  mathrand.New(mathrand.NewPCG(1, 2)), // the same dice in every run
	}
}

// Start makes a server on a free port of 127.0.0.1. With a test it is closed when the test ends; with nil, for a program,
// the caller closes it, and Start panics if it cannot listen.
func Start(t T) *Server {
	s := New()
	err := s.Listen("127.0.0.1:0")
	if t == nil {
		if err != nil {
			panic(fmt.Sprintf("kmstest: %v", err))
		}
		return s
	}
	t.Helper()
	if err != nil {
		t.Fatalf("kmstest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen serves on a TCP address until Close. It can be called once.
func (s *Server) Listen(address string) error {
	if s.http != nil {
		return errors.New("kmstest: the server listens already")
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(listener) }() // it returns when Close is called, with an error that says so
	return nil
}

// URL is the endpoint, "http://127.0.0.1:PORT"; empty if the server does not listen.
func (s *Server) URL() string { return s.url }

// Close stops listening and cuts every connection.
func (s *Server) Close() {
	if s.http != nil {
		_ = s.http.Close()
	}
}

// Requests are the requests so far, by the time they came; the latest 100,000 of them.
func (s *Server) Requests() []Request {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	requests := slices.Clone(s.log)
	slices.SortStableFunc(requests, func(a, b Request) int { return a.Time.Compare(b.Time) })
	return requests
}

// Count is the number of requests for an operation in the log, or of all requests if it is empty.
func (s *Server) Count(operation string) int {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	if operation == "" {
		return s.total
	}
	n := 0
	for _, r := range s.log {
		if r.Operation == operation {
			n++
		}
	}
	return n
}

// MaxConcurrency is the largest number of requests that were being answered at one time.
func (s *Server) MaxConcurrency() int {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return s.maxInFlight
}

// ResetLog forgets the requests, and starts MaxConcurrency anew.
func (s *Server) ResetLog() {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.log, s.total, s.maxInFlight = nil, 0, s.inFlight
}

// SetPageSize lets no list answer more than n entries at a time, however many are asked for; 0 takes that back.
func (s *Server) SetPageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = n
}

// call is one request while it is answered.
type call struct {
	identity
	operation string
	in        input
}

// input is the union of the members of all requests that the fake knows.
type input struct {
	KeyId               *string
	AliasName           *string
	TargetKeyId         *string
	Limit               *int
	Marker              *string
	Message             *[]byte
	MessageType         *string
	Signature           *[]byte
	SigningAlgorithm    *string
	DryRun              *bool
	GrantTokens         []string
	Description         *string
	KeySpec             *string
	KeyUsage            *string
	MultiRegion         *bool
	Tags                []Tag
	TagKeys             []string
	PendingWindowInDays *int
}

// operations are the operations of KMS that the fake has. Each answers a value for JSON, or an *Error.
var operations = map[string]func(*Server, *call) (any, *Error){
	"GetPublicKey":        (*Server).getPublicKey,
	"DescribeKey":         (*Server).describeKey,
	"ListKeys":            (*Server).listKeys,
	"ListAliases":         (*Server).listAliases,
	"ListResourceTags":    (*Server).listResourceTags,
	"Sign":                (*Server).sign,
	"Verify":              (*Server).verify,
	"CreateKey":           (*Server).createKey,
	"CreateAlias":         (*Server).createAlias,
	"UpdateAlias":         (*Server).updateAlias,
	"DeleteAlias":         (*Server).deleteAlias,
	"EnableKey":           (*Server).enableKey,
	"DisableKey":          (*Server).disableKey,
	"ScheduleKeyDeletion": (*Server).scheduleKeyDeletion,
	"CancelKeyDeletion":   (*Server).cancelKeyDeletion,
	"TagResource":         (*Server).tagResource,
	"UntagResource":       (*Server).untagResource,
}

// ServeHTTP answers one request of the KMS API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := Request{Time: time.Now(), UserAgent: r.UserAgent(), Attempt: attempt(r.Header.Get("Amz-Sdk-Request"))}
	s.enter()
	// A request is in the log, and counts as answered, before the client can know its answer: a test may look at the log
	// as soon as the call returns, and a client that has n calls under way has n here.
	answered := sync.OnceFunc(func() { s.leave(&entry) })
	defer answered() // for a client that went away

	w.Header().Set("X-Amzn-Requestid", requestID())
	c, e := s.read(r, &entry)
	f := s.faultFor(c)
	if !sleep(r.Context(), f.delay) {
		return
	}
	switch {
	case f.send != nil:
		entry.Status = f.status
		answered()
		f.send(w)
		return
	case f.err != nil:
		e = f.err
	}
	var answer any
	if e == nil {
		answer, e = operations[c.operation](s, c)
	}
	status := http.StatusOK
	if e != nil {
		entry.Error, status, answer = e.Code, e.status(), errorBody(e)
	}
	body := must(json.Marshal(answer, json.Deterministic(true)))
	if e == nil && f.edit != nil {
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			panic(err)
		}
		f.edit(members)
		body = must(json.Marshal(members, json.Deterministic(true)))
	}
	if f.cut {
		answered()
		cut(w, status, body, f.cutAfter)
	}
	entry.Status = status
	answered()
	respond(w, status, contentType, body)
}

// read reads the request as far as it can be read; what it found is in the log's entry also if there is an error.
func (s *Server) read(r *http.Request, entry *Request) (*call, *Error) {
	c := &call{}
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return c, &Error{Code: "UnknownOperationException", Status: http.StatusNotFound}
	}
	service, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	entry.Operation, c.operation = operation, operation
	if service != targetService || operations[operation] == nil || r.Header.Get("Content-Type") != contentType {
		return c, &Error{Code: "UnknownOperationException"}
	}
	// The body is read before the rest is judged, or a client that still writes would see a broken connection.
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil || len(body) > maxRequest {
		return c, &Error{Code: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge}
	}
	malformed := json.Unmarshal(body, &c.in)
	for _, name := range []*string{c.in.KeyId, c.in.AliasName} {
		if name != nil && entry.KeyID == "" {
			entry.KeyID = *name
		}
	}
	if c.in.MessageType != nil {
		entry.MessageType = *c.in.MessageType
	}
	var e *Error
	if c.identity, e = s.authenticate(r.Header); e != nil {
		return c, e
	}
	entry.Region, entry.Account, entry.AccessKeyID = c.region, c.Account, c.accessKeyID
	if malformed != nil {
		return c, &Error{Code: "SerializationException", Message: malformed.Error()}
	}
	return c, nil
}

func (s *Server) enter() {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.inFlight++
	s.maxInFlight = max(s.maxInFlight, s.inFlight)
}

func (s *Server) leave(entry *Request) {
	entry.Duration = time.Since(entry.Time)
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.inFlight--
	s.total++
	if len(s.log) >= maxLog+maxLog/4 { // in steps, so that dropping the oldest costs little
		s.log = slices.Clone(s.log[len(s.log)-maxLog:])
	}
	s.log = append(s.log, *entry)
}

// respond sends an answer with the headers of KMS.
func respond(w http.ResponseWriter, status int, contentType string, body []byte) {
	setHeaders(w, contentType, body)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away needs no answer
}

func setHeaders(w http.ResponseWriter, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate, private")
	if len(body) > 0 {
		h.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10))
	}
}

// errorBody is the body of an error. AccessDeniedException comes from another layer of AWS, which writes "Message".
func errorBody(e *Error) map[string]string {
	body := map[string]string{"__type": e.Code}
	switch {
	case e.Message == "":
	case e.Code == "AccessDeniedException":
		body["Message"] = e.Message
	default:
		body["message"] = e.Message
	}
	return body
}

// attempt reads the number of the attempt from "attempt=2; max=3".
func attempt(header string) int {
	for part := range strings.SplitSeq(header, ";") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(part), "attempt="); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

func requestID() string {
	b := make([]byte, 16)
	rand.Read(b)
	x := hex.EncodeToString(b)
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// sleep waits, and answers false if the client went away meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
