package merkle_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/merkle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tree is the dumb twin: all leaves, and the definitions of RFC 6962 word by word.
type tree []merkle.Hash

func (t tree) mth() merkle.Hash {
	switch len(t) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return t[0]
	}
	k := 1
	for k*2 < len(t) {
		k *= 2
	}
	l, r := t[:k].mth(), t[k:].mth()
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

func (t tree) path(m int) []merkle.Hash {
	if len(t) == 1 {
		return nil
	}
	k := 1
	for k*2 < len(t) {
		k *= 2
	}
	if m < k {
		return append(t[:k].path(m), t[k:].mth())
	}
	return append(t[k:].path(m-k), t[:k].mth())
}

func (t tree) subproof(m int, whole bool) []merkle.Hash {
	if m == len(t) {
		if whole {
			return nil
		}
		return []merkle.Hash{t.mth()}
	}
	k := 1
	for k*2 < len(t) {
		k *= 2
	}
	if m <= k {
		return append(t[:k].subproof(m, whole), t[k:].mth())
	}
	return append(t[k:].subproof(m-k, false), t[:k].mth())
}

// Node makes a tree a [merkle.Source].
func (t tree) Node(level int, index uint64) (merkle.Hash, error) {
	return t[index<<level : (index+1)<<level].mth(), nil
}

func leaves(n int) tree {
	t := make(tree, n)
	for i := range t {
		t[i] = sha256.Sum256(binary.BigEndian.AppendUint64([]byte{0}, uint64(i)))
	}
	return t
}

// The roots of the first leaves of the test data of certificate-transparency
// (leaves "", 00, 10, 2021, 3031, 40414243, …), known from its reference code.
func TestRootsOfReferenceData(t *testing.T) {
	inputs := []string{
		"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
	}
	want := []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	var r merkle.Range
	for i, in := range inputs {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		r.Append(sha256.Sum256(append([]byte{0}, b...)))
		root := r.Root()
		if got := hex.EncodeToString(root[:]); got != want[i] {
			t.Errorf("root of %d leaves = %s, want %s", i+1, got, want[i])
		}
	}
}

func TestRangeEqualsDefinition(t *testing.T) {
	all := leaves(150)
	var r merkle.Range
	for n := 0; n <= len(all); n++ {
		if got, want := r.Root(), all[:n].mth(); got != want {
			t.Fatalf("root of %d leaves = %x, want %x", n, got, want)
		}
		back, ok := merkle.Restore(r.Size(), r.Peaks())
		if !ok || back.Root() != r.Root() {
			t.Fatalf("restored range of %d leaves has another root", n)
		}
		if n < len(all) {
			nodes := r.AppendNodes(all[n], 2, nil)
			for i, got := range nodes {
				level := 2 + i
				want, _ := all.Node(level, uint64(n)>>level)
				if got != want {
					t.Fatalf("node of level %d completed by leaf %d = %x, want %x", level, n, got, want)
				}
			}
		}
	}
	if _, ok := merkle.Restore(3, all[:1]); ok {
		t.Error("Restore of 3 leaves from one peak succeeded, want refusal")
	}
}

func TestProofsEqualDefinitionAndVerify(t *testing.T) {
	all := leaves(41)
	for n := 1; n <= len(all); n++ {
		root, err := merkle.RootAt(all, uint64(n))
		if err != nil || root != all[:n].mth() {
			t.Fatalf("RootAt(%d) = %x, %v, want %x", n, root, err, all[:n].mth())
		}
		for i := range n {
			path, err := merkle.Inclusion(all, uint64(i), uint64(n))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(all[:n].path(i), path); diff != "" {
				t.Fatalf("Inclusion(%d, %d) (-want +got):\n%s", i, n, diff)
			}
			if err := merkle.VerifyInclusion(all[i], uint64(i), uint64(n), path, root); err != nil {
				t.Fatalf("VerifyInclusion(%d, %d) = %v, want nil", i, n, err)
			}
			old := i + 1
			proof, err := merkle.Consistency(all, uint64(old), uint64(n))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(all[:n].subproof(old, true), proof); diff != "" {
				t.Fatalf("Consistency(%d, %d) (-want +got):\n%s", old, n, diff)
			}
			if err := merkle.VerifyConsistency(uint64(old), uint64(n), all[:old].mth(), root, proof); err != nil {
				t.Fatalf("VerifyConsistency(%d, %d) = %v, want nil", old, n, err)
			}
		}
	}
}

