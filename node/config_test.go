package node

import (
	"strings"
	"testing"
)

// TestEveryAddressIsNoneToTell: a node bound to all addresses says which one others
// shall dial.
func TestEveryAddressIsNoneToTell(t *testing.T) {
	tests := []struct {
		listen, advertise string
		faults            string // after "client" or "peer" for the port; "" for none
	}{
		{"127.0.0.1:0", "", ""},
		{"[::1]:1", "", ""},
		{"10.0.0.1:1", "", ""},
		{"n1.example.org:1", "", ""},
		{"0.0.0.0:0", "", "give the one that others shall use, --advertise-"},
		{"[::]:1", "", "give the one that others shall use, --advertise-"},
		{"[::%eth0]:1", "", "give the one that others shall use, --advertise-"},
		{"[::ffff:0.0.0.0]:1", "", "give the one that others shall use, --advertise-"},
		{":1", "", "give the one that others shall use, --advertise-"},
		{"0.0.0.0:1", "n1.example.org:1", ""},
		{"[::]:1", "10.0.0.1:1", ""},
		{"10.0.0.1:1", "0.0.0.0:1", "every address of a machine"},
		{"[::]:1", "[::]:1", "every address of a machine"},
	}
	for _, tt := range tests {
		for _, port := range []string{"client", "peer"} {
			c := valid(t)
			c.Insecure = true
			if port == "client" {
				c.Listen.Client, c.Advertise.Client = tt.listen, tt.advertise
			} else {
				c.Listen.Peer, c.Advertise.Peer = tt.listen, tt.advertise
			}
			want := tt.faults
			if strings.HasSuffix(want, "-") {
				want += port
			}
			err := c.Validate()
			switch {
			case want == "" && err != nil:
				t.Errorf("listen %s, advertise %q: %v", tt.listen, tt.advertise, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("listen %s, advertise %q: %v, want %q", tt.listen, tt.advertise, err, want)
			}
		}
	}
}
