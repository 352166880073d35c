package bench

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestShape: what is carried is the same bytes, as late as it should be.
func TestShape(t *testing.T) {
	const size = 1 << 20
	want := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(want) // it never fails
	for _, c := range []struct {
		name string
		shape
		want time.Duration
	}{
		{"none", shape{}, 0},
		{"latency", shape{latency: 40 * time.Millisecond}, 40 * time.Millisecond},
		{"rate", shape{rate: size}, time.Second},
		{"both", shape{latency: 40 * time.Millisecond, rate: size}, time.Second + 40*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, in := net.Pipe()
				out, client := net.Pipe()
				var carried atomic.Int64
				go func() {
					_, _ = server.Write(want)
					_ = server.Close()
				}()
				go func() {
					c.carry(out, in, &carried)
					_ = out.Close()
				}()
				start := time.Now()
				got, err := io.ReadAll(client)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) || carried.Load() != size {
					t.Errorf("carried %d bytes, %d counted, want %d", len(got), carried.Load(), size)
				}
				if took := time.Since(start); took < c.want || took > c.want+time.Millisecond {
					t.Errorf("took %s, want %s", took, c.want)
				}
			})
		})
	}
}
