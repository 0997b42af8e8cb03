package x402

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
)

// Terms are what a 402 says: how to pay, and for what.
type Terms struct {
	URL     string         // of the resource
	Accepts []Requirements // in order; never empty
}

// ParseChallenge reads the 402 of a server as strictly as a careful buyer would,
// in both versions. When header and body both say terms, they have to agree:
// version 1 may say fewer ways to pay. One that this package does not know comes
// as it was written, for a look. No text of the terms is cleaned.
func ParseChallenge(h http.Header, body []byte) (Terms, error) {
	inBody, err := parseBody(body)
	if err != nil {
		return Terms{}, fmt.Errorf("the body %v", err)
	}
	headers := h.Values(RequiredHeader)
	switch {
	case len(headers) > 1:
		return Terms{}, fmt.Errorf("there are %d headers %s", len(headers), RequiredHeader)
	case len(headers) == 0 && inBody.Accepts == nil:
		return Terms{}, fmt.Errorf("neither a header %s nor the body says how to pay", RequiredHeader)
	case len(headers) == 0:
		return inBody, nil
	}
	text, err := decodeBase64(headers[0])
	if err != nil {
		return Terms{}, fmt.Errorf("header %s %v", RequiredHeader, err)
	}
	terms, err := parseTerms(text, 2)
	if err != nil {
		return Terms{}, fmt.Errorf("header %s %v", RequiredHeader, err)
	}
	if inBody.Accepts != nil && inBody.URL != terms.URL {
		return Terms{}, errors.New("header and body are about different resources")
	}
	for _, r := range inBody.Accepts {
		if !slices.Contains(terms.Accepts, r) {
			return Terms{}, fmt.Errorf("the body asks for what the header does not: %s of %s on %s", r.Amount, clean(r.Asset, 64), clean(r.Network, 64))
		}
	}
	return terms, nil
}

// parseBody gives no terms for a body that says nothing of payment: it is the
// server's own affair then.
func parseBody(body []byte) (Terms, error) {
	text := []byte(strings.TrimSpace(string(body)))
	if len(text) == 0 || text[0] != '{' {
		return Terms{}, nil
	}
	o, err := parseJSON(text)
	if err != nil || o.find("x402Version") == nil {
		return Terms{}, err
	}
	return parseTerms(text, 1, 2)
}

// parseTerms reads PaymentRequired in one of the versions.
func parseTerms(text []byte, versions ...int64) (t Terms, err error) {
	o, err := parseJSON(text)
	if err != nil {
		return Terms{}, err
	}
	version, err := o.count("x402Version")
	if err == nil && !slices.Contains(versions, version) {
		err = fmt.Errorf("is of version %d", version)
	}
	if err == nil {
		_, err = o.text("error")
	}
	if err == nil && version == 2 {
		t.URL, err = parseResource(o)
	}
	if err != nil {
		return Terms{}, err
	}
	list, err := o.list("accepts")
	if err == nil && len(list) == 0 {
		err = errors.New("accepts nothing")
	}
	if err != nil {
		return Terms{}, err
	}
	for _, element := range list {
		if err := t.accept(element, version); err != nil {
			return Terms{}, fmt.Errorf("accepts something wrong: %v", err)
		}
	}
	return t, nil
}

// accept adds a way to pay. In version 1 it says the resource, too.
func (t *Terms) accept(element []byte, version int64) error {
	option, err := parseObject(element)
	if err != nil {
		return err
	}
	if version == 1 {
		url, err := option.filled("resource")
		if err == nil && t.Accepts != nil && url != t.URL {
			err = errors.New("it is for another resource than the one before")
		}
		if err != nil {
			return err
		}
		t.URL = url
	}
	r, err := parseRequirements(option, version)
	t.Accepts = append(t.Accepts, r)
	return err
}

// parseResource gives the URL of the resource that version 2 requires.
func parseResource(o object) (string, error) {
	o, err := o.object("resource")
	if err != nil {
		return "", err
	}
	var r Resource
	if r.URL, err = o.filled("url"); err != nil {
		return "", fmt.Errorf("\"resource\": %v", err)
	}
	if r.ServiceName, err = o.text("serviceName"); err != nil {
		return "", err
	}
	if r.IconURL, err = o.text("iconUrl"); err != nil {
		return "", err
	}
	if r.Tags, err = o.texts("tags"); err != nil {
		return "", err
	}
	return r.URL, r.check()
}

func parseRequirements(o object, version int64) (r Requirements, err error) {
	amount := "amount"
	if version == 1 {
		amount = "maxAmountRequired"
	}
	for _, f := range []struct {
		name string
		into *string
	}{{"scheme", &r.Scheme}, {"network", &r.Network}, {amount, &r.Amount}, {"asset", &r.Asset}, {"payTo", &r.PayTo}} {
		if *f.into, err = o.filled(f.name); err != nil {
			return r, err
		}
	}
	if _, err := parseWord(r.Amount); err != nil {
		return r, fmt.Errorf("%q %v", amount, err)
	}
	if r.MaxTimeoutSeconds, err = o.count("maxTimeoutSeconds"); err != nil {
		return r, err
	}
	if r.MaxTimeoutSeconds == 0 {
		return r, errors.New("\"maxTimeoutSeconds\" is 0")
	}
	if version == 1 {
		if n, known := offer.LookupNetwork(r.Network); known {
			r.Network = n.CAIP2
		}
	} else if !strings.Contains(r.Network, ":") {
		return r, fmt.Errorf("network %q is not CAIP-2, such as eip155:84532", clean(r.Network, 64))
	}
	return r, r.parseToken(o)
}

// parseToken reads what extra says of the token, and spells addresses of EVM
// chains with their checksums.
func (r *Requirements) parseToken(o object) (err error) {
	extra, err := o.object("extra")
	if err != nil {
		return err
	}
	if r.Extra.Name, err = extra.text("name"); err != nil {
		return err
	}
	if r.Extra.Version, err = extra.text("version"); err != nil {
		return err
	}
	if r.Extra.AssetTransferMethod, err = extra.text("assetTransferMethod"); err != nil {
		return err
	}
	if !strings.HasPrefix(r.Network, "eip155:") {
		return nil
	}
	if r.Scheme == exact && r.Extra.AssetTransferMethod == "" {
		r.Extra.AssetTransferMethod = eip3009 // the default of the scheme
	}
	asset, err := o.address("asset")
	if err != nil {
		return err
	}
	payTo, err := o.address("payTo")
	r.Asset, r.PayTo = asset.String(), payTo.String()
	return err
}
