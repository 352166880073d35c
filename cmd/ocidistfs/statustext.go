package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ocidistfs/ocidistfs/registry"
)

const (
	// shownErrors and shownHosts are how many a person wants to see; --json has
	// all.
	shownErrors = 5
	shownHosts  = 10
)

// writeReports writes reports for a person.
func writeReports(s streams, reports []mountReport, now time.Time) error {
	if len(reports) == 0 {
		_, err := fmt.Fprintln(s.err, "nothing is mounted; to mount: ocidistfs mount DIR")
		return err
	}
	var text strings.Builder
	for i, r := range reports {
		if i > 0 {
			text.WriteByte('\n')
		}
		r.write(&text, now)
	}
	_, err := io.WriteString(s.out, text.String())
	return err
}

func (r mountReport) write(w *strings.Builder, now time.Time) {
	fmt.Fprintln(w, r.Mountpoint)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	if r.Mount == nil {
		line("state", "%s", r.Error)
		switch r.State {
		case "stale", "silent":
			line("way out", "ocidistfs unmount %s", r.Mountpoint)
		case "closed":
			line("", "another user mounted it, without --allow-other")
		}
		return
	}
	m := r.Mount
	line("version", "%s, process %d", m.Version, m.PID)
	line("since", "%s (%s)", m.Started.Local().Format(time.DateTime), roughly(now.Sub(m.Started)))
	line("platform", "%s", m.Platform)
	if m.Offline {
		line("offline", "no request is made")
	}
	if n := len(m.Stale); n > 0 {
		line("stale", "%s, since registries fail; the first: %s, of %s ago", count(n, "tag"), m.Stale[0].Reference, m.Stale[0].Age)
	}
	if n := len(m.Layers); n > 0 {
		var read, all int64
		for _, l := range m.Layers {
			read, all = read+l.Read, all+l.Size
		}
		line("layers", "%s being read, to look into images: %s of %s", count(n, "layer"), size(read), size(all))
	}
	line("cache", "%s", m.CacheDir)
	if u := r.Usage; u != nil {
		line("", "%s, %s; partial: %s, %s", count(u.Blobs, "blob"), size(u.BlobBytes), count(u.Partial, "blob"), size(u.PartialBytes))
		if u.Layers > 0 || u.PlainBytes > 0 {
			line("", "%s, %s of indexes, %s of plain bytes", count(u.Layers, "layer"), size(u.IndexBytes), size(u.PlainBytes))
		}
	}
	room, limit := m.CacheRoom, "without a limit"
	if room.MaxBytes > 0 {
		limit = size(room.MaxBytes) + " at most"
	}
	line("", "%s; %s are free on its disk, of which %s are left alone", limit, size(room.Free), size(room.LeastFree))
	line("transfers", "%d active; %s fetched, %s read from the cache", m.Cache.Active, size(m.Cache.Fetched), size(m.Cache.Read))
	if m.Cache.Unkept > 0 {
		line("", "%s could not be kept: the cache is full, or cannot be written to", size(m.Cache.Unkept))
	}
	if m.Cache.Mismatches > 0 {
		line("", "%s did not match the digest", count(int(m.Cache.Mismatches), "blob"))
	}
	line("requests", "%d, %s", m.Registries.Requests, size(m.Registries.Bytes))
	hosts := byRequests(m.Registries)
	for _, host := range hosts[:min(len(hosts), shownHosts)] {
		h := m.Registries.Hosts[host]
		trouble := ""
		if h.Trouble != "" {
			trouble = ", " + h.Trouble
		}
		line("", "%s: %d, %s%s", host, h.Requests, size(h.Bytes), trouble)
	}
	if more := len(hosts) - shownHosts; more > 0 {
		line("", "and %s", count(more, "more host"))
	}
	name := "errors"
	if len(r.Errors) == 0 {
		line(name, "none")
	}
	for _, e := range r.Errors[max(0, len(r.Errors)-shownErrors):] {
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (%d times)", e.Count)
		}
		line(name, "%s ago, %s: %s%s", roughly(now.Sub(e.Time)), cmp.Or(e.Path, "/"), e.Error, times)
		name = ""
	}
	if len(r.Errors) > shownErrors {
		line("", "%d more in %s/.ocidistfs/errors", len(r.Errors)-shownErrors, r.Mountpoint)
	}
}

// byRequests are the hosts, those that were asked most first.
func byRequests(s registry.Stats) []string {
	return slices.SortedFunc(maps.Keys(s.Hosts), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Hosts[b].Requests, s.Hosts[a].Requests), strings.Compare(a, b))
	})
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size is a number of bytes in the units of the command df -H.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1000, 0
	for units := "kMGT"; f >= 999.95 && unit < len(units)-1; unit++ {
		f /= 1000
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGT"[unit])
}

// roughly is a time in the one unit that says most.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return count(int(max(d, 0).Seconds()), "second")
	case d < time.Hour:
		return count(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return count(int(d.Hours()), "hour")
	default:
		return count(int(d.Hours()/24), "day")
	}
}
