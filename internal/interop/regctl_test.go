package interop

import (
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// regctl imports into a registry. Whoever imports chooses the name.
func regctl() loader {
	return loader{name: "regctl image import", start: startRegctl, keeps: theDigest}
}

func startRegctl(t *testing.T, b *bench) (string, load) {
	program := goTool(t, "regctl")
	home := b.home(t, "regctl")
	s := distributiontest.Start(t, distributiontest.Open)
	return builtVersion(t, program), func(t *testing.T, im *image) (kept, error) {
		to := s.Host + "/" + im.repository + ":imported"
		_, err := command{home: home, args: []string{
			program, "--host", "reg=" + s.Host + ",tls=disabled", "image", "import", to, im.tar(),
		}}.run(t)
		if err != nil {
			return "", err
		}
		return pushed(t, to).keeps(im), nil
	}
}
