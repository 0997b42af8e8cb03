package x402_test

import (
	"encoding/base64"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/obolctl/obolctl/pkg/x402"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// TestPaymentOfHeaders is about the way a payment comes.
func TestPaymentOfHeaders(t *testing.T) {
	t.Parallel()
	const v1, v2 = x402.PaymentHeaderV1, x402.PaymentHeader
	d, d1 := alice().pay(usdc(t)), alice().payV1(usdc(t), "base-sepolia")
	good, good1 := d.header(2).Get(v2), d1.header(1).Get(v1)
	padded := encode(string(d.text()) + strings.Repeat(" ", 2-len(d.text())%3)) // ends in one "="
	tests := map[string]struct {
		header http.Header
		want   string // part of the error; empty: it is read
	}{
		"version 2":                 {headers(v2, good), ""},
		"version 1":                 {headers(v1, good1), ""},
		"padded":                    {headers(v2, padded), ""},
		"the name twice":            {headers(v2, good, v2, good), "one payment header, and this one has 2"},
		"both names":                {headers(v2, good, v1, good1), "one payment header, and this one has 2"},
		"both names, one empty":     {headers(v2, good, v1, ""), "one payment header, and this one has 2"},
		"two values in one":         {headers(v2, good+","+good), "more than one value"},
		"two values and a space":    {headers(v2, good+", "+good), "more than one value"},
		"empty":                     {headers(v2, ""), "is empty"},
		"not base64":                {headers(v2, "{\"x402Version\":2}"), "not base64"},
		"base64 for URLs":           {headers(v2, base64.URLEncoding.EncodeToString([]byte("{\"a\":\"\xff\xff~~??\"}"))), "not base64"},
		"without padding":           {headers(v2, strings.TrimRight(padded, "=")), "not base64"},
		"too much padding":          {headers(v2, padded+"="), "not base64"},
		"bits behind the end":       {headers(v2, padded[:len(padded)-2]+"h="), "not base64"},
		"a line break":              {headers(v2, good[:76]+"\r\n"+good[76:]), "not base64"},
		"a space":                   {headers(v2, good+" "), "not base64"},
		"too long":                  {headers(v2, encode(string(d.text())+strings.Repeat(" ", 12<<10))), "longer than 16384 bytes"},
		"version 1 under the other": {headers(v2, good1), "is for version 2 of the protocol, and this payment is of version 1"},
		"version 2 under the other": {headers(v1, good), "is for version 1 of the protocol, and this payment is of version 2"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := x402.PaymentOf(tc.header)
			if tc.want == "" && (err != nil || p == nil) {
				t.Fatalf("PaymentOf: %v", err)
			}
			if tc.want != "" && (!errors.Is(err, x402.ErrMalformed) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("PaymentOf: %v, want malformed: …%s", err, tc.want)
			}
		})
	}
	if p, err := x402.PaymentOf(headers("Authorization", good)); p != nil || err != nil {
		t.Errorf("without a payment: %v, %v, want neither", p, err)
	}
	if p, err := x402.PaymentOf(headers(v2, encode(string(d.text())+strings.Repeat(" ", 10<<10)))); p == nil || err != nil {
		t.Errorf("a long one: %v", err)
	}
}

