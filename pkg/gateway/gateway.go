// Package gateway is the data plane: the reverse proxy between those who may
// ask and the upstream of one offer. It is started from a configuration file
// and never from flags, says what it is at an admin socket beside that file,
// and knows nothing of clusters. A gateway whose offer the cluster charges for
// passes requests of the cluster on; a standalone one charges itself, and passes
// on only what is paid for or free.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/resource"
)

// ErrMustNotRun means that the marks of the site forbid this gateway: its
// offer is under a tombstone, or another holder runs it. Starting it again
// does not help; the process ends with status 78.
var ErrMustNotRun = errors.New("must not run")

// defaultGrace is how long requests in flight may take when a gateway is told
// to stop.
const defaultGrace = 30 * time.Second

// defaultStall is how long a client may send nothing of a body that it began:
// what its request holds, others wait for.
const defaultStall = 30 * time.Second

// Options are what one gateway is told by the process it runs in.
type Options struct {
	Config  string // path of the configuration; all other files of the gateway are in its folder
	Version string // of this executable

	// Log gets JSON lines. When it is the file gateway.log of the folder, it
	// is kept from growing: at 10 MB it becomes gateway.log.1.
	Log io.Writer

	// Journal gets the same lines, each by one call of Write; nil: nothing does.
	Journal io.Writer

	// Inherited are listeners that an earlier process bound. Those at addresses
	// that the configuration wants are served, as if they had been bound here; the
	// others are closed. All of them are closed when Serve returns.
	Inherited []net.Listener
	Store     Store // keeps listeners for the next process; nil: nothing does

	LookupEnv func(string) (string, bool) // for secrets that name a variable; nil: none is set
	Ready     func()                      // called once, when the gateway answers; may be nil
	Watchdog  time.Duration               // how often Alive is called; 0: never
	Alive     func()                      // called only while the gateway answers at its own admin socket
	Grace     time.Duration               // 0: defaultGrace
	Stall     time.Duration               // 0: defaultStall
}

// A server is one gateway.
type server struct {
	Options
	path    string   // of the folder
	dir     *os.File // the folder: unix paths end at 107 bytes, so sockets are named through it
	lock    *os.File
	log     *slog.Logger
	public  *http.Server
	failed  chan error // a listener that broke, or marks that forbid going on
	healths sync.WaitGroup

	accepting  sync.WaitGroup // the listeners that are served
	unanswered unanswered

	metrics *prometheus.Registry
	ledger  *ledger.Ledger // nil until the offer is standalone
	till    *charge.Till   // likewise
	debts   sync.WaitGroup

	front    atomic.Pointer[plane]
	inFlight atomic.Int64 // requests in our hands, upgraded connections included
	passing  atomic.Int64 // those of them that are with the upstream
	draining atomic.Bool
	pathSeen atomic.Int64    // Unix time in nanoseconds; 0: never
	counts   [6]atomic.Int64 // answers by the first digit of their status
	panics   atomic.Int64
	denials  atomic.Int64 // Unix time in nanoseconds of the last one that was logged
	streams  connections  // that were taken over

	mu      sync.Mutex // held by a reload, and by whoever reads what follows
	record  resource.Record
	written bool                            // is the record
	sockets map[netip.AddrPort]net.Listener // by configured address
}

// Serve runs the gateway until ctx is done, finishes the requests in flight,
// and returns nil. Its error wraps [ErrMustNotRun] when the gateway has to stay
// stopped.
func Serve(ctx context.Context, o Options) (err error) {
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more ends no sale
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Stall == 0 {
		o.Stall = defaultStall
	}
	if o.LookupEnv == nil {
		o.LookupEnv = func(string) (string, bool) { return "", false }
	}
	defer func() {
		for _, l := range o.Inherited {
			_ = l.Close() // most are closed already
		}
	}()
	s, err := open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.enter(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.leave(err)) }()
	s.log.InfoContext(ctx, "starting", "instance", s.record.Instance, "pid", s.record.PID, "version", o.Version)

	ctx, cancel := context.WithCancel(ctx)
	defer func() { err = errors.Join(err, s.closeLedger()) }()
	defer s.healths.Wait()
	defer cancel()
	admin, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAdmin(context.WithoutCancel(ctx), admin)) }()
	if o.Ready != nil {
		o.Ready()
	}
	defer s.attest(context.WithoutCancel(ctx))()
	select {
	case <-ctx.Done():
	case err = <-s.failed:
		s.log.WarnContext(ctx, "stopping", "why", err.Error())
	}
	return errors.Join(err, s.finish(context.WithoutCancel(ctx)))
}

