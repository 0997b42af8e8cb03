// Package server is the two programs that the sandbox runs as processes of
// their own, etcd and kube-apiserver, built from their Go modules.
package server

import (
	"context"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the metrics of a stock kube-apiserver
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// APIServer runs kube-apiserver with its own flags until a signal stops it, and
// returns its exit code.
func APIServer(args []string) (int, error) {
	if err := setVersion(); err != nil {
		return 1, err
	}
	command := app.NewAPIServerCommand()
	command.SetArgs(args)
	return cli.Run(command), nil
}

// Etcd runs a cluster of one member that keeps its data in dir and listens for
// clients on 127.0.0.1 at port, until ctx is done. It calls ready once, when
// the member serves.
func Etcd(ctx context.Context, dir string, port int, ready func() error) error {
	wal.SegmentSizeBytes = walBytes
	e, err := embed.StartEtcd(etcdConfig(dir, port))
	if err != nil {
		return fmt.Errorf("cannot start etcd: %w", err)
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case <-e.Server.StopNotify():
		return fmt.Errorf("cannot start etcd: it stopped before it was ready")
	case <-ctx.Done():
		return nil
	}
	if err := ready(); err != nil {
		return err
	}
	select {
	case err := <-e.Err():
		return fmt.Errorf("etcd failed: %w", err)
	case <-ctx.Done():
		return nil
	}
}

// walBytes is how much disk etcd takes at once, twice at the start. Its own 64
// MB are too much for a sandbox: tests run several.
const walBytes = 4 << 20

func etcdConfig(dir string, port int) *embed.Config {
	client := url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	// No peer will ever call; any free port will do.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}

	cfg := embed.NewConfig()
	cfg.Name = "sandbox"
	cfg.Dir = dir
	cfg.ListenClientUrls = []url.URL{client}
	cfg.AdvertiseClientUrls = []url.URL{client}
	cfg.ListenPeerUrls = []url.URL{peer}
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.LogLevel = "warn"
	// What is written survives the death of the process, and a sandbox need not
	// survive the loss of power.
	cfg.UnsafeNoFsync = true
	// A member alone wins every election: it need not wait a second for it.
	cfg.TickMs = 20
	cfg.ElectionMs = 200
	return cfg
}
