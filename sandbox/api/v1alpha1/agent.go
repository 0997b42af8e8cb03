package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Agent declares an agent that the stack runs in a namespace of its own.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=ag,scope=Namespaced
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Runtime",type=string,JSONPath=`.spec.runtime`
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.pinnedModel`
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.status.walletAddress`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Agent struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AgentSpec   `json:"spec,omitempty"`
	Status AgentStatus `json:"status,omitempty"`
}

// AgentSpec is what the operator wants.
type AgentSpec struct {
	// +kubebuilder:validation:Enum=hermes
	// +kubebuilder:default=hermes
	Runtime string `json:"runtime,omitempty"`

	// Model is the model to pin; empty leaves the choice to the controller.
	// +kubebuilder:validation:MaxLength=256
	Model string `json:"model,omitempty"`

	// ModelProvider is empty or custom for the stack's own LiteLLM.
	// +kubebuilder:validation:MaxLength=64
	ModelProvider string `json:"modelProvider,omitempty"`

	// +kubebuilder:validation:MaxItems=64
	Skills []Skill `json:"skills,omitempty"`

	// +kubebuilder:validation:MaxLength=4096
	Objective string `json:"objective,omitempty"`

	// +kubebuilder:validation:MaxItems=32
	MCPServers []MCPServer `json:"mcpServers,omitempty"`

	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +kubebuilder:default=30
	MaxTurns int64 `json:"maxTurns,omitempty"`

	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:default={memory,web}
	DisabledToolsets []string `json:"disabledToolsets,omitempty"`

	Wallet *Wallet `json:"wallet,omitempty"`
}

// Skill names a skill that the agent starts with.
//
// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9-]*$`
// +kubebuilder:validation:MaxLength=64
type Skill string

// MCPServer is a tool server that the agent starts.
type MCPServer struct {
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`
	Name    string `json:"name"`
	Command string `json:"command,omitempty"`
	// +kubebuilder:validation:MaxItems=64
	Args []string `json:"args,omitempty"`
	// +kubebuilder:validation:MaxProperties=64
	Env map[string]string `json:"env,omitempty"`
	// Timeout is in seconds.
	// +kubebuilder:validation:Minimum=1
	Timeout int64 `json:"timeout,omitempty"`
}

// Wallet says whether the agent has a key of its own.
type Wallet struct {
	// +kubebuilder:default=false
	Create bool `json:"create,omitempty"`
}

// AgentStatus is what the controller saw.
type AgentStatus struct {
	// +kubebuilder:validation:Enum=Pending;Provisioning;Ready;Failed
	Phase              string      `json:"phase,omitempty"`
	PinnedModel        string      `json:"pinnedModel,omitempty"`
	ObservedGeneration int64       `json:"observedGeneration,omitempty"`
	Conditions         []Condition `json:"conditions,omitempty"`

	// Endpoint is the agent's URL inside the cluster.
	Endpoint string `json:"endpoint,omitempty"`

	// WalletAddress is set only when spec.wallet.create is.
	// +kubebuilder:validation:Pattern=`^(0x[0-9a-fA-F]{40})?$`
	WalletAddress string `json:"walletAddress,omitempty"`
}

// AgentList is a list of agents.
//
// +kubebuilder:object:root=true
type AgentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Agent `json:"items"`
}
