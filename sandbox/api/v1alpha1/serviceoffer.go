package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServiceOffer declares something that is sold by the request.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=so,scope=Namespaced
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.spec.model.name`
// +kubebuilder:printcolumn:name="Price",type=string,JSONPath=`.spec.payment.price.perRequest`
// +kubebuilder:printcolumn:name="Network",type=string,JSONPath=`.spec.payment.network`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ServiceOffer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ServiceOfferSpec   `json:"spec,omitempty"`
	Status ServiceOfferStatus `json:"status,omitempty"`
}

// ServiceOfferSpec is what the seller wants.
type ServiceOfferSpec struct {
	// Type is the kind of offer.
	// +kubebuilder:validation:Enum=inference;fine-tuning;http;agent
	// +kubebuilder:default=http
	Type string `json:"type,omitempty"`

	// Agent names the agent that is sold, for type agent.
	Agent *AgentSource `json:"agent,omitempty"`

	// Model is the model that is sold, for type inference.
	Model *Model `json:"model,omitempty"`

	// Upstream is the Service that does the work.
	Upstream *Upstream `json:"upstream,omitempty"`

	// Payment is the primary way to pay.
	Payment Payment `json:"payment"`

	// Payments lists every way to pay; the first must equal payment.
	Payments []Payment `json:"payments,omitempty"`

	// Listing places the offer in the storefront.
	Listing *Listing `json:"listing,omitempty"`

	// Routes says which paths are served, and at which gate. Empty means one
	// paid route for everything; one entry makes the list exhaustive.
	// +kubebuilder:validation:MaxItems=128
	Routes []Route `json:"routes,omitempty"`

	// Path is the public path prefix; /services/<name> when empty.
	// +kubebuilder:validation:Pattern=`^/[a-zA-Z0-9/_.-]*$`
	Path string `json:"path,omitempty"`

	// Hostname is a public origin of the offer's own.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`
	Hostname string `json:"hostname,omitempty"`

	// Branding dresses the page of an offer that has a hostname.
	Branding *Branding `json:"branding,omitempty"`

	// Provenance tells how the model or service came about.
	Provenance map[string]string `json:"provenance,omitempty"`

	// Registration asks for an ERC-8004 registration, and fills its document.
	Registration *Registration `json:"registration,omitempty"`

	// Async sends paid calls through the job broker.
	Async *Async `json:"async,omitempty"`

	// Limits caps the load on the upstream.
	Limits *Limits `json:"limits,omitempty"`

	// DrainAt marks the offer as draining when set, even to a time to come.
	// +nullable
	DrainAt *metav1.Time `json:"drainAt,omitempty"`

	// DrainGracePeriod is how long after drainAt the route stays; 1h when null.
	// +nullable
	DrainGracePeriod *string `json:"drainGracePeriod,omitempty"`
}

// AgentSource points to the Agent behind an offer.
type AgentSource struct {
	Ref *AgentRef `json:"ref,omitempty"`
}

// AgentRef names an Agent, which must live in the offer's namespace.
type AgentRef struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

// Model identifies a model and what runs it.
type Model struct {
	Name string `json:"name"`
	// +kubebuilder:validation:Enum=ollama;vllm;tgi
	Runtime string `json:"runtime"`
}

// Upstream is a port of a Service.
type Upstream struct {
	Service   string `json:"service"`
	Namespace string `json:"namespace"`

	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +kubebuilder:default=11434
	Port int64 `json:"port"`

	// HealthPath must answer 2xx.
	// +kubebuilder:default=/health
	HealthPath string `json:"healthPath,omitempty"`
}

// Payment is one way to pay, in the words of x402.
type Payment struct {
	// +kubebuilder:validation:Enum=exact
	// +kubebuilder:default=exact
	Scheme string `json:"scheme,omitempty"`

	// Network is a chain's alias, such as base-sepolia.
	Network string `json:"network"`

	// PayTo is the wallet that is paid.
	// +kubebuilder:validation:Pattern=`^0x[0-9a-fA-F]{40}$`
	PayTo string `json:"payTo"`

	// +kubebuilder:default=300
	MaxTimeoutSeconds int64 `json:"maxTimeoutSeconds,omitempty"`

	// Asset is the token; the chain's USDC when absent.
	Asset *Asset `json:"asset,omitempty"`

	Price Price `json:"price"`
}

// Asset is an ERC-20 token and how it is transferred.
type Asset struct {
	// +kubebuilder:validation:Pattern=`^0x[0-9a-fA-F]{40}$`
	Address string `json:"address,omitempty"`
	Symbol  string `json:"symbol,omitempty"`

	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	Decimals *int64 `json:"decimals,omitempty"`

	// +kubebuilder:validation:Enum=eip3009;permit2
	TransferMethod string `json:"transferMethod,omitempty"`
	EIP712Name     string `json:"eip712Name,omitempty"`
	EIP712Version  string `json:"eip712Version,omitempty"`
}

// Price is a table of decimal strings, of which a seller fills one. It may be
// empty, and nothing is checked.
type Price struct {
	PerRequest string `json:"perRequest,omitempty"`
	PerMTok    string `json:"perMTok,omitempty"`
	PerHour    string `json:"perHour,omitempty"`
	PerEpoch   string `json:"perEpoch,omitempty"`
}

