package dbus

import (
	"math"
	"testing"

	godbus "github.com/godbus/dbus/v5"
)

// incoming is a call as it comes from sender. Its serial is 0, as that of every message that was
// not on a bus.
func incoming(sender string) *godbus.Message {
	return &godbus.Message{
		Type:    godbus.TypeMethodCall,
		Headers: map[godbus.HeaderField]godbus.Variant{godbus.FieldSender: godbus.MakeVariant(sender)},
	}
}

func TestSerialsAreNeverZero(t *testing.T) {
	tracker := newCallTracker()
	tracker.serial = math.MaxUint32
	if serial := tracker.GetSerial(); serial != 1 {
		t.Errorf("serial %d", serial)
	}
}

func TestCallIsCountedUntilItsAnswerIsWritten(t *testing.T) {
	tracker := newCallTracker()
	tracker.arrived(incoming(":1.1"))
	tracker.arrived(&godbus.Message{Type: godbus.TypeSignal})
	ran := 0
	tracker.after(callKey{":1.1", 0}, func() {
		ran++
		if pending, _ := tracker.state(); pending != 1 {
			t.Error("the hook runs when the call is no longer counted")
		}
	})
	tracker.RetireSerial(5) // of a message that answers nothing
	if pending, _ := tracker.state(); pending != 1 || ran != 0 {
		t.Errorf("%d pending, hook ran %d times", pending, ran)
	}
	answer := &godbus.Message{Type: godbus.TypeMethodReply, Headers: map[godbus.HeaderField]godbus.Variant{
		godbus.FieldDestination: godbus.MakeVariant(":1.1"),
		godbus.FieldReplySerial: godbus.MakeVariant(uint32(0)),
	}}
	tracker.answering(answer)
	tracker.RetireSerial(answer.Serial())
	tracker.finish(callKey{":1.1", 0}) // as for a call that wanted no answer and was refused
	if pending, _ := tracker.state(); pending != 0 || ran != 1 || len(tracker.answers) != 0 {
		t.Errorf("%d pending, hook ran %d times, %d answers", pending, ran, len(tracker.answers))
	}
	<-tracker.changed
}

// TestAnswersEndOneCall: a second answer, as godbus sends it in place of one that it cannot encode,
// does not end a later call with the serial.
func TestAnswersEndOneCall(t *testing.T) {
	tracker := newCallTracker()
	key := callKey{":1.1", 0}
	ran := 0
	answer := func() *godbus.Message {
		return &godbus.Message{Type: godbus.TypeError, Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldDestination: godbus.MakeVariant(key.sender),
			godbus.FieldReplySerial: godbus.MakeVariant(key.serial),
		}}
	}
	tracker.answering(answer()) // of a call that was never there
	tracker.RetireSerial(0)
	tracker.arrived(incoming(key.sender))
	if tracker.unanswered(key) == nil {
		t.Error("the call counts as answered")
	}
	tracker.after(key, func() { ran++ })
	tracker.answering(answer())
	first := tracker.pending[key]
	tracker.end(first)
	if err := tracker.unanswered(key); err != nil {
		t.Errorf("the call is answered: %v", err)
	}
	tracker.arrived(incoming(key.sender))
	tracker.after(key, func() { ran++ })
	tracker.RetireSerial(0)
	if pending, _ := tracker.state(); pending != 1 || ran != 1 {
		t.Errorf("%d pending, hooks ran %d times", pending, ran)
	}
	tracker.finish(key)
	if pending, _ := tracker.state(); pending != 0 || ran != 2 {
		t.Errorf("%d pending, hooks ran %d times", pending, ran)
	}
}
