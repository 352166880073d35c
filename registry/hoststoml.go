package registry

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// hostsFile is a hosts.toml as containerd has it (docs/hosts.md of containerd).
// Each value has a type that says what it may be, so that the error about it
// knows the line.
type hostsFile struct {
	hostTable
	Server scalar[string]       `toml:"server"`
	Host   map[string]hostTable `toml:"host"`
}

// hostTable is how one endpoint is spoken to: at the top of the file the server,
// below [host."…"] a mirror.
type hostTable struct {
	Capabilities capability   `toml:"capabilities"`
	CA           texts        `toml:"ca"`
	Client       keyPairs     `toml:"client"`
	SkipVerify   scalar[bool] `toml:"skip_verify"`
	Header       headers      `toml:"header"`
	OverridePath scalar[bool] `toml:"override_path"`
	DialTimeout  timeout      `toml:"dial_timeout"`
	Proxy        proxyAddress `toml:"proxy"`
}

// An endpointConfig is what is configured of one endpoint. The zero value is the
// registry itself, of which nothing is configured.
type endpointConfig struct {
	scheme string // "" is found out, as for registries that nothing is configured of
	host   string // with its port; "" is the registry's
	root   string // the path of the API, such as "/v2"; with host alone

	can         capability // 0 is all
	authorities []string   // files of PEM, absolute
	pairs       [][2]string
	skipVerify  bool
	header      http.Header
	dialTimeout time.Duration // 0 is the one that all have
	proxy       *url.URL
}

// ownTLS says whether something is configured that only TLS has.
func (c endpointConfig) ownTLS() bool {
	return len(c.authorities) > 0 || len(c.pairs) > 0 || c.skipVerify
}

// parseHosts reads the text of a hosts.toml: the mirrors in the order of the file,
// and the server last, which is the registry itself where none is named. unknown
// are keys that mean nothing here. Its errors name the line, and not the file.
func parseHosts(text []byte, dir string) (endpoints []endpointConfig, unknown []string, err error) {
	// A host that is no table, which the library would refuse without a line.
	var shape map[string]any
	if _, err := toml.NewDecoder(bytes.NewReader(text)).Decode(&shape); err != nil {
		return nil, nil, lineError(err)
	}
	if tables, ok := shape["host"].(map[string]any); ok {
		for address, table := range tables {
			if _, ok := table.(map[string]any); !ok {
				return nil, nil, fmt.Errorf("line %d: host.%q is no table", lineOf(text, address), address)
			}
		}
	} else if shape["host"] != nil {
		return nil, nil, fmt.Errorf("line %d: host is no table; want [host.\"https://…\"]", lineOf(text, "host"))
	}
	var file hostsFile
	meta, err := toml.NewDecoder(bytes.NewReader(text)).Decode(&file)
	if err != nil {
		return nil, nil, lineError(err)
	}
	for _, key := range meta.Undecoded() {
		unknown = append(unknown, key.String())
	}
	var order []string
	for _, key := range meta.Keys() {
		if len(key) > 1 && key[0] == "host" && !slices.Contains(order, key[1]) {
			order = append(order, key[1])
		}
	}
	for _, address := range order {
		c, err := file.Host[address].at(address, dir)
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: host.%q: %w", lineOf(text, address), address, err)
		}
		endpoints = append(endpoints, c)
	}
	server := file.hostTable
	if file.Server.value == "" {
		// As containerd has it: without its address, what the registry can do and where
		// its API is are not what the file says.
		server.Capabilities, server.OverridePath.value = 0, false
	}
	c, err := server.at(file.Server.value, dir)
	if err != nil {
		return nil, nil, fmt.Errorf("line %d: server %q: %w", lineOf(text, "server"), file.Server.value, err)
	}
	return append(endpoints, c), unknown, nil
}

// lineError says what the library does, without its name.
func lineError(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "toml: "))
}

// lineOf is the first line that has a word, of a text that has it.
func lineOf(text []byte, word string) int {
	before, _, _ := bytes.Cut(text, []byte(word))
	return 1 + bytes.Count(before, []byte("\n"))
}

