package daemon

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

// ImportText says in one line what an import did: "imported NAME 1.0 → 2.0, 42.0 MB fetched, 4 of 5
// layers present". name is what the image is called there; empty leaves it out.
func ImportText(r *importer.Result, name string) string {
	fetched, layers := layerCounts(r.Layers)
	verb := "imported"
	switch {
	case r.ImageRef == "":
		verb = "imported only the layers of"
	case !r.Changed && fetched > 0:
		verb = "completed"
	case !r.Changed:
		verb = "unchanged"
	}
	text := line(verb, name, changeText(r.From, r.To))
	if r.AlreadyPresent {
		return text
	}
	return text + fmt.Sprintf(", %s fetched, %s", SizeText(r.BytesFetched), PresentText(layers-fetched, layers))
}

// PlanText says in one line what an import would do, with name as in ImportText.
func PlanText(plan *importer.Plan, name string) string {
	var from *importer.ImageVersion
	if plan.PreviousCommit != "" {
		from = &importer.ImageVersion{Version: plan.PreviousVersion, ManifestDigest: plan.PreviousDigest, Commit: plan.PreviousCommit}
	}
	text := line("prepared", name, changeText(from, importer.ImageVersion{Version: plan.Version, ManifestDigest: plan.ManifestDigest}))
	if plan.AlreadyPresent {
		return text + ", nothing new"
	}
	p := plan.Progress()
	return text + fmt.Sprintf(", %s to fetch, %s", SizeText(p.BytesTotal), PresentText(p.LayersCached, p.LayersTotal))
}

// line joins the parts of a text that are not empty.
func line(parts ...string) string {
	return OneLine(strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), " "))
}

// layerCounts counts the distinct layers, and those of them that were fetched.
func layerCounts(layers []importer.LayerResult) (fetched, all int) {
	seen := map[digest.Digest]bool{}
	for _, l := range layers {
		if seen[l.Digest] {
			continue
		}
		seen[l.Digest] = true
		if !l.Cached {
			fetched++
		}
	}
	return fetched, len(seen)
}

// changeText names the version that a name stands for, and the one before if that was another.
// Versions that do not tell two images apart are replaced by their digests.
func changeText(from *importer.ImageVersion, to importer.ImageVersion) string {
	switch {
	case from == nil, from.ManifestDigest == "", from.ManifestDigest == to.ManifestDigest:
		return to.Version
	case from.Version != "" && to.Version != "" && from.Version != to.Version:
		return from.Version + " → " + to.Version
	}
	return shortDigest(from.ManifestDigest) + " → " + shortDigest(to.ManifestDigest)
}

// shortDigest keeps as much of a digest as people compare.
func shortDigest(d digest.Digest) string {
	algorithm, encoded, _ := strings.Cut(string(d), ":")
	return algorithm + ":" + encoded[:min(12, len(encoded))]
}

// PresentText says how many layers of an image are in the repository: "4 of 5 layers present".
func PresentText(present, all int) string {
	return fmt.Sprintf("%d of %s present", present, count(all, "layer"))
}

// SizeText prints bytes in decimal units: "1.5 MB".
func SizeText(bytes uint64) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/1000, 0
	for value >= 999.95 && unit < len(sizeUnits)-1 {
		value /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", value, sizeUnits[unit])
}

// sizeUnits are the prefixes of thousands, of their thousands, and so on.
const sizeUnits = "KMGTPE"

// OneLine replaces control characters by spaces: a text out of an image must not command a
// terminal, nor break a line.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
