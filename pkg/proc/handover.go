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
	"time"

	"golang.org/x/sys/unix"
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
		if at := local(in.addrs[i]); slices.ContainsFunc(want, func(a netip.AddrPort) bool { return local(a) == at }) {
			kept.addrs, kept.files = append(kept.addrs, in.addrs[i]), append(kept.files, f)
			continue
		}
		_ = f.Close() // a copy: nothing can be lost
	}
	*in = kept
}

// missing lists the wanted addresses that are not inherited.
func (in *inheritance) missing(want []netip.AddrPort) []netip.AddrPort {
	return slices.DeleteFunc(want, func(a netip.AddrPort) bool {
		return slices.ContainsFunc(in.addrs, func(at netip.AddrPort) bool { return local(at) == local(a) })
	})
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

// local is an address as sockets say it that are bound there: Go binds both
// wildcards as the one that takes connections of both families.
func local(a netip.AddrPort) netip.AddrPort {
	if a.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// inherit takes copies of a gateway's listeners over at its admin socket. The
// gateway goes on accepting until it is told to stop. One that does not know how
// to hand over leaves nothing, as does one that fails to: it is replaced all the
// same.
func inherit(ctx context.Context, folder string) inheritance {
	in, err := takeOver(ctx, folder)
	if err != nil {
		in.close()
	}
	return in
}

func takeOver(ctx context.Context, folder string) (in inheritance, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	conn, err := dialGateway(ctx, folder)
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
		text = append(text, buf[:n]...)
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
