package dbus

import (
	"net"
	"os"
	osuser "os/user"
	"strconv"
	"sync/atomic"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/dirfd"
)

// receiver reads a socket with the descriptors that come along. Their limits: a message brings no
// more than maxDescriptors, each counts as descriptorCost bytes of its call, and no more than
// maxClosing wait to be closed.
type receiver struct {
	socket   net.Conn
	total    int64 // bytes read
	receipts []receipt
	closing  closer
}

// receipt are the descriptors that came with the bytes up to end. The kernel ends a read after the
// bytes that descriptors were sent with, and the bus sends each message by itself: they belong to
// the last message that begins among these bytes.
type receipt struct {
	end       int64
	files     []*os.File
	truncated bool // some got lost
}

// Read implements io.Reader.
func (r *receiver) Read(p []byte) (int, error) {
	socket, isUnix := r.socket.(*net.UnixConn)
	if !isUnix {
		return r.socket.Read(p)
	}
	var space []byte
	if r.closing.waiting.Load() < maxClosing {
		space = make([]byte, unix.CmsgSpace(4*maxDescriptors))
	}
	n, used, flags, _, err := socket.ReadMsgUnix(p, space)
	if err != nil {
		return 0, err
	}
	r.total += int64(n)
	files := parseDescriptors(space[:used])
	if truncated := flags&unix.MSG_CTRUNC != 0; truncated || len(files) > 0 {
		r.receipts = append(r.receipts, receipt{r.total, files, truncated})
	}
	return n, nil
}

// parseDescriptors gives the descriptors in a control message.
func parseDescriptors(control []byte) []*os.File {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	var files []*os.File
	for i := range messages {
		numbers, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, number := range numbers {
			files = append(files, os.NewFile(uintptr(number), "descriptor"))
		}
	}
	return files
}

// claim gives the descriptors of the message that begins at the byte start and is said to bring
// count of them. Those of messages before it are closed. ok is false when some got lost.
func (r *receiver) claim(start int64, count int) (files []*os.File, ok bool) {
	for len(r.receipts) > 0 && r.receipts[0].end <= start {
		r.closing.close(r.receipts[0].files)
		r.receipts = r.receipts[1:]
	}
	if count == 0 {
		return nil, true
	}
	if len(r.receipts) == 0 {
		return nil, false
	}
	first := r.receipts[0]
	r.receipts = r.receipts[1:]
	if first.truncated || len(first.files) != count {
		r.closing.close(first.files)
		return nil, false
	}
	return first.files, true
}

// closer closes descriptors that somebody has sent, without waiting: closing a file can take as
// long as the sender wants, who may serve the file system that it is on.
type closer struct{ waiting atomic.Int64 }

func (c *closer) close(files []*os.File) {
	if len(files) == 0 {
		return
	}
	c.waiting.Add(int64(len(files)))
	go func() {
		for _, f := range files {
			_ = f.Close() // nothing was written
			c.waiting.Add(-1)
		}
	}()
}

// descriptors are those that came with one call.
type descriptors struct {
	files []*os.File
	// taken are those that options name.
	taken []*importer.Descriptor
}

// take gives the descriptor that a value of the type h stands for.
func (d *descriptors) take(index godbus.UnixFDIndex) (*importer.Descriptor, error) {
	if d == nil || int64(index) >= int64(len(d.files)) || d.files[index] == nil {
		return nil, standardError(errInvalidArgs, "the call brings no descriptor %d that no other option names", index)
	}
	taken, err := importer.NewDescriptor(d.files[index])
	if err != nil {
		return nil, invalidOption("descriptor %d: %w", index, err)
	}
	d.files[index] = nil
	d.taken = append(d.taken, taken)
	return taken, nil
}

// of says whose rights go with the descriptors that have been taken, and returns them.
func (d *descriptors) of(who identity) []*importer.Descriptor {
	for _, taken := range d.taken {
		taken.SetRights(who.rights)
	}
	return d.taken
}

// rightsOf are the rights of a user in the groups that the bus has told. It does not tell which one
// is the user's own, by which new files are marked: the user database does. Where that does not
// know the user, who may be one of a container, any must do.
func rightsOf(uid uint32, groups []uint32) *dirfd.Rights {
	rights := &dirfd.Rights{UID: uid, GID: noGroup, Groups: groups}
	if len(groups) > 0 {
		rights.GID = groups[0]
	}
	account, err := osuser.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return rights
	}
	if gid, err := strconv.ParseUint(account.Gid, 10, 32); err == nil {
		rights.GID = uint32(gid)
	}
	return rights
}

// noGroup is the group of users whose groups nobody knows.
const noGroup = 65534

// hold gives what has been taken to a job.
func (d *descriptors) hold() {
	if d != nil {
		d.taken = nil
	}
}

// close closes all that no job has. It is called when the call has been answered.
func (d *descriptors) close() {
	for _, f := range d.files {
		if f != nil {
			_ = f.Close() // nothing was written
		}
	}
	for _, taken := range d.taken {
		taken.Close()
	}
}
