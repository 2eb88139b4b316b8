package notation

import (
	"strings"
	"sync"

	"github.com/awskms-offline/awskms-offline/internal/buildinfo"
	"github.com/awskms-offline/awskms-offline/internal/wire"
	"github.com/awskms-offline/awskms-offline/verifier"
	"github.com/awskms-offline/awskms-offline/verifier/audit"
	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
)

// call is the one call that the process answers, as far as it has come. Whoever no longer waits for the answer reads it while
// the answer may still be in the making.
type call struct {
	mu sync.Mutex
	// steps are those of the decision, for a person who asks. Beside an error object nothing may stand on standard error:
	// Notation would show that it is no JSON, in the place of the reason. So they wait for the answer, and an error takes them
	// along.
	steps strings.Builder
	// logs says that the call has its line in the log: all but the one question that is about no signature have, for a command
	// that is misspelt was meant to decide something. It is set before anything can go wrong.
	logs bool
	// home is the one that the request names, nil for none.
	home *string
	// lined says that the verifier wrote the line of the error that the call ends in.
	lined bool
}

// asks notes which home the request names; req is nil where none could be read.
func (c *call) asks(req *request) {
	if req == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if home, ok := req.PluginConfig[homeOption]; ok {
		c.home = &home
	}
}

// hasLine notes that the error which the call ends in is the verifier's, and so in its log.
func (c *call) hasLine() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lined = true
}

// options say which home is used.
func (c *call) options() verifier.Options {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := verifier.Options{FrontEnd: audit.FrontEnd{Name: "notation-" + Name, Version: buildinfo.Version}, Explain: wire.Explain(Name, c)}
	if c.home != nil {
		o.Home, o.HomeOption = c.home, "plugin configuration home"
	}
	return o
}

// logged returns the refusal of a call that has its line in the log, if it can have one.
func (c *call) logged(refusal error) error {
	c.mu.Lock()
	needed := c.logs && !c.lined
	c.mu.Unlock()
	if !needed {
		return refusal
	}
	return wire.LogRefusal(wire.LogTime, c.options(), audit.EventAuthorizeKey, "", refusal)
}

// Write takes a step, a line.
func (c *call) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steps.Write(line)
}

// told returns the steps so far.
func (c *call) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steps.String()
}

// explained returns the error with the steps that led to it.
func (c *call) explained(err error) error {
	steps := c.told()
	if steps == "" {
		return err
	}
	return kmserr.Besides(err, "Step by step: "+strings.ReplaceAll(strings.TrimSpace(steps), "\n"+Name+": ", "; "))
}
