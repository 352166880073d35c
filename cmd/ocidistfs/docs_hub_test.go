//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"debug/elf"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A docsHub is the registries that the documentation speaks of, under their own names:
// a proxy leads there, whose certificates are trusted.
type docsHub struct {
	dir   string // has ca.pem
	proxy string
}

// Whom registry.example.com lets in.
const (
	docsUser     = "alice"
	docsPassword = "correct horse"
)

// startDocsHub starts docker.io and registry.example.com.
func startDocsHub(t *testing.T) *docsHub {
	t.Helper()
	dockerIO := registrytest.Start(t, registrytest.Options{})
	ownRegistry := registrytest.Start(t, registrytest.Options{Username: docsUser, Password: docsPassword})
	pushDocsImages(t, dockerIO, ownRegistry)
	hosts := map[string]*registrytest.Server{"index.docker.io": dockerIO, "registry.example.com": ownRegistry}

	certificate, authority := certificateFor(t, slices.Collect(maps.Keys(hosts)))
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			if server, ok := hosts[r.In.Host]; ok {
				r.Out.URL.Host = server.Host()
			}
			r.Out.URL.Scheme = "http"
		},
		ErrorLog: log.New(io.Discard, "", 0),
	})
	front.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // who does not trust it is no news
	front.StartTLS()
	t.Cleanup(front.Close)
	way := httptest.NewServer(&proxy{to: front.Listener.Addr().String()})
	t.Cleanup(way.Close)

	h := &docsHub{t.TempDir(), way.URL}
	if err := os.WriteFile(h.ca(), authority, 0o644); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *docsHub) ca() string { return filepath.Join(h.dir, "ca.pem") }

// environment is what leads to the hub, without a flag of the program; and the
// secrets that a job of CI has.
func (h *docsHub) environment() []string {
	return []string{
		"HTTPS_PROXY=" + h.proxy, "SSL_CERT_FILE=" + h.ca(),
		"REGISTRY_USER=" + docsUser, "REGISTRY_PASSWORD=" + docsPassword,
	}
}

// certificateFor makes a certificate for hosts that is its own authority.
func certificateFor(t *testing.T, hosts []string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{made}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
}

// pushDocsImages makes the images: alpine for several platforms, its newest
// version with two tags; two versions of nginx on the newest alpine; two of an
// application.
func pushDocsImages(t *testing.T, dockerIO, ownRegistry *registrytest.Server) {
	t.Helper()
	for _, version := range []string{"3.10", "3.11"} {
		platforms := []v1.Platform{
			{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64", Variant: "v8"}, {OS: "linux", Architecture: "arm", Variant: "v7"},
		}
		if !slices.ContainsFunc(platforms, func(p v1.Platform) bool { return p.Architecture == runtime.GOARCH }) {
			platforms = append(platforms, v1.Platform{OS: "linux", Architecture: runtime.GOARCH})
		}
		var images []v1.Image
		for _, p := range platforms {
			images = append(images, docsImage(t, p, alpineLayer(t, version, p.Architecture)))
		}
		digest := dockerIO.PushIndex(t, "library/alpine", version, registrytest.Index(t, images...))
		dockerIO.Tag("library/alpine", "latest", digest)
	}
	here := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	for _, version := range []string{"1.26", "1.27"} {
		dockerIO.Push(t, "library/nginx", version+"-alpine", docsImage(t, here,
			alpineLayer(t, "3.11", here.Architecture), docsLayer(t, "etc/nginx/nginx.conf", "worker_processes auto;\n"),
			docsLayer(t, "usr/sbin/nginx", "nginx "+version, "usr/share/nginx/"+version+".txt", version)))
	}
	box, ok := busyboxLayer(t)
	if !ok {
		box = alpineLayer(t, "3.11", here.Architecture) // it can be looked at; what runs it needs busybox
	}
	dockerIO.Push(t, "library/busybox", "1.37", docsImage(t, here, box))
	for _, version := range []string{"1.2", "1.3"} {
		ownRegistry.Push(t, "team/app", version, docsImage(t, here, docsLayer(t, "app", "version "+version)))
	}
}

func alpineLayer(t *testing.T, version, architecture string) v1.Layer {
	return docsLayer(t, "bin/busybox", "for "+architecture, "etc/alpine-release", version+".9\n", "etc/os-release", "ID=alpine\n")
}

// busyboxLayer is a system that runs: the machine's busybox, if it has one that needs
// nothing else, as Debian's package busybox-static has it.
func busyboxLayer(t *testing.T) (v1.Layer, bool) {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, false
	}
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := program.ImportedLibraries()
	if err := errors.Join(err, program.Close()); err != nil || len(libraries) > 0 {
		return nil, false
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var entries []tar.Header
	for _, dir := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		entries = append(entries, tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755})
	}
	entries = append(entries, tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))})
	for _, applet := range []string{"cat", "echo", "id", "ls", "sh", "touch", "uname"} {
		entries = append(entries, tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeLink, Linkname: "bin/busybox", Mode: 0o755})
	}
	const release = "NAME=\"Busybox\"\n"
	entries = append(entries, tar.Header{Name: "etc/os-release", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(release))})
	return docsArchive(t, entries, map[string]string{"bin/busybox": string(content), "etc/os-release": release}), true
}

// docsLayer makes a layer of files, each a name and its content.
func docsLayer(t *testing.T, files ...string) v1.Layer {
	t.Helper()
	var entries []tar.Header
	contents := map[string]string{}
	for f := range slices.Chunk(files, 2) {
		entries = append(entries, tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))})
		contents[f[0]] = f[1]
	}
	return docsArchive(t, entries, contents)
}

// docsArchive makes a layer of entries and what is in them, by their names.
func docsArchive(t *testing.T, entries []tar.Header, contents map[string]string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		h.ModTime = time.Unix(0, 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, contents[h.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func docsImage(t *testing.T, p v1.Platform, layers ...v1.Layer) v1.Image {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layers...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}
