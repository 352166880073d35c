package registry

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A host that sends the longest answers that are taken has few of them in memory at once,
// and its short ones wait for none. All come in the end, and the room of those that break
// is given back.
func TestLargeDocuments(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{Retries: -1}, func(b *bubble) {
		const all = 3 * largeDocuments
		long := fmt.Appendf(nil, `{"padding":"%s"}`, bytes.Repeat([]byte("x"), maxManifest-100))
		for i := range all {
			b.server.PutManifest("a", fmt.Sprint("long", i), imageType, long)
		}
		b.server.PutManifest("a", "short", imageType, []byte("{}"))
		r := b.repository("a")
		var mu sync.Mutex
		now, most := 0, 0
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			now += n
			most = max(most, now)
		}
		for _, breaks := range []bool{true, false} {
			b.server.Heal()
			b.server.Break(registrytest.Only(registrytest.Manifest, func(w http.ResponseWriter, req *http.Request, _ registrytest.Request, next http.HandlerFunc) {
				next(slowAfter{w, smallDocument + 1<<16, func() {
					count(1)
					defer count(-1)
					time.Sleep(time.Second)
					if breaks {
						panic(http.ErrAbortHandler)
					}
				}}, req)
			}))
			var waiting sync.WaitGroup
			for i := range all {
				waiting.Go(func() {
					m, err := r.Manifest(b.Context(), fmt.Sprint("long", i))
					if (err != nil) != breaks || err == nil && !bytes.Equal(m.Bytes, long) {
						b.Errorf("%v", err)
					}
				})
			}
			time.Sleep(time.Second / 2)
			begun := time.Now()
			if _, err := r.Manifest(b.Context(), "short"); err != nil || time.Since(begun) > 0 {
				b.Errorf("a short one: %v after %s", err, time.Since(begun))
			}
			waiting.Wait()
		}
		if most != largeDocuments {
			b.Errorf("%d long ones were on their way at once", most)
		}
		if n := len(b.client.upstreams.all["http://"+b.server.Host()].large); n != 0 {
			b.Errorf("room for %d is not given back", n)
		}
	})
}

// slowAfter does something in the middle of a body.
type slowAfter struct {
	http.ResponseWriter
	at int
	do func()
}

func (s slowAfter) Write(b []byte) (int, error) {
	if len(b) <= s.at {
		return s.ResponseWriter.Write(b)
	}
	n, err := s.ResponseWriter.Write(b[:s.at])
	if err != nil {
		return n, err
	}
	s.do()
	m, err := s.ResponseWriter.Write(b[s.at:])
	return n + m, err
}
