package nodetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

// authority signs certificates for nodes on loopback.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", nil)
	return a
}

// sign makes NAME.pem and NAME.key; without a parent it signs itself.
func (a *authority) sign(name string, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", private)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// flags make a node use mutual TLS on the peer port.
func (a *authority) flags() []string {
	a.sign("node", a)
	return []string{"--tls-peer-cert", a.path("node.pem"), "--tls-peer-key", a.path("node.key"), "--tls-peer-ca", a.path("ca.pem")}
}

// TestMutualTLS runs a cluster whose nodes show certificates to each other, and
// lets neither a node of another authority nor one without TLS in.
func TestMutualTLS(t *testing.T) {
	trusted, strange := newAuthority(t), newAuthority(t)
	c := clustertest.Start(t, clustertest.Config{Nodes: 3, Groups: 2, Args: trusted.flags()})
	r := newRoom(t, c)
	r.create("sealed", "ann")
	for i := range 6 {
		r.send(on(c.Nodes[i%3]), "sealed", "ann", "word")
	}
	c.Nodes[0].Kill(t)
	r.send(r.running, "sealed", "ann", "word")
	c.Nodes[0].Start(t)
	c.WaitHealthy(t)
	for _, n := range c.Nodes {
		if got := r.texts(n, "sealed", "ann"); len(got) != 7 {
			t.Errorf("%s reads %d messages, want 7", n.ID, len(got))
		}
	}
	for name, args := range map[string][]string{"another authority": strange.flags(), "no certificate": nil} {
		t.Run(name, func(t *testing.T) {
			line := []string{
				"join", "--peer", c.Nodes[0].Peer, "--node-id", "stranger", "--data-dir", t.TempDir(), "--join-timeout", "1s",
				"--listen-client", clustertest.Addr(t), "--listen-peer", clustertest.Addr(t),
				"--auth-secret-file", c.SecretFile(), "--join-token-file", c.TokenFile(),
			}
			out, errs, code := clustertest.Run(t, slices.Concat(line, args)...)
			if code != 1 {
				t.Errorf("the stranger ended with %d: %s%s", code, out, errs)
			}
		})
	}
	report, err := c.Report(t, c.Nodes[1])
	if err != nil || len(report.Nodes) != 3 {
		t.Errorf("%d nodes in the cluster, want 3 (%v)", len(report.Nodes), err)
	}
}
