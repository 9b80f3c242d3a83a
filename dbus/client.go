package dbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// answerTimeout bounds calls that the daemon answers by itself. It leaves time to start the daemon
// and to type a password.
const answerTimeout = 3 * time.Minute

// A call that dbus-broker refuses, because the daemon has just crashed, is made that often, with
// more than the unit's RestartSec= between.
const (
	maxStarts    = 3
	restartDelay = 1500 * time.Millisecond
)

// brokerRefusal begins dbus-broker's message about a unit that failed.
const brokerRefusal = "Could not activate remote peer: unit failed"

// Client calls the daemon. Its errors are *importer.Error with the kind that the daemon gave,
// KindAccessDenied where the caller was refused and KindNotAvailable where no daemon answers. Its
// methods may be called concurrently.
type Client struct {
	conn       *godbus.Conn
	onPassword func(context.Context) bool // see OnPassword
}

// Dial connects to the bus: "system", "session" or a D-Bus address; "" means "system". It does not
// start the daemon: the first call does.
func Dial(ctx context.Context, address string) (*Client, error) {
	conn, err := connect(ctx, address, godbus.WithSignalHandler(godbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, &importer.Error{Kind: importer.KindNotAvailable, Err: err}
	}
	return &Client{conn: conn}, nil
}

// OnPassword sets what is called each time that polkit wants a password, before polkit asks for it:
// it may start a program that asks at the terminal. If it returns false the call is refused
// instead. Without it polkit asks, as it can on a desktop. It must be set before the first call,
// and be safe for concurrent use if the client is used so.
func (c *Client) OnPassword(may func(context.Context) bool) { c.onPassword = may }

// Close ends the connection. Jobs go on.
func (c *Client) Close() error { return c.conn.Close() }

// Import starts (or joins) an import and returns the job's id.
func (c *Client) Import(ctx context.Context, request importer.Request, options daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "Import", options, importOptions(&request), request.Image)
}

// Prepare waits for the plan of an import. The plan does not tell how the image is reached
// (Request.Access).
func (c *Client) Prepare(ctx context.Context, request importer.Request, options daemon.JobOptions) (daemon.Prepared, error) {
	defer runtime.KeepAlive(&request) // and with it the files whose descriptors are sent
	dict, err := writeOptions(append(jobOptions(&options), importOptions(&request)...))
	if err != nil {
		return daemon.Prepared{}, err
	}
	var path godbus.ObjectPath
	var state, digest string
	var layers uint32
	var bytes uint64
	// It takes as long as the image's source does; the daemon watches over that.
	err = c.call(ctx, 0, rootPath, managerInterface+".Prepare", request.Image, dict).
		Store(&path, &state, &digest, &layers, &bytes)
	if err != nil {
		return daemon.Prepared{}, fromCallError(err)
	}
	return describeBy[daemon.Prepared](ctx, c, path, preparedInterface+".Describe")
}

// ImportPrepared starts an import of exactly what was prepared and returns the job's id.
func (c *Client) ImportPrepared(ctx context.Context, prepared uint64, options daemon.JobOptions) (uint64, error) {
	dict, err := writeOptions(jobOptions(&options))
	if err != nil {
		return 0, err
	}
	id, err := c.startJob(ctx, preparedPath(prepared), preparedInterface+".Import", dict)
	return id, orKind(err, importer.KindNoSuchPrepared)
}

// Images returns all stored images, broken ones included, without manifests and configs.
func (c *Client) Images(ctx context.Context) ([]importer.Image, error) {
	return describeBy[[]importer.Image](ctx, c, rootPath, managerInterface+".DescribeImages")
}

// Image returns one stored image with manifest and config.
func (c *Client) Image(ctx context.Context, reference string) (*importer.Image, error) {
	var path godbus.ObjectPath
	if err := c.query(ctx, 0, rootPath, managerInterface+".GetImage", reference).Store(&path); err != nil {
		return nil, fromCallError(err)
	}
	image, err := describeBy[importer.Image](ctx, c, path, imageInterface+".Describe")
	if err != nil {
		return nil, orKind(err, importer.KindNoSuchImage)
	}
	return &image, nil
}

// Jobs returns all jobs that the daemon remembers.
func (c *Client) Jobs(ctx context.Context) ([]daemon.JobStatus, error) {
	return describeBy[[]daemon.JobStatus](ctx, c, rootPath, managerInterface+".DescribeJobs")
}