// Listing places an offer in the storefront.
type Listing struct {
	// Weight sorts offers, higher first.
	// +kubebuilder:default=0
	Weight int64 `json:"weight,omitempty"`

	// +kubebuilder:default=""
	Category string `json:"category,omitempty"`
}

// Route is one path of an offer.
type Route struct {
	// Path is relative to the offer's; exact, or with globs for segments.
	// +kubebuilder:validation:Pattern=`^/[a-zA-Z0-9/_.*-]*$`
	// +kubebuilder:validation:MaxLength=512
	Path string `json:"path"`

	// Methods is for discovery; the gate covers every method.
	// +kubebuilder:validation:MaxItems=9
	Methods []Method `json:"methods,omitempty"`

	// Gate says who gets through; auth is a wallet sign-in.
	// +kubebuilder:validation:Enum=paid;free;auth
	// +kubebuilder:default=paid
	Gate string `json:"gate,omitempty"`

	// Price replaces the offer's, in its primary currency.
	Price *Price `json:"price,omitempty"`

	// +kubebuilder:validation:MaxLength=300
	Summary string `json:"summary,omitempty"`

	// FreeQuota is the number of free calls for each wallet and UTC day.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:default=0
	FreeQuota int64 `json:"freeQuota,omitempty"`
}

// Method is an HTTP method.
//
// +kubebuilder:validation:Enum=GET;POST;PUT;PATCH;DELETE;HEAD;OPTIONS
type Method string

// Branding dresses an offer's own origin.
type Branding struct {
	// +kubebuilder:validation:MaxLength=128
	DisplayName string `json:"displayName,omitempty"`
	// +kubebuilder:validation:MaxLength=256
	Tagline string `json:"tagline,omitempty"`
	LogoURL string `json:"logoUrl,omitempty"`
	// +kubebuilder:validation:Enum=light;dark;obol
	Theme string `json:"theme,omitempty"`
	// +kubebuilder:validation:Pattern=`^#[0-9a-fA-F]{3,8}$`
	AccentColor string `json:"accentColor,omitempty"`
	FaviconURL  string `json:"faviconUrl,omitempty"`
	OGImageURL  string `json:"ogImageUrl,omitempty"`
	Description string `json:"description,omitempty"`
}

// Registration is an entry in an ERC-8004 registry.
type Registration struct {
	// +kubebuilder:default=false
	Enabled     bool   `json:"enabled,omitempty"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	Image       string `json:"image,omitempty"`

	Services       []RegistrationService `json:"services,omitempty"`
	SupportedTrust []string              `json:"supportedTrust,omitempty"`
	Metadata       map[string]string     `json:"metadata,omitempty"`

	// Skills and domains are OASF tags.
	Skills  []string `json:"skills,omitempty"`
	Domains []string `json:"domains,omitempty"`
}

// RegistrationService is a further service entry of a registration.
type RegistrationService struct {
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	Version  string `json:"version,omitempty"`
}

// Async answers a paid call with 202 and the URL of a job.
type Async struct {
	// +kubebuilder:default=false
	Enabled bool `json:"enabled,omitempty"`

	// ResultVisibility says who may fetch the result.
	// +kubebuilder:validation:Enum=payer;public
	// +kubebuilder:default=payer
	ResultVisibility string `json:"resultVisibility,omitempty"`

	// TTL is how long the result is kept.
	// +kubebuilder:default="72h"
	TTL string `json:"ttl,omitempty"`
}

// Limits caps load; 0 means no cap.
type Limits struct {
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:default=0
	MaxInFlight int64 `json:"maxInFlight,omitempty"`

	// RPS is requests a second; a burst may be twice that.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:default=0
	RPS int64 `json:"rps,omitempty"`
}

// ServiceOfferStatus is what the controller saw.
type ServiceOfferStatus struct {
	Conditions []Condition `json:"conditions,omitempty"`

	// Endpoint is the effective path, set before anything is published.
	Endpoint string `json:"endpoint,omitempty"`

	// AgentID is the ERC-8004 token on the offer's chain.
	AgentID            string           `json:"agentId,omitempty"`
	RegistrationTxHash string           `json:"registrationTxHash,omitempty"`
	ObservedGeneration int64            `json:"observedGeneration,omitempty"`
	AgentResolution    *AgentResolution `json:"agentResolution,omitempty"`
}

// AgentResolution is what a Ready Agent serves.
type AgentResolution struct {
	Model    string   `json:"model,omitempty"`
	Skills   []string `json:"skills,omitempty"`
	Runtime  string   `json:"runtime,omitempty"`
	Endpoint string   `json:"endpoint,omitempty"`
}

// Condition is one aspect of an object's state.
type Condition struct {
	Type string `json:"type"`
	// +kubebuilder:validation:Enum="True";"False";Unknown
	Status             string       `json:"status"`
	Reason             string       `json:"reason,omitempty"`
	Message            string       `json:"message,omitempty"`
	LastTransitionTime *metav1.Time `json:"lastTransitionTime,omitempty"`
}

// ServiceOfferList is a list of offers.
//
// +kubebuilder:object:root=true
type ServiceOfferList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ServiceOffer `json:"items"`
}