func TestFalseProofsAreRefused(t *testing.T) {
	all := leaves(40)
	const seed1, seed2 = 7, 11
	rnd := rand.New(rand.NewPCG(seed1, seed2))
	for range 500 {
		n := 2 + rnd.IntN(len(all)-1)
		i := rnd.IntN(n)
		root := all[:n].mth()
		path, err := merkle.Inclusion(all, uint64(i), uint64(n))
		if err != nil {
			t.Fatal(err)
		}
		old := 1 + rnd.IntN(n-1)
		proof, err := merkle.Consistency(all, uint64(old), uint64(n))
		if err != nil {
			t.Fatal(err)
		}
		oldRoot := all[:old].mth()
		bent := func(p []merkle.Hash) []merkle.Hash {
			q := append([]merkle.Hash(nil), p...)
			switch k := rnd.IntN(3); {
			case k == 0 && len(q) > 0:
				q[rnd.IntN(len(q))][rnd.IntN(32)] ^= 1 << rnd.IntN(8)
			case k == 1 && len(q) > 0:
				q = q[:len(q)-1]
			default:
				q = append(q, root)
			}
			return q
		}
		if err := merkle.VerifyInclusion(all[i], uint64(i), uint64(n), bent(path), root); err == nil {
			t.Fatalf("a bent inclusion proof of %d in %d was accepted", i, n)
		}
		if err := merkle.VerifyConsistency(uint64(old), uint64(n), oldRoot, root, bent(proof)); err == nil {
			t.Fatalf("a bent consistency proof of %d in %d was accepted", old, n)
		}
		if err := merkle.VerifyConsistency(uint64(old), uint64(n), root, root, proof); err == nil {
			t.Fatalf("a consistency proof of %d in %d was accepted for another root", old, n)
		}
		if j := (i + 1) % n; merkle.VerifyInclusion(all[i], uint64(j), uint64(n), path, root) == nil {
			t.Fatalf("the proof of leaf %d in %d was accepted for leaf %d", i, n, j)
		}
	}
}

func TestOutOfRange(t *testing.T) {
	all := leaves(4)
	if _, err := merkle.Inclusion(all, 4, 4); err == nil {
		t.Error("Inclusion(4, 4) succeeded, want an error")
	}
	for _, p := range [][2]uint64{{0, 4}, {5, 4}} {
		if _, err := merkle.Consistency(all, p[0], p[1]); err == nil {
			t.Errorf("Consistency(%d, %d) succeeded, want an error", p[0], p[1])
		}
		if err := merkle.VerifyConsistency(p[0], p[1], all[0], all[0], nil); err == nil {
			t.Errorf("VerifyConsistency(%d, %d) succeeded, want an error", p[0], p[1])
		}
	}
	if err := merkle.VerifyInclusion(all[0], 0, 0, nil, all[0]); err == nil {
		t.Error("VerifyInclusion in the empty tree succeeded, want an error")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(uint64(1), uint64(3), []byte("0123456789abcdef0123456789abcdef"))
	f.Add(uint64(4), uint64(8), make([]byte, 96))
	f.Fuzz(func(t *testing.T, a, b uint64, raw []byte) {
		var proof []merkle.Hash
		for len(raw) >= 32 && len(proof) < 100 {
			proof = append(proof, merkle.Hash(raw[:32]))
			raw = raw[32:]
		}
		root := sha256.Sum256([]byte("a root nobody can reach"))
		if merkle.VerifyInclusion(merkle.Hash{}, a, b, proof, root) == nil {
			t.Error("an inclusion proof for an unreachable root was accepted")
		}
		if merkle.VerifyConsistency(a, b, merkle.Hash{1}, root, proof) == nil {
			t.Error("a consistency proof for an unreachable root was accepted")
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	b.ReportAllocs()
	var r merkle.Range
	leaf := merkle.Empty()
	for b.Loop() {
		r.Append(leaf)
	}
}

func BenchmarkRootOfMillion(b *testing.B) {
	b.ReportAllocs()
	r, _ := merkle.Restore(999_999, leaves(12))
	if r.Size() == 0 {
		b.Fatal("999,999 has another number of peaks")
	}
	for b.Loop() {
		r.Root()
	}
}

func BenchmarkVerifyInclusion(b *testing.B) {
	b.ReportAllocs()
	all := leaves(1 << 10)
	path, err := merkle.Inclusion(all, 77, 1000)
	if err != nil {
		b.Fatal(err)
	}
	root := all[:1000].mth()
	for b.Loop() {
		if err := merkle.VerifyInclusion(all[77], 77, 1000, path, root); err != nil {
			b.Fatal(err)
		}
	}
}
