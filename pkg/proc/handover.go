package proc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/resource"
)

// maxHanded is how many listeners are taken over at most.
const maxHanded = 64

// An inheritance is what one gateway leaves to the next: its listeners, held open
// so that what connects in between waits and is not refused. The zero value is
// none.
type inheritance struct {
	addrs []netip.AddrPort
	files []*os.File // in the same order
}

func (in *inheritance) close() {
	for _, f := range in.files {
		_ = f.Close() // a copy: nothing can be lost
	}
	in.addrs, in.files = nil, nil
}

// only gives up what is not wanted: it may be in the way of what is.
func (in *inheritance) only(want []netip.AddrPort) {
	var kept inheritance
	for i, f := range in.files {
		if at := kernel.Local(in.addrs[i]); slices.ContainsFunc(want, func(a netip.AddrPort) bool { return kernel.Local(a) == at }) {
			kept.addrs, kept.files = append(kept.addrs, in.addrs[i]), append(kept.files, f)
			continue
		}
		_ = f.Close() // a copy: nothing can be lost
	}
	*in = kept
}

// environ tells the process that inherits what it has, as sd_listen_fds(3) does.
// For which process it is nobody knows yet.
func (in *inheritance) environ() []string {
	if len(in.files) == 0 {
		return nil
	}
	var names []string
	for _, at := range in.addrs {
		names = append(names, strings.ReplaceAll(at.String(), ":", "_"))
	}
	return []string{fmt.Sprintf("LISTEN_FDS=%d", len(in.files)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}
}

// inherit takes copies of a gateway's listeners over at its admin socket. The
// gateway goes on accepting until it is told to stop. One that does not answer,
// does not know how to hand over, or fails to, leaves nothing: it is replaced all
// the same.
func (c *Config) inherit(ctx context.Context, id resource.ID, old resource.Running) inheritance {
	if !old.Answering {
		return inheritance{}
	}
	in, err := takeOver(ctx, c.folder(id), resource.SocketFile)
	if err != nil {
		in.close()
	}
	return in
}

// Inherited gives the listeners that a supervisor holds for the process which
// systemd starts as the gateway of a folder, since nothing can be passed to that
// on its way. There are none unless a detached gateway was there before, and
// whatever goes wrong: the process then binds what it wants.
func Inherited(ctx context.Context, folder string) []net.Listener {
	in, err := takeOver(ctx, folder, resource.HeirSocket)
	defer in.close()
	if err != nil {
		return nil
	}
	var out []net.Listener
	for _, f := range in.files {
		if l, err := net.FileListener(f); err == nil {
			out = append(out, l)
		}
	}
	return out
}

// await keeps the listeners at a socket in the folder, for the one process that
// asks, until told to stop. Once that has them, ours are closed.
func (in *inheritance) await(ctx context.Context, folder string) (stop func(), err error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, fmt.Errorf("cannot hand listeners over: %v", err)
	}
	name := through(dir, resource.HeirSocket)
	_ = os.Remove(name) // of a run that was killed
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot hand listeners over: %v", err), dir.Close())
	}
	var asked sync.WaitGroup
	asked.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return // told to stop
		}
		_ = l.Close()                     // which removes it: nobody else waits in vain
		_ = in.send(conn.(*net.UnixConn)) // who is not given any binds them
		_ = conn.Close()
		in.close()
	})
	return func() {
		_ = l.Close() // if nobody asked
		asked.Wait()
		in.close()
		_ = dir.Close() // read only: nothing can be lost
	}, nil
}

// send answers one request as a gateway does.
func (in *inheritance) send(conn *net.UnixConn) error {
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return err
	}
	line, err := json.Marshal(map[string]any{"listeners": in.addrs})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: listeners\r\n\r\n"); err != nil {
		return err
	}
	var fds []int
	for _, f := range in.files {
		fds = append(fds, int(f.Fd()))
	}
	_, _, err = conn.WriteMsgUnix(append(line, '\n'), unix.UnixRights(fds...), nil)
	return err
}

func takeOver(ctx context.Context, folder, socket string) (in inheritance, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	conn, err := dialIn(ctx, folder, socket)
	if err != nil {
		return in, err
	}
	defer func() { _ = conn.Close() }() // what counts was read
	undo := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer undo()
	if _, err := io.WriteString(conn, "POST /handover HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: listeners\r\n\r\n"); err != nil {
		return in, err
	}
	text, files, err := receive(conn)
	in.files = files
	if err != nil {
		return in, err
	}
	reader := bufio.NewReader(bytes.NewReader(text))
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return in, err
	}
	if err := answer.Body.Close(); err != nil {
		return in, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return in, errors.New(answer.Status)
	}
	var said struct {
		Listeners []netip.AddrPort `json:"listeners"`
	}
	if err := json.NewDecoder(reader).Decode(&said); err != nil {
		return in, err
	}
	if in.addrs = said.Listeners; len(in.addrs) != len(in.files) {
		return in, fmt.Errorf("%d descriptors came for %d addresses", len(in.files), len(in.addrs))
	}
	return in, nil
}

// receive reads until the other end closes, and takes the descriptors that came
// with what it read.
func receive(conn *net.UnixConn) (text []byte, files []*os.File, err error) {
	buf, rights := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*maxHanded))
	for {
		n, nr, _, _, err := conn.ReadMsgUnix(buf, rights)
		text = append(text, buf[:max(n, 0)]...) // -1 with an error
		got, rightsErr := descriptors(rights[:nr])
		files = append(files, got...)
		switch {
		case n == 0 && (err == nil || errors.Is(err, io.EOF)):
			return text, files, nil
		case err != nil || rightsErr != nil:
			return text, files, errors.Join(err, rightsErr)
		case len(text) > 1<<20:
			return text, files, errors.New("the answer does not end")
		}
	}
}

// descriptors gives those that a control message carries.
func descriptors(control []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "listener"))
		}
	}
	return files, nil
}