// TestPaymentOfJSON is about texts that two readers could read in two ways, or
// that the protocol spells otherwise.
func TestPaymentOfJSON(t *testing.T) {
	t.Parallel()
	text := string(alice().pay(usdc(t)).text())
	permit := string(alice().pay(obol(t)).text())
	swap := func(text, old, with string) string {
		if strings.Count(text, old) != 1 {
			t.Fatalf("%q is not once in %s", old, text)
		}
		return strings.Replace(text, old, with, 1)
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 256).String()
	deepest, tooDeep := strings.Repeat("[", 63)+strings.Repeat("]", 63), strings.Repeat("[", 65)+strings.Repeat("]", 65)
	tests := map[string]struct{ text, want string }{
		"as it is":                     {text, ""},
		"permit as it is":              {permit, ""},
		"space around":                 {"\n\t " + text + " \r\n", ""},
		"no JSON":                      {"hello", "is not JSON"},
		"more after it":                {text + "{}", "is not JSON"},
		"cut off":                      {text[:len(text)-1], "is not JSON"},
		"empty":                        {" ", "is not JSON"},
		"not UTF-8":                    {swap(text, `"https://shop`, "\"\xffhttps://shop"), "is not JSON"},
		"a byte order mark":            {"\ufeff" + text, "is not JSON"},
		"a list":                       {"[" + text + "]", "is not a JSON object"},
		"a string":                     {`"` + encode(text) + `"`, "is not a JSON object"},
		"null":                         {"null", "is not a JSON object"},
		"an empty object":              {"{}", `"x402Version" is not a whole number`},
		"version as a string":          {swap(text, `"x402Version":2`, `"x402Version":"2"`), `"x402Version" is not a whole number`},
		"version with a point":         {swap(text, `"x402Version":2`, `"x402Version":2.0`), `"x402Version" is not a whole number`},
		"version with an exponent":     {swap(text, `"x402Version":2`, `"x402Version":2e0`), `"x402Version" is not a whole number`},
		"an unknown version":           {swap(text, `"x402Version":2`, `"x402Version":3`), "this payment is of version 3"},
		"a negative version":           {swap(text, `"x402Version":2`, `"x402Version":-2`), `"x402Version" is not a whole number`},
		"version in capitals":          {swap(text, `"x402Version"`, `"X402VERSION"`), `"x402Version" is not a whole number`},
		"a member twice":               {swap(text, `"x402Version":2`, `"x402Version":2,"x402Version":2`), `has two members "x402Version"`},
		"a member twice, escaped":      {swap(text, `"value":"1000"`, `"value":"1000","\u0076alue":"1"`), `has two members "value"`},
		"an unknown member twice":      {swap(text, `"value":"1000"`, `"value":"1000","a":1,"a":2`), `has two members "a"`},
		"twice in accepted":            {swap(text, `"amount":"1000"`, `"amount":"1","amount":"1000"`), `has two members "amount"`},
		"twice in extra":               {swap(text, `"name":"USDC"`, `"name":"USDC","name":"USDC"`), `has two members "name"`},
		"twice in the resource":        {swap(text, `"url":`, `"url":"","url":`), `has two members "url"`},
		"twice in the witness":         {swap(permit, `"witness":{`, `"witness":{"to":"",`), `has two members "to"`},
		"a member twice, in two cases": {swap(text, `"value":"1000"`, `"value":"1000","Value":"1"`), `has two members "Value"`},
		"an escaped name":              {swap(text, `"value":`, `"\u0076alue":`), ""},
		"too many members":             {swap(text, `"extensions":{}`, manyMembers(64)), "more than 64 members"},
		"nested as deep as allowed":    {swap(text, `"extensions":{}`, `"extensions":`+deepest), ""},
		"nested too deeply":            {swap(text, `"extensions":{}`, `"extensions":`+tooDeep), "nested too deeply"},
		"brackets in strings":          {swap(text, `"extensions":{}`, `"extensions":"`+strings.Repeat(`[{\"\\`, 99)+`"`), ""},
		"no payload":                   {swap(text, `"payload"`, `"payload_"`), `has no "payload"`},
		"payload as a string":          {swap(text, `"payload":{`, `"payload":"x","y":{`), `"payload" is not a JSON object`},
		"a payload of another scheme":  {swap(swap(text, `"scheme":"exact"`, `"scheme":"upto"`), `"value":"1000"`, `"value":[]`), ""},
		"an empty payload":             {swap(text, `"payload":{`, `"payload":{},"y":{`), ""},
		"no accepted":                  {swap(text, `"accepted"`, `"accepted_"`), `"scheme" is missing`},
		"accepted as a list":           {swap(text, `"accepted":{`, `"accepted":[],"accepted_":{`), `"accepted" is not a JSON object`},
		"no maxTimeoutSeconds":         {swap(text, `"maxTimeoutSeconds":300`, `"maxTimeoutSeconds_":300`), `"maxTimeoutSeconds" is not a whole number`},
		"maxTimeoutSeconds as string":  {swap(text, `"maxTimeoutSeconds":300`, `"maxTimeoutSeconds":"300"`), `"maxTimeoutSeconds" is not a whole number`},
		"accepted amount as number":    {swap(text, `"amount":"1000"`, `"amount":1000`), `"amount" is not a string`},
		"accepted amount in hex":       {swap(text, `"amount":"1000"`, `"amount":"0x3e8"`), `"amount" is not a plain decimal`},
		"extra as a list":              {swap(text, `"extra":{`, `"extra":[],"x":{`), `"extra" is not a JSON object`},
		"no resource":                  {swap(text, `"resource"`, `"resource_"`), ""},
		"resource is null":             {swap(text, `"resource":{`, `"resource":null,"x":{`), ""},
		"resource as a string":         {swap(text, `"resource":{`, `"resource":"x","x":{`), `"resource" is not a JSON object`},
		"url as a number":              {swap(text, `"url":"`, `"url":5,"x":"`), `"url" is not a string`},
		"both authorizations":          {swap(text, `"authorization":{`, `"permit2Authorization":{},"authorization":{`), "two authorizations"},
		"authorization as a string":    {swap(text, `"authorization":{`, `"authorization":"x","x":{`), `"authorization" is not a JSON object`},
		"no from":                      {swap(text, `"from"`, `"from_"`), `"from": an address is 0x and 40 hex digits`},
		"from without 0x":              {swap(text, `"from":"0x`, `"from":"`), `"from": an address`},
		"from with a wrong checksum":   {swap(text, `"from":"0x7E5F4552`, `"from":"0x7e5F4552`), `"from": the checksum of address`},
		"value as a number":            {swap(text, `"value":"1000"`, `"value":1000`), `"value" is not a string`},
		"value with a minus":           {swap(text, `"value":"1000"`, `"value":"-1000"`), `"value" is not a plain decimal`},
		"value with a plus":            {swap(text, `"value":"1000"`, `"value":"+1000"`), `"value" is not a plain decimal`},
		"value with a zero":            {swap(text, `"value":"1000"`, `"value":"01000"`), `"value" is not a plain decimal`},
		"value with a point":           {swap(text, `"value":"1000"`, `"value":"1000.0"`), `"value" is not a plain decimal`},
		"value with an exponent":       {swap(text, `"value":"1000"`, `"value":"1e3"`), `"value" is not a plain decimal`},
		"value with a space":           {swap(text, `"value":"1000"`, `"value":" 1000"`), `"value" is not a plain decimal`},
		"value in other digits":        {swap(text, `"value":"1000"`, `"value":"١٠٠٠"`), `"value" is not a plain decimal`},
		"value empty":                  {swap(text, `"value":"1000"`, `"value":""`), `"value" is not a plain decimal`},
		"value beyond 256 bits":        {swap(text, `"value":"1000"`, `"value":"`+huge+`"`), `"value" does not fit in 256 bits`},
		"value of a thousand digits":   {swap(text, `"value":"1000"`, `"value":"`+strings.Repeat("9", 1000)+`"`), `"value" does not fit in 256 bits`},
		"a time as a number":           {swap(text, `"validBefore":"`, `"validBefore":1,"x":"`), `"validBefore" is not a string`},
		"a nonce too short":            {swap(text, strings.Repeat("0", 63)+"7", strings.Repeat("0", 61)+"7"), `"nonce" is not 0x and 64 hex digits`},
		"a nonce too long":             {swap(text, strings.Repeat("0", 63)+"7", strings.Repeat("0", 65)+"7"), `"nonce" is not 0x and 64 hex digits`},
		"a nonce of other letters":     {swap(text, strings.Repeat("0", 63)+"7", strings.Repeat("0", 63)+"g"), `"nonce" is not 0x and 64 hex digits`},
		"a nonce with 0X":              {swap(text, `"nonce":"0x`, `"nonce":"0X`), `"nonce" is not 0x and 64 hex digits`},
		"a permit's nonce in hex":      {swap(permit, `"nonce":"`, `"nonce":"0x1","x":"`), `"nonce" is not a plain decimal`},
		"no witness":                   {swap(permit, `"witness"`, `"witness_"`), `"to": an address`},
		"no signature":                 {swap(text, `"signature":"0x`, `"x":"0x`), `"signature" is not 0x and hex digits`},
		"signature as a list":          {swap(text, `"signature":"0x`, `"signature":["0x"],"x":"0x`), `"signature" is not 0x and hex digits`},
		"signature without 0x":         {swap(text, `"signature":"0x`, `"signature":"`), `"signature" is not 0x and hex digits`},
		"signature of half a byte":     {swap(text, `"signature":"0x`, `"signature":"0xa`), `"signature" is not 0x and hex digits`},
		"signature with escapes":       {swap(text, `"signature":"0x`, `"signature":"0x\u0030\u0030`), `"signature" is not 0x and hex digits`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := x402.PaymentOf(headers(x402.PaymentHeader, encode(tc.text)))
			if tc.want == "" && err != nil {
				t.Fatalf("PaymentOf: %v", err)
			}
			if tc.want != "" && (!errors.Is(err, x402.ErrMalformed) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("PaymentOf: %v, want malformed: …%s", err, tc.want)
			}
		})
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`"m` + string(rune('0'+i/10)) + string(rune('0'+i%10)) + `":0,`)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// TestPaymentOfShowsNothing keeps what a buyer wrote out of messages unless it
// was cleaned.
func TestPaymentOfShowsNothing(t *testing.T) {
	t.Parallel()
	evil := "\u001b[31m\r\nSet-Cookie: x\u2028" + strings.Repeat("z", 500)
	d := alice().pay(usdc(t))
	d.in("accepted")["scheme"] = evil
	_, err := judge(d.header(2), noon(), usdc(t))
	if reason(t, err) != "unsupported_scheme" || strings.ContainsAny(err.Error(), "\x1b\r\n\u2028") || len(err.Error()) > 200 {
		t.Errorf("Choose: %q", err)
	}
	_, err = x402.PaymentOf(headers(x402.PaymentHeader, encode(`{"\u001b\r\né`+strings.Repeat("z", 500)+`":1,`+`"\u001b\r\né`+strings.Repeat("z", 500)+`":1}`)))
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\r\né") || len(err.Error()) > 200 {
		t.Errorf("PaymentOf: %q", err)
	}
}

func TestResourceURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		payment doc
		version int
		want    string
	}{
		"version 2":            {alice().pay(usdc(t)), 2, resource().URL},
		"version 1 never does": {alice().payV1(usdc(t), "base-sepolia"), 1, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := x402.PaymentOf(tc.payment.header(tc.version))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.ResourceURL(); got != tc.want {
				t.Errorf("ResourceURL = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	const right = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed" // of EIP-55 itself
	tests := map[string]struct{ text, want string }{
		"with its checksum": {right, ""},
		"in lower case":     {strings.ToLower(right), ""},
		"in upper case":     {"0x" + strings.ToUpper(right[2:]), ""},
		"digits alone":      {"0x" + strings.Repeat("1", 40), ""},
		"a wrong checksum":  {"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD", "the checksum of address 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD is wrong"},
		"too short":         {right[:41], "an address is 0x and 40 hex digits"},
		"too long":          {right + "0", "an address is 0x and 40 hex digits"},
		"without 0x":        {right[2:] + "00", "an address is 0x and 40 hex digits"},
		"with 0X":           {"0X" + right[2:], "an address is 0x and 40 hex digits"},
		"no digit":          {right[:41] + "g", "an address is 0x and 40 hex digits"},
		"empty":             {"", "an address is 0x and 40 hex digits"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := x402.ParseAddress(tc.text)
			if tc.want != "" {
				if err == nil || err.Error() != tc.want {
					t.Errorf("ParseAddress: %v, want %s", err, tc.want)
				}
				return
			}
			if err != nil || !strings.EqualFold(got.String(), tc.text) {
				t.Errorf("ParseAddress = %s, %v", got, err)
			}
		})
	}
	if a, _ := x402.ParseAddress(strings.ToLower(right)); a.String() != right {
		t.Errorf("String = %s, want %s", a, right)
	}
}
