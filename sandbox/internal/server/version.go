package server

import (
	"fmt"
	"runtime/debug"
	_ "unsafe" // for go:linkname

	"k8s.io/component-base/version"
)

// gitVersion is what kube-apiserver calls itself. Its release sets it with
// -ldflags -X; linked here, a plain go build says the truth too.
//
//go:linkname gitVersion k8s.io/component-base/version.gitVersion
var gitVersion string

func setVersion() error {
	v, err := KubernetesVersion()
	if err != nil {
		return err
	}
	gitVersion = v
	if err := version.SetDynamicVersion(v); err != nil {
		return fmt.Errorf("cannot set the version of kube-apiserver: %w", err)
	}
	return nil
}

// KubernetesVersion is the version of the module that kube-apiserver was built
// from, such as v1.37.2.
func KubernetesVersion() (string, error) { return moduleVersion("k8s.io/kubernetes") }

// EtcdVersion is the version of the module that etcd was built from.
func EtcdVersion() (string, error) { return moduleVersion("go.etcd.io/etcd/server/v3") }

func moduleVersion(path string) (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", fmt.Errorf("cannot read the build information of this program")
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version, nil
		}
	}
	return "", fmt.Errorf("cannot find module %q in the build information", path)
}
