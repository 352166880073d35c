package registry

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// requestIDs are the headers by which those who run a registry, or what stands in
// front of it, find a request in their logs; the first that is there is told.
var requestIDs = []string{
	"X-Request-Id", "Docker-Request-Id", "X-Amzn-Requestid", "X-Amz-Request-Id", "X-Ms-Request-Id", "X-Ms-Correlation-Request-Id",
	"X-Github-Request-Id", "X-Gitlab-Request-Id", "X-Jfrog-Request-Id", "X-Goog-Request-Id", "X-Cloud-Trace-Context",
	"X-Correlation-Id", "Cf-Ray", "X-Amz-Cf-Id", "X-Served-By",
}

// maxRequestID is as long as one is shown.
const maxRequestID = 80

// details is what an answer says of itself beside its message, for whoever has to
// wait or to complain; "" is nothing.
func details(resp *http.Response) string {
	var all []string
	if wait := retryAfter(resp.Header.Get("Retry-After"), time.Now()); wait > 0 {
		all = append(all, fmt.Sprintf("it wants to be left alone for %s", wait.Round(time.Second)))
	}
	for _, name := range requestIDs {
		if id := requestID(redacted(resp.Header.Get(name), resp.Request)); id != "" {
			all = append(all, name+" "+id)
			break
		}
	}
	return strings.Join(all, "; ")
}

// requestID is a header's value as far as it has the characters of an identifier.
func requestID(value string) string {
	value = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return -1
	}, value)
	return value[:min(len(value), maxRequestID)]
}

// redacted is what a registry said without what it was told in confidence, and
// without what signed the address that it was asked at: it may quote either.
func redacted(said string, req *http.Request) string {
	if req == nil {
		return said
	}
	secrets := formSecrets(req)
	scheme, credentials, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	secrets = append(secrets, credentials)
	if plain, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "basic") {
		_, password, _ := strings.Cut(string(plain), ":")
		secrets = append(secrets, password)
	}
	if redirects, _ := redirects(req); redirects > 0 {
		secrets = append(secrets, req.URL.RawQuery)
		for _, values := range req.URL.Query() {
			for _, value := range values {
				if len(value) >= 8 { // what signs is longer
					secrets = append(secrets, value)
				}
			}
		}
	}
	for _, secret := range secrets {
		if secret != "" {
			said = strings.ReplaceAll(said, secret, "…")
		}
	}
	return said
}

// formSecrets are what a token server is told in a form (OAuth 2.0, RFC 6749).
func formSecrets(req *http.Request) []string {
	if req.GetBody == nil || req.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	defer func() { _ = body.Close() }() // it is in memory
	b, err := io.ReadAll(body)
	if err != nil {
		return nil
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil
	}
	return append(form["refresh_token"], form["password"]...)
}

// noting keeps the details of the last error that was answered where the caller
// wants them: what go-containerregistry makes of an answer has no header.
type noting struct{ inner http.RoundTripper }

// noted is the key under which a context has what takes them, an
// *atomic.Pointer[string].
type noted struct{}

func (n noting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := n.inner.RoundTrip(req)
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	if into, ok := req.Context().Value(noted{}).(*atomic.Pointer[string]); ok {
		said := details(resp)
		into.Store(&said)
	}
	return resp, nil
}

// withDetails makes a context that takes the details of errors, and what adds
// them to an error that ends in an answer.
func withDetails(ctx context.Context) (context.Context, func(error) error) {
	var said atomic.Pointer[string]
	return context.WithValue(ctx, noted{}, &said), func(err error) error {
		e, ok := err.(*Error) //nolint:errorlint // one that wraps it has a text of its own
		details := said.Load()
		if !ok || e.Status == 0 || details == nil || *details == "" {
			return err
		}
		told := *e
		told.Details = *details
		return &told
	}
}
