package registry

import (
	"maps"
	"sync"
)

// Stats is what a client asked for and got since it was made.
type Stats struct {
	Requests int64                `json:"requests"`
	Bytes    int64                `json:"bytes"` // of bodies
	Hosts    map[string]HostStats `json:"hosts"`
}

// HostStats is the same for one host, as it was contacted.
type HostStats struct {
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"`
	// Trouble is why nothing is sent at this moment: "down since …" or "left alone
	// until …", with a time of RFC 3339; "" is no reason.
	Trouble string `json:"trouble,omitempty"`
}

// countedHosts bounds the hosts told apart; the rest counts in the sums.
const countedHosts = 1000

type counters struct {
	mu  sync.Mutex
	sum Stats // guarded by mu
}

func newCounters() *counters { return &counters{sum: Stats{Hosts: map[string]HostStats{}}} }

func (c *counters) request(host string)         { c.add(host, 1, 0) }
func (c *counters) received(host string, n int) { c.add(host, 0, int64(n)) }

func (c *counters) add(host string, requests, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Requests += requests
	c.sum.Bytes += bytes
	h, ok := c.sum.Hosts[host]
	if !ok && len(c.sum.Hosts) >= countedHosts {
		return
	}
	h.Requests += requests
	h.Bytes += bytes
	c.sum.Hosts[host] = h
}

func (c *counters) stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sum
	s.Hosts = maps.Clone(s.Hosts)
	return s
}
