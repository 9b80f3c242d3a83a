package proxyclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
)

// hostPolicy is the signature policy that counts when Config.Policy is empty.
const hostPolicy = "/etc/containers/policy.json"

// requirement is what a signature policy asks of an image.
type requirement struct {
	Type string `json:"type"`
}

// signaturePolicy is a containers-policy.json(5), as far as it takes to see
// whether it asks for anything.
type signaturePolicy struct {
	Default    []requirement                       `json:"default"`
	Transports map[string]map[string][]requirement `json:"transports"`
}

// acceptsEverything tells whether no image can fail the policy.
func (p signaturePolicy) acceptsEverything() bool {
	all := [][]requirement{p.Default}
	for _, scopes := range p.Transports {
		for _, requirements := range scopes {
			all = append(all, requirements)
		}
	}
	for _, requirements := range all {
		if len(requirements) == 0 { // invalid, as the proxies that read it say
			return false
		}
		for _, r := range requirements {
			if r.Type != "insecureAcceptAnything" {
				return false
			}
		}
	}
	return true
}

// checkIgnoredPolicy refuses to go on with a proxy that ignores the policy in
// force, unless that asks for nothing or there is none.
func (c Config) checkIgnoredPolicy(v Version) error {
	path := c.Policy
	if path == "" {
		path = hostPolicy
	}
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var policy signaturePolicy
	if err == nil {
		err = json.Unmarshal(data, &policy)
	}
	switch {
	case err != nil:
		return &Error{Class: ClassPolicy, Op: "start", Message: fmt.Sprintf("cannot read the signature policy %s: %v", path, err), Err: err}
	case !policy.acceptsEverything():
		return &Error{Class: ClassPolicy, Op: "start",
			Message: fmt.Sprintf("the signature policy %s does not accept every image, but the image proxy (protocol %s) ignores signature policies: install skopeo 1.13 or later", path, v)}
	}
	return nil
}
