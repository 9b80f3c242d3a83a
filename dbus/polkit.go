package dbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

const (
	polkitName   = "org.freedesktop.PolicyKit1"
	polkitPath   = "/org/freedesktop/PolicyKit1/Authority"
	polkitMethod = "org.freedesktop.PolicyKit1.Authority.CheckAuthorization"

	// polkitAllowInteraction has polkit ask for a password where the policy wants one.
	polkitAllowInteraction uint32 = 1
	// polkitTimeout is long enough for somebody to type one.
	polkitTimeout = 2 * time.Minute
)

// polkitSubject names the caller by its connection: process ids can be taken over by another
// process meanwhile.
type polkitSubject struct {
	Kind    string
	Details map[string]godbus.Variant
}

// checkPolkit asks polkit whether the connection sender may do action. It returns nil,
// AccessDenied, or, where a password would help and the caller does not want to be asked for it,
// InteractiveAuthorizationRequired. Without polkit nobody may. The keys of details are among
// detailNames; those that are missing are sent empty.
func checkPolkit(ctx context.Context, conn *godbus.Conn, sender, action string, details map[string]string, interactive bool) error {
	ctx, cancel := context.WithTimeout(ctx, polkitTimeout)
	defer cancel()
	subject := polkitSubject{"system-bus-name", map[string]godbus.Variant{"name": godbus.MakeVariant(sender)}}
	full := make(map[string]string, len(detailNames))
	for _, name := range detailNames {
		full[name] = details[name]
	}
	var flags uint32
	if interactive {
		flags = polkitAllowInteraction
	}
	var answer struct {
		Authorized bool
		Challenge  bool
		Details    map[string]string
	}
	err := conn.Object(polkitName, polkitPath).
		CallWithContext(ctx, polkitMethod, 0, subject, action, full, flags, "").Store(&answer)
	switch {
	case err != nil:
		return standardError(errAccessDenied, "not authorized for %s: %v", action, polkitFailure(err))
	case answer.Authorized:
		return nil
	case answer.Challenge && !interactive:
		return standardError(errInteractionRequired, "interactive authentication required for %s", action)
	}
	return standardError(errAccessDenied, "not authorized for %s", action)
}

// polkitFailure tells an absent polkit from one that failed.
func polkitFailure(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("polkit gave no answer within %s", polkitTimeout)
	}
	var reply godbus.Error
	if errors.As(err, &reply) && (reply.Name == errServiceUnknown || reply.Name == errNameHasNoOwner) {
		return errors.New("polkit is not available, so only root may")
	}
	return fmt.Errorf("cannot ask polkit: %w", err)
}
