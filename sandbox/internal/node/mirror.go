package node

import (
	"context"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/controller/endpointslicemirroring"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// The mirroring controller's settings in a cluster as Kubernetes ships it.
const (
	mirrorWorkers   = 5
	maxPerSubset    = 1000
	noBatchingDelay = 0
)

// addMirror runs Kubernetes' own mirroring controller. It is written for client-go's
// informers, so it has three of its own.
func addMirror(mgr manager.Manager) error {
	client, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		shared := informers.NewSharedInformerFactory(client, 0)
		mirroring := endpointslicemirroring.NewController(ctx, shared.Core().V1().Endpoints(),
			shared.Discovery().V1().EndpointSlices(), shared.Core().V1().Services(),
			maxPerSubset, client, noBatchingDelay)
		shared.Start(ctx.Done())
		defer shared.Shutdown()
		mirroring.Run(ctx, mirrorWorkers)
		return nil
	}))
}
