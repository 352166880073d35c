package manners

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// stopLimit is how long a server may take to end before it is killed.
const stopLimit = 30 * time.Second

// nginxConfig keeps everything in the test's directory, also for the process that
// does the work, which is of nobody unless it is told. (As a single process nginx
// 1.22 crashes over a socket that it was given.)
var nginxConfig = template.Must(template.New("nginx.conf").Parse(`
daemon off;
user root;
worker_processes 1;
pid {{.Dir}}/pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path {{.Dir}}/body;
	proxy_temp_path {{.Dir}}/proxy;
	fastcgi_temp_path {{.Dir}}/fastcgi;
	uwsgi_temp_path {{.Dir}}/uwsgi;
	scgi_temp_path {{.Dir}}/scgi;
	map $upstream_http_link $whole {
		default "";
		"~^<(?<rest>/.*)$" "<{{.Links}}://{{.LinksTo}}$rest";
	}
	server {
		listen {{.Address}} ssl http2;
		ssl_certificate {{.Certificate}};
		ssl_certificate_key {{.Key}};
		client_max_body_size 0;
		{{if .Tokens}}
		location = /token {
			proxy_pass http://{{.Tokens}};
		}
		{{end}}
		location /v2/ {
			proxy_pass http://{{.Upstream}};
			{{if not .ForgetsHost}}
			proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-Proto $scheme;
			{{end}}
			{{if .Rangeless}}
			proxy_set_header Range "";
			max_ranges 0;
			{{end}}
			{{if .Links}}
			proxy_hide_header Link;
			add_header Link $whole;
			{{end}}
			{{if .Login}}
			auth_basic "nginx";
			auth_basic_user_file {{.Dir}}/passwords;
			proxy_set_header Authorization "";
			{{end}}
		}
	}
}
`))

// startNginx runs nginx until the test ends, however it ends.
func startNginx(t *testing.T, b *bench, at *reservation, f front, behind upstream) {
	t.Helper()
	dir := b.home(t, "nginx")
	if f.linksTo == "" {
		f.linksTo = at.address
	}
	passwords := distributiontest.Username + ":{PLAIN}" + distributiontest.Password + "\n"
	if err := os.WriteFile(filepath.Join(dir, "passwords"), []byte(passwords), 0o600); err != nil {
		t.Fatal(err)
	}
	var config strings.Builder
	if err := nginxConfig.Execute(&config, map[string]any{
		"Dir": dir, "Address": at.address, "Certificate": b.authority.certificate, "Key": b.authority.key,
		"ForgetsHost": f.forgetsHost, "Rangeless": f.rangeless, "Links": f.links, "LinksTo": f.linksTo,
		"Upstream": behind.address, "Tokens": behind.tokens, "Login": behind.login,
	}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), b.nginx, "-p", dir, "-c", path)
	// The socket is nginx's third file, which it is told as it tells its successor
	// when it replaces itself.
	c.Env = append(os.Environ(), "NGINX=3;")
	socket := at.give(t)
	c.ExtraFiles = []*os.File{socket}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end all of it
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = socket.Close() // nginx has it: when it ends, nobody listens
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // what it said says why
		close(ended)
	}()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM) // or it ended before
		select {
		case <-ended:
		case <-time.After(stopLimit):
			t.Error("nginx does not stop")
			_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("nginx said:\n%s", &said)
		}
	})
}
