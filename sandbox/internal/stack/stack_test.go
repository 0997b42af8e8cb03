package stack

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/sandbox/internal/edge"
)

// newSite is a site of an empty cluster. While refuse says why, nothing can be
// written.
func newSite(t *testing.T, books string, refuse *error) *site {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			if *refuse != nil {
				return *refuse
			}
			return c.Apply(ctx, o, opts...)
		},
	})
	shop, err := edge.New(t.Context(), edge.Options{
		Reader: c, Dial: new(net.Dialer).DialContext, Ledger: books, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &site{c, shop, "http://127.0.0.1:8080", make(chan struct{})}
}

// TestReadyWithACatalog: the stack is not said to be ready before there is one.
func TestReadyWithACatalog(t *testing.T) {
	t.Parallel()
	refuse := errors.New("the API server is not there yet")
	s := newSite(t, t.TempDir(), &refuse)
	defer s.edge.Close()
	published := func() bool {
		select {
		case <-s.first:
			return true
		default:
			return false
		}
	}
	if err := s.publish(t.Context(), nil); !errors.Is(err, refuse) || published() {
		t.Errorf("without a catalog: %v, published %v", err, published())
	}
	refuse = nil
	for range 2 {
		if err := s.publish(t.Context(), nil); err != nil || !published() {
			t.Errorf("with one: %v, published %v", err, published())
		}
	}
}

// managed is a manager that does one last thing when it is told to stop.
type managed struct {
	manager.Manager
	last func()
}

func (m *managed) Start(ctx context.Context) error {
	<-ctx.Done()
	m.last()
	return nil
}

// TestEdgeOutlivesTheManager, which may publish as long as it runs.
func TestEdgeOutlivesTheManager(t *testing.T) {
	t.Parallel()
	books := t.TempDir()
	s := newSite(t, books, new(error))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	err = serve(ctx, &managed{last: func() {
		if l, err := ledger.Open(books, time.Now()); err == nil { // nobody has it any more
			t.Error("the edge was closed while the manager ran")
			_ = l.Close()
		}
	}}, listener, s, func() error { return nil })
	if err != nil {
		t.Error(err)
	}
}
