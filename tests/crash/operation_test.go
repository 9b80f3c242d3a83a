//go:build crash

package crash

// operation is what is killed.
type operation struct {
	place   string // before it
	version string // of app at the source
	damaged bool   // place is not sound
	helpers string // the programs that it starts, besides questions for their versions
	args    func(w *world) []string
}

var operations = map[string]operation{
	"pull": {"empty", "1", false, "skopeo ostree", onApp("pull")},
	"pull base": {"empty", "1", false, "skopeo ostree", func(w *world) []string {
		return []string{"pull", w.base}
	}},
	"complete base": {"holed", "1", true, "skopeo ostree", func(w *world) []string {
		return []string{"pull", w.base}
	}},
	"update":  {"stored", "2", false, "skopeo ostree", onApp("pull")},
	"prepare": {"stored", "2", false, "skopeo", onApp("prepare")},
	"gc":      {"garbage", "1", false, "ostree", func(*world) []string { return []string{"gc"} }},
	"remove":  {"stored", "1", false, "ostree", onApp("remove")},
	"copy": {"stored", "1", false, "ostree", func(w *world) []string {
		return []string{"copy", w.app, "--to-repo=" + w.path("second")}
	}},
	"repair": {"damaged", "1", true, "skopeo ostree", func(*world) []string {
		return []string{"verify", "--repair"}
	}},
	"export": {"stored", "1", false, "", func(w *world) []string {
		return []string{"export", w.app, "tar:" + w.path("out/root.tar")}
	}},
	"export image": {"stored", "1", false, "", func(w *world) []string {
		return []string{"export", w.app, "oci:" + w.path("out/exported") + ":x"}
	}},
	"encapsulate": {"stored", "1", false, "", func(w *world) []string {
		return []string{"encapsulate", w.commits["base"], "oci:" + w.path("out/encapsulated") + ":x"}
	}},
	"unencapsulate": {"empty", "1", false, "skopeo ostree", func(w *world) []string {
		return []string{"unencapsulate", w.base, "--ref=system"}
	}},
}

// onApp gives the arguments of a verb that takes the reference of app.
func onApp(verb string) func(w *world) []string {
	return func(w *world) []string { return []string{verb, w.app} }
}
