package sabotage

import "testing"

// TestProductIsWhole: a build without the tag breaks nothing, whatever the
// environment says.
func TestProductIsWhole(t *testing.T) {
	if Built {
		t.Skip("built to be sabotaged")
	}
	for _, what := range []string{"nofsync", "nodedup", "staleread", "noaccess"} {
		t.Setenv("CHATNODE_SABOTAGE", what)
		if NoFsync() || NoDedup() || StaleRead() || NoAccess() {
			t.Errorf("%s is in force in a product build", what)
		}
	}
}