// open takes the folder and its lock, so that no other gateway runs there.
func open(o Options) (*server, error) {
	path, err := filepath.Abs(filepath.Dir(o.Config))
	if err != nil {
		return nil, fmt.Errorf("cannot find the folder of %q: %v", o.Config, err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the gateway's folder: %v", err)
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	s := &server{
		Options: o, path: path, dir: dir, lock: lock,
		failed:  make(chan error, 1),
		sockets: map[netip.AddrPort]net.Listener{},
		metrics: prometheus.NewRegistry(),

		unanswered: unanswered{all: map[net.Conn]bool{}},
	}
	s.metrics.MustRegister(collector{s})
	out := bounded(o.Log, filepath.Join(path, resource.LogFile))
	if o.Journal != nil {
		out = io.MultiWriter(o.Journal, out)
	}
	s.log = slog.New(slog.NewJSONHandler(out, nil))
	s.public = &http.Server{
		Handler:           s,
		Protocols:         protocols(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         s.unanswered.note,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

func (s *server) close() error { return errors.Join(s.lock.Close(), s.dir.Close()) }

// start loads the configuration, leaves the record, and listens, in this
// order: a gateway that can be reached can be found too, unless the disk is full.
func (s *server) start(ctx context.Context) (*http.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.load(ctx, nil)
	if err == nil {
		err = s.openLedger(ctx, p.cfg)
	}
	if err != nil {
		return nil, err
	}
	s.record.Digest = p.digest
	if err := s.writeRecord(); err != nil { // nobody needs it who buys, and who looks finds the process by its socket
		s.log.WarnContext(ctx, "the record is not written until there is room for it", "error", err.Error())
	}
	fresh := s.inherit(ctx, p.wants())
	if err := s.bind(ctx, p.wants(), fresh); err != nil {
		return nil, err
	}
	admin, err := s.listenAdmin(ctx)
	if err != nil {
		return nil, errors.Join(err, closeAll(fresh))
	}
	s.front.Store(p)
	s.watch(ctx, p)
	s.collectDebts(ctx)
	s.accept(ctx, fresh)
	s.log.InfoContext(ctx, "answering", "offer", p.cfg.Address.String(), "listen", s.listening(), "digest", p.digest)
	return admin, nil
}

// reload puts the configuration file in force, or leaves all as it is and says
// why. New listeners are bound before old ones are closed.
func (s *server) reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.front.Load()
	p, err := s.load(ctx, old)
	if errors.Is(err, ErrMustNotRun) {
		s.fail(err)
	}
	charging := s.till != nil
	if err == nil {
		err = s.openLedger(ctx, p.cfg)
	}
	if err != nil {
		return err
	}
	fresh := map[netip.AddrPort]net.Listener{}
	if err := s.bind(ctx, p.wants(), fresh); err != nil {
		return err
	}
	before := s.record.Digest
	s.record.Digest = p.digest
	if err := s.writeRecord(); err != nil {
		s.record.Digest = before
		return errors.Join(err, closeAll(fresh))
	}
	s.front.Store(p)
	if !charging {
		s.collectDebts(ctx)
	}
	s.accept(ctx, fresh)
	s.dismiss(ctx, p.wants())
	if p.health != old.health {
		old.health.stop()
		s.watch(ctx, p)
	}
	old.transport.CloseIdleConnections()
	s.log.InfoContext(ctx, "reloaded", "listen", s.listening(), "digest", p.digest)
	return nil
}

// watch keeps asking the upstream of p until the plane is replaced or ctx is
// done.
func (s *server) watch(ctx context.Context, p *plane) {
	ctx, p.health.stop = context.WithCancel(ctx)
	s.healths.Go(func() { p.health.run(ctx) })
}

// fail makes Serve end with err.
func (s *server) fail(err error) {
	select {
	case s.failed <- err:
	default: // it is ending already
	}
}

// lastWords is how long requests may take to end that were cut off, so that the
// ledger learns of it.
const lastWords = 2 * time.Second

// firstWords is how long a client may take to send its request that connected
// just before this gateway was told to stop: as long as [http.Server.Shutdown]
// waits for one that is silent. What comes when that has begun is dropped
// without an answer.
const firstWords = 5 * time.Second

// finish stops accepting and waits for the requests in flight, upgraded
// connections too, but not longer than the grace.
func (s *server) finish(ctx context.Context) error {
	patience, cancel := context.WithTimeout(ctx, s.Grace)
	defer cancel()
	err := s.stopAccepting()
	s.public.SetKeepAlivesEnabled(false)
	begun, cancel := context.WithTimeout(patience, firstWords)
	defer cancel()
	_ = until(begun, s.unanswered.none) // who is left then is answered, or has not said a word
	err = errors.Join(err, s.public.Shutdown(patience))
	if err == nil {
		err = s.quiet(patience)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.WarnContext(ctx, "requests were cut off", "count", s.inFlight.Load(), "grace", s.Grace.String())
		s.streams.close()
		err = s.public.Close()
		end, cancel := context.WithTimeout(ctx, lastWords)
		defer cancel()
		_ = s.quiet(end) // whoever is left then is left
	}
	if err != nil {
		return fmt.Errorf("cannot stop cleanly: %v", err)
	}
	s.log.InfoContext(ctx, "stopped")
	return nil
}

// quiet waits until no request is in our hands.
func (s *server) quiet(ctx context.Context) error {
	return until(ctx, func() bool { return s.inFlight.Load() == 0 })
}

// until waits for something to become true.
func until(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
