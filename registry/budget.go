package registry

import (
	"sync"
	"time"
)

const (
	// maxRetryTokens is how many repetitions a host is sent in a row: as many as
	// there are connections to it, which may all break at once.
	maxRetryTokens = requestsPerHost
	// retryTokensEarned is what each answer that is none of a failing host allows of
	// them, and retryTokensPerSecond what time does. So a host that fails every third
	// request gets all repetitions that it takes, and one that fails for good gets as
	// many requests as without them.
	retryTokensEarned    = 0.5
	retryTokensPerSecond = 1.0
)

// A budget bounds the repetitions that a host is sent, whoever asks, as the
// throttling of gRPC's retries does: what is wrong may be that there are too many
// requests. The zero value is full. It is safe for concurrent use.
type budget struct {
	mu    sync.Mutex
	spent float64   // guarded by mu
	at    time.Time // guarded by mu; of spent
}

// take says whether a request may be repeated.
func (b *budget) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(b.spent-retryTokensPerSecond*now.Sub(b.at).Seconds(), 0)
	b.at = now
	if b.spent+1 > maxRetryTokens {
		return false
	}
	b.spent++
	return true
}

// earn takes note of a good answer.
func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(b.spent-retryTokensEarned, 0)
}
