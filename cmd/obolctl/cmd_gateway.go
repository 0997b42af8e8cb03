package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/gateway"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

func gatewayCommand(p process) *cli.Command {
	serve := &cli.Command{
		Name: "serve", Usage: "run the gateway of one offer",
		Description: "Gateways are started by apply and converge, and by systemd; this is what they start.\n\n" +
			"Under a service manager it says when it answers and when it stops, satisfies the watchdog while it\n" +
			"answers, and keeps its listeners in the descriptor store: nobody is refused while it restarts.\n\n" +
			"Exit codes: 0 told to stop; 1 it cannot run; 78 it is under a tombstone, another holder has its offer, or its\n" +
			"configuration was removed.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "the configuration `FILE` that apply wrote"},
			&cli.StringFlag{Name: "unit", Usage: "the gateway below the state folder that `SITE:NAMESPACE:NAME` means; it logs to the journal too"},
			&cli.IntFlag{Name: "ready-fd", Value: -1, Hidden: true, Usage: "descriptor that is told when the gateway answers"},
		},
		Action: func(c *cli.Context) error {
			config, unit := c.String("config"), c.String("unit")
			if (config == "") == (unit == "") || c.Args().Present() {
				return misuse("say which gateway, and nothing else: --config FILE or --unit SITE:NAMESPACE:NAME")
			}
			if unit == "" {
				return serveGateway(c, p, gateway.Options{Config: config, Log: p.stderr})
			}
			return serveUnit(c, p, unit)
		},
	}
	return &cli.Command{Name: "gateway", Usage: "the gateway itself", Subcommands: []*cli.Command{serve, gatewayEndedCommand(p)}}
}

// serveUnit serves the gateway that a unit is for. What ends it is in the
// journal too.
func serveUnit(c *cli.Context, p process, unit string) error {
	config, err := unitConfig(optionsOf(c, p).stateDir, unit)
	if err != nil {
		return err
	}
	if err := stillWanted(config); err != nil {
		return err
	}
	file, log, err := unitLog(config)
	if err != nil {
		return err
	}
	left := proc.Inherited(c.Context, filepath.Dir(config))
	if err = serveGateway(c, p, gateway.Options{Config: config, Log: file, Journal: log, Inherited: left}); err != nil {
		log.failed(err)
	}
	return err
}

// stillWanted fails for good when a unit outlived its gateway: the folder of the
// site is there, so what is not in it was removed, and does not come yet.
func stillWanted(config string) error {
	site := filepath.Dir(filepath.Dir(filepath.Dir(config)))
	_, err := os.Stat(config)
	if _, siteErr := os.Stat(site); !errors.Is(err, fs.ErrNotExist) || siteErr != nil {
		return nil
	}
	return fmt.Errorf("the gateway was removed, there is no %q: %w", config, gateway.ErrMustNotRun)
}

// unitConfig finds the configuration of a gateway by the instance of its unit.
func unitConfig(stateDir, unit string) (string, error) {
	site, id, ok := resource.ParseInstance(unit)
	if !ok {
		return "", misuse("%q is not SITE:NAMESPACE:NAME", unit)
	}
	for _, name := range []string{site, id.Namespace, id.Name} {
		if err := offer.CheckName(name); err != nil {
			return "", misuse("%q is not SITE:NAMESPACE:NAME: %v", unit, err)
		}
	}
	return filepath.Abs(filepath.Join(stateDir, site, "gateways", id.Namespace+"."+id.Name, resource.ConfigFile))
}

func serveGateway(c *cli.Context, p process, o gateway.Options) error {
	readyFD := c.Int("ready-fd")
	var ready []func()
	if readyFD >= 0 {
		pipe := os.NewFile(uintptr(readyFD), "ready")
		if pipe == nil {
			return misuse("--ready-fd %d is no open descriptor", readyFD)
		}
		ready = append(ready, func() {
			_, _ = pipe.WriteString("READY\n") // who started us may be gone, and is not needed
			_ = pipe.Close()
		})
	}
	m, supervised, err := managerOf(p)
	if err != nil {
		return err
	}
	if supervised {
		if err := m.supervised(&o); err != nil {
			return err
		}
		ready = append(ready, func() { _ = m.tell(daemon.SdNotifyReady) }) // what it is not told of, it ends
		defer m.stopping(c.Context)()
	}
	given, err := inherited(p, readyFD)
	if err != nil {
		return err
	}
	o.Inherited = append(o.Inherited, given...)
	o.Version, o.LookupEnv = version, p.lookupEnv
	o.Ready = func() {
		for _, say := range ready {
			say()
		}
	}
	return gateway.Serve(c.Context, o)
}

func restartCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "restart", Usage: "replace a gateway's process; requests in flight finish", ArgsUsage: "ADDRESS…",
		Description: "Returns when the new process answers.\n\nExample:\n   obolctl restart inference.qwen\n\nExit codes: 0; 1 it did not start: the end of its log is shown; 5 locked.",
		Action: func(c *cli.Context) error {
			w, gateways, err := openGateways(c, p)
			if err != nil {
				return err
			}
			return w.locked(c.Context, "restart", func(*state.Tx) error {
				var errs error
				for _, id := range gateways {
					if err := w.restart(c.Context, id); err != nil {
						errs = errors.Join(errs, err)
					}
				}
				return errs
			})
		},
	}
}

func (w *workspace) restart(ctx context.Context, id resource.ID) error {
	seen, err := w.host.Restart(ctx, id)
	if errors.Is(err, resource.ErrMoved) {
		return fmt.Errorf("the gateway of %s does not run, so there is nothing to replace; to start what should run: %s", w.addressAt(id), view.AtSite("obolctl converge", w.here))
	}
	if err != nil {
		return err
	}
	pid := seen.Gateway.Identity.PID
	w.say("%s runs as process %d.", w.addressAt(id), pid)
	if w.json {
		return w.answer("", map[string]any{"id": id.String(), "pid": pid})
	}
	return nil
}

// openGateways opens the site and finds the gateways of the offers that the
// arguments mean.
func openGateways(c *cli.Context, p process) (*workspace, []resource.ID, error) {
	if !c.Args().Present() {
		return nil, nil, misuse("say which offer")
	}
	w, err := openSite(c, p)
	if err != nil {
		return nil, nil, err
	}
	if err := w.sameHolder(false); err != nil {
		return nil, nil, err
	}
	keys, err := w.targets(c.Args().Slice())
	if err != nil {
		return nil, nil, err
	}
	var ids []resource.ID
	for _, k := range keys {
		if acc := w.accepted(); acc != nil {
			if i := indexOf(acc.Offers, k); i >= 0 && !acc.Offers[i].HasGateway() {
				return nil, nil, fmt.Errorf("%s has no gateway: what it sells runs in the cluster", acc.Offers[i].Address)
			}
		}
		ids = append(ids, gatewayID(k))
	}
	return w, ids, nil
}

func gatewayID(k offer.Key) resource.ID {
	return resource.ID{Kind: resource.GatewayKind, Namespace: k.Namespace, Name: k.Name}
}

func logsCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "logs", Usage: "the log of one gateway", ArgsUsage: "ADDRESS",
		Description: "One JSON object on each line; its end tells why a gateway died that does not run. Here -f is --follow; the offers file is not read.\n\n" +
			"Examples:\n   obolctl logs inference.qwen -n 50\n   obolctl logs inference.qwen -f\n   obolctl logs inference.qwen --previous\n\n" +
			"Exit codes: 0, also when following is interrupted; 1 no log could be read.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until interrupted"},
			&cli.DurationFlag{Name: "since", Usage: "only lines of the last `DURATION`"},
			&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Usage: "only the last `N` lines"},
			&cli.BoolFlag{Name: "previous", Usage: "of the process before the last one: why did that die?"},
		},
		Action: func(c *cli.Context) error {
			w, ids, err := openGateways(c, p)
			if err != nil {
				return err
			}
			if len(ids) != 1 {
				return misuse("logs shows one gateway; this means %d", len(ids))
			}
			if c.Int("lines") < 0 {
				return misuse("--lines is not negative")
			}
			o := proc.LogOptions{Follow: c.Bool("follow"), Lines: c.Int("lines"), Previous: c.Bool("previous")}
			if since := c.Duration("since"); since > 0 {
				o.Since = time.Now().Add(-since)
			}
			return w.host.Logs(c.Context, ids[0], o, p.stdout)
		},
	}
}