// at is the table as the configuration of an address; "" is none.
func (t hostTable) at(address, dir string) (endpointConfig, error) {
	c := endpointConfig{
		can: t.Capabilities, skipVerify: t.SkipVerify.value, header: http.Header(t.Header),
		dialTimeout: time.Duration(t.DialTimeout), proxy: t.Proxy.URL,
	}
	for _, file := range t.CA {
		c.authorities = append(c.authorities, within(dir, file))
	}
	for _, pair := range t.Client {
		if pair[0] = within(dir, pair[0]); pair[1] != "" {
			pair[1] = within(dir, pair[1])
		}
		c.pairs = append(c.pairs, pair)
	}
	if address == "" {
		return c, nil
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return c, errors.New("want https://host[:port][/path] or http://…")
	}
	c.scheme, c.host, c.root = u.Scheme, strings.ToLower(u.Host), strings.TrimSuffix(path.Clean("/"+u.Path), "/")
	if !t.OverridePath.value && !strings.HasSuffix(c.root, "/v2") {
		c.root += "/v2"
	}
	return c, nil
}

func within(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

// scalar is a value of one type.
type scalar[T string | bool] struct{ value T }

func (s *scalar[T]) UnmarshalTOML(v any) error {
	value, ok := v.(T)
	if !ok {
		return fmt.Errorf("it is a %T, want a %T", v, value)
	}
	s.value = value
	return nil
}

// texts is a string, or an array of strings.
type texts []string

func (t *texts) UnmarshalTOML(v any) error {
	if s, ok := v.(string); ok {
		*t = texts{s}
		return nil
	}
	list, ok := v.([]any)
	for _, v := range list {
		s, isString := v.(string)
		ok = ok && isString
		*t = append(*t, s)
	}
	if !ok {
		return errors.New("want a string, or an array of strings")
	}
	return nil
}

// keyPairs are client certificates, each with its key: in one file, whose name
// stands for itself, or in two, which are an array. The second of two may be "".
type keyPairs [][2]string

func (p *keyPairs) UnmarshalTOML(v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, v := range list {
		var files texts
		_, isArray := v.([]any)
		if files.UnmarshalTOML(v) != nil || isArray && len(files) != 2 {
			return errors.New("want a file, an array of files, or an array of arrays of certificate and key")
		}
		*p = append(*p, [2]string(append(files, "")))
	}
	return nil
}

// headers are sent with every request to the endpoint.
type headers http.Header

func (h *headers) UnmarshalTOML(v any) error {
	table, ok := v.(map[string]any)
	if !ok {
		return errors.New("want a table of headers")
	}
	*h = headers{}
	for name, v := range table {
		var values texts
		if err := values.UnmarshalTOML(v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") || name == "" || strings.ContainsAny(name, " :") {
			return fmt.Errorf("%q is no header", name)
		}
		(*h)[http.CanonicalHeaderKey(name)] = values
	}
	return nil
}

// timeout is a duration as Go writes it.
type timeout time.Duration

func (t *timeout) UnmarshalTOML(v any) error {
	s, _ := v.(string)
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return errors.New(`want a duration, such as "3s"`)
	}
	*t = timeout(d)
	return nil
}

// proxyAddress is the proxy for one endpoint.
type proxyAddress struct{ *url.URL }

func (p *proxyAddress) UnmarshalTOML(v any) error {
	s, _ := v.(string)
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return errors.New("want http://host:port, https://host:port or socks5://host:port") // which can hold a password
	}
	p.URL = u
	return nil
}

// capability is what an endpoint may be asked for, and trusted with.
type capability uint8

// What containerd calls pull is content by its digest, which is verified whoever
// sends it; resolve is what a tag stands for, and which there are, which is
// believed. There is nothing to push here.
const (
	pull capability = 1 << iota
	resolve
	push
)

func (c *capability) UnmarshalTOML(v any) error {
	var names texts
	if err := names.UnmarshalTOML(v); err != nil {
		return err
	}
	for _, name := range names {
		i := slices.Index([]string{"pull", "resolve", "push"}, strings.ToLower(name))
		if i < 0 {
			return fmt.Errorf(`%q is none of "pull", "resolve" and "push"`, name)
		}
		*c |= 1 << i
	}
	return nil
}

// has says whether an endpoint may be asked; of which nothing is said may for all.
func (c capability) has(need capability) bool { return c == 0 || c&need != 0 }
