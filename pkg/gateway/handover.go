package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// handoverProtocol is what a client of /handover asks to be upgraded to.
const handoverProtocol = "listeners"

// handover gives copies of all listeners to who asks, for the process that comes
// after this one: what connects while neither runs waits in the kernel. After
// the answer 101 there is one message, a line of JSON with the addresses, and
// with it the descriptors in the same order. A client has to read all of it by
// recvmsg: a plain read loses descriptors. This gateway goes on accepting until
// it is told to stop.
func (s *server) handover(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), handoverProtocol) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", handoverProtocol)
		refuse(w, http.StatusUpgradeRequired, "upgrade_required", "descriptors are handed over to who asks for Upgrade: "+handoverProtocol)
		return
	}
	line, fds, err := s.copies()
	defer closeDescriptors(fds)
	if err != nil {
		s.log.ErrorContext(r.Context(), "cannot hand over", "error", err.Error())
		refuse(w, http.StatusConflict, "not_handed_over", err.Error())
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		err = errors.Join(send(conn, line, fds), conn.Close())
	}
	if err != nil {
		s.log.ErrorContext(r.Context(), "cannot hand over", "error", err.Error())
		return
	}
	s.log.InfoContext(r.Context(), "handed over", "listeners", len(fds))
}

// send writes the answer and what follows it.
func send(conn net.Conn, line []byte, fds []int) error {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("no descriptor goes over %s", conn.LocalAddr().Network())
	}
	const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + handoverProtocol + "\r\n\r\n"
	if _, err := socket.Write([]byte(head)); err != nil {
		return err
	}
	_, _, err := socket.WriteMsgUnix(line, unix.UnixRights(fds...), nil)
	return err
}

// copies gives a copy of the descriptor of each listener, and the line that
// names their addresses in the same order. The copies are there to be closed
// also when there is an error.
func (s *server) copies() (line []byte, fds []int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var said struct {
		Listeners []string `json:"listeners"`
	}
	for _, l := range s.listeners() {
		fd, err := duplicate(l)
		if err != nil {
			return nil, fds, fmt.Errorf("cannot copy the listener at %s: %v", l.Addr(), err)
		}
		fds = append(fds, fd)
		said.Listeners = append(said.Listeners, l.Addr().String())
	}
	if line, err = json.Marshal(said); err != nil {
		return nil, fds, fmt.Errorf("cannot name the listeners: %v", err)
	}
	return append(line, '\n'), fds, nil
}

// listeners gives those that are served, in the order of their addresses. The
// caller holds mu.
func (s *server) listeners() []net.Listener {
	out := make([]net.Listener, 0, len(s.sockets))
	for _, l := range s.sockets {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b net.Listener) int { return strings.Compare(a.Addr().String(), b.Addr().String()) })
	return out
}

// duplicate gives a descriptor of the same socket, which no child inherits.
func duplicate(l net.Listener) (fd int, err error) {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("it has no descriptor")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	if controlErr := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) }); controlErr != nil {
		return 0, controlErr
	}
	return fd, err
}

func closeDescriptors(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // a copy: nothing can be lost
	}
}
