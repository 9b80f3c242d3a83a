package dbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	godbus "github.com/godbus/dbus/v5"
)

// usersByName says that ":7.1" belongs to the user 7.
func usersByName(name string) (uid uint32, err error) {
	_, err = fmt.Sscanf(name, ":%d.", &uid)
	return uid, err
}

// begin takes a turn for a call of sender, and appends the sender's name to order when it is
// granted.
func begin(t *testing.T, turns *turns, name string, order *[]string) *turn {
	t.Helper()
	turns.enter(name, 1)
	granted, err := turns.take(t.Context(), name)
	if err != nil {
		t.Error(err)
	}
	*order = append(*order, name)
	return granted
}

// TestTurnsGoAround: users take turns, and their connections among themselves.
func TestTurnsGoAround(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(usersByName)
		var order []string
		var running []*turn
		for range maxRunning {
			running = append(running, begin(t, turns, ":9.0", &order))
		}
		order = nil
		for _, name := range []string{":1.1", ":1.1", ":1.1", ":1.2", ":2.1", ":2.1", ":3.1"} {
			go func() { begin(t, turns, name, &order).pause() }()
			synctest.Wait()
		}
		if len(order) > 0 {
			t.Errorf("%d calls run at once, and %q", maxRunning, order)
		}
		running[0].pause()
		synctest.Wait()
		if want := []string{":1.1", ":2.1", ":3.1", ":1.2", ":2.1", ":1.1", ":1.1"}; !slices.Equal(order, want) {
			t.Errorf("order %q, want %q", order, want)
		}
	})
}

// TestRootWaitsForNobody: however many calls of others run and wait.
func TestRootWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(usersByName)
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 * maxRunning {
			turns.enter(":9.1", 1)
			go func() { _, _ = turns.take(ctx, ":9.1") }()
		}
		synctest.Wait()
		var order []string
		begin(t, turns, ":0.1", &order)
		turns.enter(":9.1", 1)
		cancel()
		if _, err := turns.take(ctx, ":9.1"); !errors.Is(err, context.Canceled) {
			t.Errorf("a call whose connection ended: %v", err)
		}
	})
}

func wantLimit(t *testing.T, err error) {
	t.Helper()
	var refusal *godbus.Error
	if !errors.As(err, &refusal) || refusal.Name != errLimitsExceeded {
		t.Errorf("%v, want %s", err, errLimitsExceeded)
	}
}

// TestCallsInWorkAreBounded: by their number and their size, for a user with all connections.
func TestCallsInWorkAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(usersByName)
		var leave []func()
		for n := range maxUserCalls {
			name := fmt.Sprintf(":1.%d", n%5)
			if err := turns.admit(name, 1); err != nil {
				t.Fatal(err)
			}
			leave = append(leave, turns.enter(name, 1))
		}
		synctest.Wait() // now it is known whose they are
		wantLimit(t, turns.admit(":1.0", 1))
		if err := turns.admit(":2.0", 1); err != nil {
			t.Errorf("another user: %v", err)
		}
		leave[0]()
		if err := turns.admit(":1.4", 1); err != nil {
			t.Errorf("one has ended: %v", err)
		}
		for _, leave := range leave[1:] {
			leave()
		}
		defer turns.enter(":1.0", maxUserBytes-10)()
		wantLimit(t, turns.admit(":1.1", 11))
		if err := turns.admit(":1.1", 10); err != nil {
			t.Errorf("as large as fits: %v", err)
		}
	})
}

// TestStrangersAreBounded: while the bus has not told whose calls they are, they have limits of
// their own.
func TestStrangersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan struct{})
		turns := newTurns(func(name string) (uint32, error) { <-told; return usersByName(name) })
		for n := range maxUserCalls {
			turns.enter(":1.1", 1)
			turns.enter(fmt.Sprintf(":1.%d", n+2), 1)
		}
		wantLimit(t, turns.admit(":1.1", 1))
		for n := range maxStrangerCalls - 2*maxUserCalls {
			turns.enter(fmt.Sprintf(":2.%d", n), 1)
		}
		wantLimit(t, turns.admit(":3.1", ownStrangerBytes+1))
		for range ownStrangerCalls {
			if err := turns.admit(":0.1", 1); err != nil {
				t.Errorf("the first calls of a connection, which may be root's: %v", err)
			}
			turns.enter(":0.1", 1)
		}
		wantLimit(t, turns.admit(":0.1", 1))
		for n := turns.unknown; n < maxStrangers; n++ {
			turns.enter(fmt.Sprintf(":4.%d", n), 1)
		}
		wantLimit(t, turns.admit(":3.1", 1))
		close(told)
		synctest.Wait()
		if turns.strangers != (load{}) || turns.unknown != 0 {
			t.Errorf("%+v of strangers are left", turns.strangers)
		}
		if err := turns.admit(":3.1", 1); err != nil {
			t.Error(err)
		}
	})
}

// TestStrangersKeepToTheLimitOfTheirUser: calls that came before the bus told whose they are do not
// add to those that the user may have in work.
func TestStrangersKeepToTheLimitOfTheirUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan struct{}, 1)
		turns := newTurns(func(name string) (uint32, error) { <-told; return usersByName(name) })
		told <- struct{}{}
		var order []string
		for range maxUserCalls {
			begin(t, turns, ":1.1", &order).pause() // it waits for a job
		}
		for connection := range 3 {
			name := fmt.Sprintf(":1.%d", connection+2)
			var leave []func()
			for range maxUserCalls {
				if err := turns.admit(name, 1); err != nil {
					t.Fatal(err)
				}
				leave = append(leave, turns.enter(name, 1))
			}
			told <- struct{}{}
			for _, leave := range leave {
				_, err := turns.take(t.Context(), name)
				wantLimit(t, err)
				leave()
			}
		}
		if u := turns.users[1]; u.calls != maxUserCalls || turns.others.running != 0 {
			t.Errorf("%d calls in work, %d running", u.calls, turns.others.running)
		}
	})
}

// TestSendersAreForgotten: those who have nothing in work, so that their number has a bound.
func TestSendersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(func(name string) (uint32, error) {
			if name == ":5.2000" {
				return 0, errors.New("there is no such name")
			}
			return usersByName(name)
		})
		turns.enter(":4.1", 1)
		for n := range 3 * maxSenders {
			leave := turns.enter(fmt.Sprintf(":5.%d", n), 1)
			synctest.Wait()
			leave()
		}
		if len(turns.senders) > maxSenders || len(turns.users) > 2 {
			t.Errorf("%d senders, %d users", len(turns.senders), len(turns.users))
		}
		if s := turns.senders[":4.1"]; s == nil || s.user != turns.users[4] {
			t.Error("a sender with a call in work was forgotten")
		}
	})
}
