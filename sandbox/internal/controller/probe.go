package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// probeLimit is how long an upstream has for its answer.
const probeLimit = 2 * time.Second

var errNoService = errors.New("spec.upstream.service is empty")

// What an agent's offer gets as its upstream.
const (
	agentPort   = 8642
	agentHealth = "/health"
)

// healthURL is where the offer's upstream says that it is well; [errNoService]
// when the offer names no Service.
func healthURL(o *v1alpha1.ServiceOffer) (string, error) {
	if o.Spec.Type == "agent" {
		return agentURL(o.Namespace) + agentHealth, nil
	}
	up := o.Spec.Upstream
	if up == nil || up.Service == "" {
		return "", errNoService
	}
	return fmt.Sprintf("http://%s.%s.svc.cluster.local:%d%s",
		up.Service, cmp.Or(up.Namespace, o.Namespace), up.Port, cmp.Or(up.HealthPath, "/")), nil
}

func agentURL(namespace string) string {
	return fmt.Sprintf("http://%s.%s.svc.cluster.local:%d", selling.AgentService, namespace, agentPort)
}

// probe asks the offer's upstream once. Only an answer of 2xx is no error.
func probe(ctx context.Context, client *http.Client, o *v1alpha1.ServiceOffer) error {
	url, err := healthURL(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
