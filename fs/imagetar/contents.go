package imagetar

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Bounds of what is kept in memory of a tarball, whoever made it.
const (
	maxMembers   = 100_000  // some 300 bytes each
	maxDocument  = 8 << 20  // as long as a manifest may be
	maxDocuments = 64 << 20 // all together
	maxLinks     = 8        // that lead from one member to the next
	maxProblems  = 100
)

// Contents is what a tarball of images has, whatever wrote it: each member by its
// digest. It is made by [ReadContents], and its methods are for one goroutine.
type Contents struct {
	members  map[string]*stored // by clean name
	names    []string           // in the order of the tarball
	size     int64              // of all documents
	problems []Problem
	unsaid   int // problems that there was no room for
}

// A Problem is what is wrong with a tarball, whichever image is asked for.
type Problem struct {
	Member string `json:"member"`
	Reason string `json:"reason"`
	// Harmless says that programs agree on what the tarball holds all the same.
	Harmless bool `json:"harmless,omitempty"`
}

// stored is a member that is no directory.
type stored struct {
	name     string
	digest   v1.Hash // the zero Hash of a link
	link     string  // the member that it is a link to; "" where it is none
	document []byte  // its bytes, where it may be JSON and is not too long
	twice    bool    // it is there again with other bytes
	used     bool    // something refers to it
}

// ReadContents reads a tarball from its beginning to its end, and hashes every
// member. It may be compressed with gzip, as docker load takes it. It takes a bounded amount of memory: it fails for one of more than 100,000
// members, or of more than 64 MiB of documents, besides one that is no tarball or ends
// early.
func ReadContents(ctx context.Context, r io.Reader) (*Contents, error) {
	c := &Contents{members: map[string]*stored{}}
	b := make([]byte, 256<<10)
	plain, err := decompressed(r)
	if err != nil {
		return nil, fmt.Errorf("read tarball: %w", err)
	}
	for tr := tar.NewReader(plain); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read tarball: %w", err)
		}
		if err := c.member(ctx, h, tr, b); err != nil {
			return nil, fmt.Errorf("read tarball: %w", err)
		}
	}
}

// decompressed is the tarball itself.
func decompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	begin, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.Equal(begin, []byte{0x1f, 0x8b}) {
		return gzip.NewReader(b)
	}
	return b, nil
}

// member takes in what follows a header, with room for what is read.
func (c *Contents) member(ctx context.Context, h *tar.Header, r io.Reader, room []byte) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, ok := cleanName(h.Name)
	if !ok {
		c.problem(h.Name, "its name leads out of the tarball", false)
		return nil
	}
	m := &stored{name: name}
	switch h.Typeflag {
	case tar.TypeDir:
		return nil
	case tar.TypeReg:
		if isSparse(h) {
			return fmt.Errorf("member %.200q is sparse", name) // and may be of any length
		}
		if err := c.read(ctx, m, r, room); err != nil {
			return fmt.Errorf("member %.200q: %w", name, err)
		}
	case tar.TypeSymlink, tar.TypeLink:
		target := h.Linkname
		if h.Typeflag == tar.TypeSymlink && !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		if m.link, ok = cleanName(target); !ok {
			c.problem(name, "it is a link out of the tarball", false)
			return nil
		}
	default:
		c.problem(name, "it is neither a file nor a directory", false)
		return nil
	}
	if known, ok := c.members[name]; ok {
		if known.digest != m.digest || known.link != m.link {
			known.twice = true
			c.problem(name, "it is there twice, with different bytes", false)
		} else {
			c.problem(name, "it is there twice", true)
		}
		return nil
	}
	if len(c.members) == maxMembers {
		return fmt.Errorf("more than %d members", maxMembers)
	}
	c.members[name] = m
	c.names = append(c.names, name)
	return nil
}

// read hashes a member, and keeps it where it may be a document.
func (c *Contents) read(ctx context.Context, m *stored, r io.Reader, room []byte) error {
	sum := sha256.New()
	var document bytes.Buffer
	keep := true
	for first := true; ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := r.Read(room)
		if n > 0 && first {
			first, keep = false, mayBeJSON(room[:n])
		}
		sum.Write(room[:n])
		if keep = keep && document.Len()+n <= maxDocument; keep {
			document.Write(room[:n])
		} else {
			document = bytes.Buffer{}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	m.digest = digestOf(sum)
	if keep && document.Len() > 0 {
		if c.size += int64(document.Len()); c.size > maxDocuments {
			return fmt.Errorf("more than %d MiB of documents", maxDocuments>>20)
		}
		m.document = document.Bytes()
	}
	return nil
}

// mayBeJSON says whether an object or a list may begin so.
func mayBeJSON(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

func digestOf(sum hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
}

// cleanName is a member's name as others refer to it: without "./" and the like.
func cleanName(name string) (string, bool) {
	clean := path.Clean(name)
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(clean, 0) {
		return "", false
	}
	return clean, true
}

// isSparse says whether a member has holes, by which a short tarball may have a member
// of any length.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func (c *Contents) problem(member, reason string, harmless bool) {
	if len(c.problems) == maxProblems {
		c.unsaid++
		return
	}
	c.problems = append(c.problems, Problem{Member: member, Reason: reason, Harmless: harmless})
}

// find returns the file of that name, or that links of that name lead to; nil where
// there is none. What it finds something refers to.
func (c *Contents) find(name string) *stored {
	name, ok := cleanName(name)
	if !ok {
		return nil
	}
	for range maxLinks {
		m := c.members[name]
		if m == nil {
			return nil
		}
		m.used = true
		if m.link == "" {
			return m
		}
		if m.twice {
			return m
		}
		name = m.link
	}
	return nil
}

// documentOf is the document of that name; nil where there is none.
func (c *Contents) documentOf(name string) []byte {
	if m := c.find(name); m != nil && !m.twice {
		return m.document
	}
	return nil
}
