// Package stack is the process that stands for what a real cluster runs for
// offers: a manager with the node and the stack's controller, and the edge.
package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/address"
	"github.com/obolctl/obolctl/sandbox/internal/controller"
	"github.com/obolctl/obolctl/sandbox/internal/edge"
	"github.com/obolctl/obolctl/sandbox/internal/node"
)

// Options say how [Run] runs a stack.
type Options struct {
	API         *rest.Config
	Port        int    // of the edge on 127.0.0.1
	Facilitator string // URL
	Dir         string // of the edge's ledger; made when missing
	Reprobe     bool   // the controller asks the upstreams of Ready offers again and again
	Log         *slog.Logger
}

// Pods is the range of the sandbox's addresses.
func (o Options) Pods() address.Range { return address.For(o.Port) }

// Client makes a client that knows Kubernetes' own kinds and the stack's, and
// reads nothing from a cache.
func (o Options) Client() (client.Client, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	return client.New(o.API, client.Options{Scheme: scheme})
}

// URL is where the edge answers buyers.
func (o Options) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", o.Port) }

// shutdown is how long requests and reconciles may take to end.
const shutdown = 5 * time.Second

// Run serves a stack until ctx is done. It calls ready once, when the controller
// and the edge are at work, and the cluster says so.
func Run(ctx context.Context, o Options, ready func() error) error {
	klog.SetSlogLogger(o.Log)
	ctrl.SetLogger(logr.FromSlogHandler(o.Log.Handler()))
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", o.Port))
	if err != nil {
		return fmt.Errorf("cannot start the edge: %w", err)
	}
	defer listener.Close()
	c, err := o.Client()
	if err != nil {
		return err
	}
	if err := prepare(ctx, c, o.URL()); err != nil {
		return err
	}
	mgr, err := newManager(o.API)
	if err != nil {
		return err
	}
	site, err := open(ctx, mgr, o)
	if err != nil {
		return err
	}
	return serve(ctx, mgr, listener, site, ready)
}

// serve runs the manager and the edge until ctx is done, or until one of them
// fails. It calls ready once the site was published.
func serve(ctx context.Context, mgr manager.Manager, listener net.Listener, site *site, ready func() error) (err error) {
	managed, stop := context.WithCancel(context.WithoutCancel(ctx))
	web := &http.Server{Handler: site.edge, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 2)
	var work sync.WaitGroup
	work.Go(func() { ended <- mgr.Start(managed) })
	work.Go(func() { ended <- web.Serve(listener) })
	defer func() { // the web first: what it serves comes from the cluster; the edge last, to which the manager publishes
		brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
		defer cancel()
		if web.Shutdown(brief) != nil {
			err = errors.Join(err, web.Close())
		}
		stop()
		work.Wait()
		err = errors.Join(err, site.edge.Close())
	}()
	published := site.first
	for {
		select {
		case <-published:
			if err := ready(); err != nil {
				return err
			}
			published = nil
		case err := <-ended:
			return fmt.Errorf("the stack failed: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

// open makes the edge, and lets the manager do the rest.
func open(ctx context.Context, mgr manager.Manager, o Options) (*site, error) {
	if err := node.Add(mgr, o.Pods()); err != nil {
		return nil, err
	}
	dialer := node.NewDialer(mgr.GetClient(), o.Pods())
	shop, err := edge.New(ctx, edge.Options{
		Reader: mgr.GetClient(), Dial: dialer.DialContext,
		Facilitator: o.Facilitator, Ledger: filepath.Join(o.Dir, "ledger"), Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	site := &site{mgr.GetClient(), shop, o.URL(), make(chan struct{})}
	err = controller.Add(mgr, controller.Options{
		Client: &http.Client{
			Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
			Timeout:   probeLimit,
		},
		Reprobe: o.Reprobe,
		Publish: site.publish,
	})
	if err != nil {
		return nil, errors.Join(err, shop.Close())
	}
	return site, nil
}

// probeLimit is how long the stack's client waits for an upstream's health; its
// controller gives up earlier.
const probeLimit = 3 * time.Second

// newManager makes a manager that serves nothing and elects nobody.
func newManager(api *rest.Config) (manager.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	return manager.New(api, manager.Options{
		Scheme:                  scheme,
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		GracefulShutdownTimeout: new(shutdown),
	})
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}
