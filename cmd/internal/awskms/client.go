// Package awskms is everything that talks to AWS KMS: it brings public keys, key states and aliases from there, and signs. It is
// the only importer of the AWS SDK, and no program that only verifies links it.
//
// What KMS answers is checked to be about what was asked, and turned into the values of verifier/kmskey; nothing here
// reads or writes the user's key store, and what signs verifies its signature by a store of that one key, thrown away afterwards
// (docs/decisions/0018). Errors are *kmserr.Error with KMS's own name where the table has it.
package awskms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/awskms-offline/awskms-offline/verifier/kmserr"
	"github.com/awskms-offline/awskms-offline/verifier/kmskey"
)

const (
	// maxAnswer is the longest answer read, in bytes: a page of 1,000 keys has about 200 KiB.
	maxAnswer = 8 << 20
	// callTimeout is how long one attempt of a call may take.
	callTimeout = 20 * time.Second
	// maxAttempts counts the first one, maxBackoff is the longest wait between two. KMS's request quotas are per second, so
	// some patience is all it takes.
	maxAttempts = 8
	maxBackoff  = 3 * time.Second
)

// Config says how KMS is reached. The zero value is AWS's own chain: environment, shared files, SSO, container, instance.
type Config struct {
	// Profile of AWS's shared configuration files.
	Profile string
	// Region for identifiers that do not name one.
	Region string
	// EndpointURL replaces KMS's endpoint in every Region, also that of AWS_ENDPOINT_URL_KMS.
	EndpointURL string
	// Options are what the caller's user knows these by.
	Options OptionNames
}

// OptionNames are the names of options, as hints name them. The zero value stands for the command line's flags.
type OptionNames struct {
	Profile, Region, EndpointURL string
	// Parallel is how many keys are asked for at once; empty: there is no such option.
	Parallel string
}

func (o OptionNames) orFlags() OptionNames {
	if o != (OptionNames{}) {
		return o
	}
	return OptionNames{Profile: "--profile", Region: "--region", EndpointURL: "--endpoint-url", Parallel: "--parallel"}
}

// Client asks KMS, in whatever Region an identifier names. It is safe for use by several goroutines.
type Client struct {
	base     aws.Config
	endpoint *string
	options  OptionNames

	mu      sync.Mutex
	regions map[string]*kms.Client
}

// New reads the configuration; it calls nobody but, if the chain says so, those who give out credentials.
func New(ctx context.Context, c Config) (*Client, error) {
	names := c.Options.orFlags()
	options := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}), // what fails is in the error
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(callTimeout)),
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	base, err := config.LoadDefaultConfig(ctx, options...)
	var absent config.SharedConfigProfileNotExistError
	if errors.As(err, &absent) {
		return nil, kmserr.New(kmserr.Validation, "AWS's configuration has no profile %q", absent.Profile).
			WithHint("Check %s, AWS_PROFILE and `aws configure list-profiles`.", names.Profile).WithCause(err)
	}
	if err != nil {
		return nil, kmserr.New(kmserr.KMSService, "AWS's configuration cannot be read: %v", err).
			WithHint("Check %s and AWS's files and environment variables.", names.Profile).WithCause(err)
	}
	base.HTTPClient = bounded{base.HTTPClient}
	base.Credentials = chain{base.Credentials}
	mode := base.RetryMode
	base.Retryer = func() aws.Retryer { return newRetryer(mode) }
	client := &Client{base: base, options: names, regions: make(map[string]*kms.Client)}
	if c.EndpointURL != "" {
		client.endpoint = &c.EndpointURL
	}
	return client, nil
}

// newRetryer is patient with KMS's request quotas and less so with a network that is not there. Unless AWS_RETRY_MODE or
// the profile says standard it is adaptive: while KMS throttles, all goroutines together send more slowly, as the quota is
// shared with those who sign.
func newRetryer(mode aws.RetryMode) aws.Retryer {
	patient := func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff
		// The SDK's quota of retries is for one caller in a hurry. A pull of thousands of keys is many calls that may
		// all wait; what bounds it is the number of attempts of each.
		o.RateLimiter = ratelimit.None
		// AWS's chain has tried long enough by itself; only who answered, and said no for now, is asked again.
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			var api smithy.APIError
			if errors.As(err, new(noCredentialsError)) && !errors.As(err, &api) {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})}, o.Retryables...)
		// A connection that is cut in the middle of an answer: every call here reads or signs, and may be made twice.
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return aws.TrueTernary
			}
			return aws.UnknownTernary
		}))
	}
	if mode == aws.RetryModeStandard {
		return retry.NewStandard(patient)
	}
	return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) { o.StandardOptions = append(o.StandardOptions, patient) })
}

// chain is AWS's credential chain, whose errors can be told from KMS's.
type chain struct{ aws.CredentialsProvider }

// noCredentialsError says that AWS's chain has none to give.
type noCredentialsError struct{ error }

func (e noCredentialsError) Unwrap() error { return e.error }

// Retrieve implements aws.CredentialsProvider.
func (c chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = noCredentialsError{err}
	}
	return got, err
}

// Region is the one for identifiers that do not name one; empty if there is none.
func (c *Client) Region() string { return c.base.Region }

// NoRegion is the refusal of an identifier that names no Region where none is known.
func (c *Client) NoRegion() error {
	return kmserr.New(kmserr.Validation, "no Region is known").
		WithHint("Give %s, set AWS_REGION, or name the key by its full ARN.", c.options.Region)
}

// in returns the SDK's client of a Region.
func (c *Client) in(region string) (*kms.Client, error) {
	if region == "" {
		region = c.base.Region
	}
	if region == "" {
		return nil, c.NoRegion()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	client, there := c.regions[region]
	if !there {
		client = kms.NewFromConfig(c.base, func(o *kms.Options) {
			o.Region = region
			if c.endpoint != nil {
				o.BaseEndpoint = c.endpoint
			}
		})
		c.regions[region] = client
	}
	return client, nil
}

// of returns the SDK's client for an identifier, and how to name it in a call.
func (c *Client) of(ref kmskey.Ref) (*kms.Client, *string, error) {
	client, err := c.in(ref.Scope.Region)
	return client, aws.String(ref.String()), err
}

// bounded reads no answer without end.
type bounded struct{ next aws.HTTPClient }

// Do implements aws.HTTPClient.
func (b bounded) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		// smithy-go's body answers WriteTo with io.EOF once it was closed, for which net/http gives up the connection.
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	response, err := b.next.Do(r)
	if err == nil && response.Body != nil {
		response.Body = &limitedBody{body: response.Body, left: maxAnswer}
	}
	return response, err
}

type limitedBody struct {
	body io.ReadCloser
	left int64
}

func (l *limitedBody) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("the answer is longer than the %d bytes allowed", maxAnswer)
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.body.Read(p)
	l.left -= int64(n)
	return n, err
}

func (l *limitedBody) Close() error { return l.body.Close() }
