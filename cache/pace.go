package cache

import "time"

// A pace tells when a body is so near its end that a request made now would be
// answered after it: the connection that carries the body is about to be idle
// for a round trip.
type pace struct {
	asked, first time.Time // when it was asked for, and when its first bytes came
	left, got    int64     // bytes
}

// ask begins a body of n bytes.
func (p *pace) ask(n int64) { *p = pace{asked: time.Now(), left: n} }

// come takes note of n bytes that came and says whether it is time for another
// request. That is never before half of the body is there, however slow the
// answer was: no more than twice the connections are in use then.
func (p *pace) come(n int) bool {
	now := time.Now()
	if p.first.IsZero() {
		p.first = now
	}
	p.got += int64(n)
	p.left -= int64(n)
	if p.left > p.got {
		return false
	}
	answer, body := p.first.Sub(p.asked), now.Sub(p.first)
	return body == 0 || float64(p.left)/float64(p.got)*float64(body) <= float64(answer)
}