// Job returns one job's status.
func (c *Client) Job(ctx context.Context, id uint64) (daemon.JobStatus, error) {
	status, err := describeBy[daemon.JobStatus](ctx, c, jobPath(id), jobInterface+".Describe")
	return status, orKind(err, importer.KindNoSuchJob)
}

// Cancel asks a job to stop.
func (c *Client) Cancel(ctx context.Context, id uint64) error {
	return fromCallError(c.query(ctx, 0, rootPath, managerInterface+".CancelJob", id).Err)
}

// startJob calls a method that answers with a job.
func (c *Client) startJob(ctx context.Context, path godbus.ObjectPath, method string, args ...any) (id uint64, err error) {
	var job godbus.ObjectPath
	var results map[string]godbus.Variant
	err = c.query(ctx, 0, path, method, args...).Store(&id, &job, &results)
	return id, fromCallError(err)
}

// query is call for a method that the daemon answers at once.
func (c *Client) query(ctx context.Context, flags godbus.Flags, path godbus.ObjectPath, method string, args ...any) *godbus.Call {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return c.call(ctx, flags, path, method, args...)
}

// call calls a method. If that takes a password it is called once more, and polkit may ask the
// person at the terminal or desktop for it: only then somebody who asks has to be there. (godbus's
// own calls cannot carry that flag.)
func (c *Client) call(ctx context.Context, flags godbus.Flags, path godbus.ObjectPath, method string, args ...any) *godbus.Call {
	iface, member := splitMethod(method)
	msg := &godbus.Message{
		Type:  godbus.TypeMethodCall,
		Flags: flags,
		Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldDestination: godbus.MakeVariant(BusName),
			godbus.FieldPath:        godbus.MakeVariant(path),
			godbus.FieldInterface:   godbus.MakeVariant(iface),
			godbus.FieldMember:      godbus.MakeVariant(member),
		},
		Body: args,
	}
	if len(args) > 0 {
		msg.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(args...))
	}
	answer := c.send(ctx, msg)
	if wantsPassword(answer.Err) && (c.onPassword == nil || c.onPassword(ctx)) {
		msg.Flags |= godbus.FlagAllowInteractiveAuthorization
		answer = c.send(ctx, msg)
	}
	return answer
}

// wantsPassword reports whether a call was refused because polkit was not allowed to ask for a
// password.
func wantsPassword(err error) bool {
	var reply godbus.Error
	return errors.As(err, &reply) && reply.Name == errInteractionRequired
}

// send sends a call and waits for its answer. A message belongs to the connection once it is sent: each
// attempt sends one of its own.
func (c *Client) send(ctx context.Context, msg *godbus.Message) *godbus.Call {
	for tries := 1; ; tries++ {
		own := *msg
		own.Headers = maps.Clone(msg.Headers)
		answer := <-c.conn.SendWithContext(ctx, &own, make(chan *godbus.Call, 1)).Done
		if tries == maxStarts || !failedToStart(answer.Err) {
			return answer
		}
		select {
		case <-ctx.Done():
			return answer
		case <-time.After(restartDelay):
		}
	}
}

// failedToStart reports whether a call did not reach the daemon because dbus-broker saw its unit
// fail. After a crash that is so until systemd starts the unit again, and the call can be repeated.
func failedToStart(err error) bool {
	var reply godbus.Error
	if !errors.As(err, &reply) || len(reply.Body) == 0 {
		return false
	}
	text, _ := reply.Body[0].(string)
	return (reply.Name == errServiceUnknown || reply.Name == errNameHasNoOwner) && strings.HasPrefix(text, brokerRefusal)
}

// describeBy calls a method that answers with the JSON of a T.
func describeBy[T any](ctx context.Context, c *Client, path godbus.ObjectPath, method string) (value T, err error) {
	var text string
	if err := c.query(ctx, 0, path, method).Store(&text); err != nil {
		return value, fromCallError(err)
	}
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return value, unreadable(method, err)
	}
	return value, nil
}

func unreadable(method string, err error) error {
	return &importer.Error{
		Kind: importer.KindFailed,
		Hint: "daemon and client may be of different versions",
		Err:  fmt.Errorf("cannot read the answer to %s: %w", method, err),
	}
}

// orKind gives err the kind that an object's absence has for the caller.
func orKind(err error, absent importer.Kind) error {
	var known *importer.Error
	if errors.As(err, &known) && known.Kind == kindUnknownObject {
		return &importer.Error{Kind: absent, Err: known.Err}
	}
	return err
}
