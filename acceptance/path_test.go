//go:build cluster

package acceptance_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Attacks that get at what is paid by a name for something free.

func detours() []attack {
	return []attack{
		{"paths that mean another", pathTricks},
		{"targets that are no path", targetTricks},
		{"methods", methodTricks},
		{"a request hidden in another", smuggling},
		{"a tunnel by a free name", tunnel},
	}
}

// unpaidFor asks without paying, in the hope of anything.
func (r *raid) unpaidFor(w wire) {
	if a := r.send(w); a.served() {
		for _, n := range a.goods() {
			if run := r.upstream.seen()[n-1]; run.price == nil || run.price.Sign() != 0 {
				r.report(free, "%v was served to %.60q", run, w.bytes(r.host))
			}
		}
	}
}

// spellings are ways to write a path that begins at something free and ends at
// something paid, or that only some readers take for what is paid.
func spellings() []string {
	up := []string{
		"..", ".%2e", "%2e.", "%2e%2e", "%2E%2E", "%252e%252e", "%25252e%25252e", "..;", "..;a=b", "..%3b", "%2e%2e;", "..%00", "..%20", "..%09",
		"%c0%ae%c0%ae", "%c0%2e%c0%2e", "%u002e%u002e", "%uff0e%uff0e", "..%0d", "..%0a", "...", "....//..", ". .", "..%5c", "%e2%80%a6",
	}
	slash := []string{"/", "%2f", "%2F", "%252f", "\\", "%5c", "%5C", "//", "/./", "/%2e/", "%c0%af", "%ef%bc%8f", ";/", "%3b/", "%09/", "%00/", "%0a/"}
	var out []string
	for _, u := range up {
		for _, s := range slash {
			out = append(out, "/free"+s+u+s+"dear"+s+"x", "/free/x"+s+u+s+u+s+"dear/x")
		}
	}
	for _, s := range slash {
		out = append(out, s+"dear/x", "/"+s+"dear/x", "/dear"+s+"x", "/free"+s+"dear", "/.."+s+"dear/x")
	}
	return append(out,
		"/DEAR/x", "/Dear/x", "/dEAR/X", "/dear", "/dear/", "/dear//", "/dear/.", "/dear/..", "/dear/x/", "/dear/x//", "/%64ear/x", "/d%65ar/x", "/%44ear/x",
		"/dear;x=y/x", "/dear;/x", "/;/dear/x", "/x;/dear", "/dear/x;v=1", "/dear%20/x", "/%20dear/x", "/dear%09/x", "/dear\t/x", "/de\u00adar/x", "/\u212aear/x",
		"/dear%00/x", "/dear/x%00.html", "/dear/x%0d%0a", "/free/x%0d%0aX-Y:%20z", "/free%0d%0a/../dear/x", "/dear?x=/free/", "/dear/x?/free/x", "/dear/x#/free/x", "/dear/x%23/free",
		"/dear/x%3f/free", "/free/x?/../dear/x", "/free?/../../dear/x", "/free", "/", "", "?", "/?", "/health/../dear/x", "/health/dear/x", "/healthz", "/health/", "/Health",
		"/.well-known/x402/../../dear/x", "/.well-known/x402/dear", "/openapi.json/../dear/x", "/openapi.json/dear", "/openapi.json;/dear/x", "/admin", "/metrics", "/reload", "/drain", "/identity",
		"/%2e/dear/x", "/%2e%2e/dear/x", "/dear/%2e/x", "/%66ree/../dear/x", "/free/%2e%2e/%64ear/x", "/FREE/x", "/Free/../dear/x", "/free;/../dear/x", "/free%2fx/../../dear/x",
		"/cheap/../dear/x", "/other", "/express", "/free/../express", "//free/x", "/free//x", "/./free/x", "/free/./x", "/free\\x", "/free%5cx", "/free/%", "/free/%zz", "/free/%2", "/dear/%", "/%", "/\x80dear",
	)
}

func pathTricks(r *raid) {
	var do []func()
	for _, target := range spellings() {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			do = append(do, func() { r.unpaidFor(wire{method: method, target: target}) })
		}
	}
	together(do)
}

// targetTricks writes what is not a path where the path belongs.
func targetTricks(r *raid) {
	for _, target := range []string{
		"http://" + r.host + "/dear/x", "http://free/dear/x", "http://evil.example/dear/x", "http://evil.example/free/../dear/x", "http://evil.example/free/%252e%252e/dear/x", "https://" + r.host + "/dear/x",
		"http://user:free@" + r.host + "/dear/x", "http:///dear/x", "http:/dear/x", "http:dear/x", "//evil.example/dear/x", "//free/../dear/x", "///dear/x", "dear/x", "free/../dear/x",
		"file:///dear/x", "ftp://" + r.host + "/dear/x", "javascript:/free/", "*", "evil.example:80", r.upstream.addr, "http://" + r.upstream.addr + "/dear/x", "http://" + r.upstream.addr + "/free/x/../../dear/x",
		"@" + r.upstream.addr + "/dear/x", ":80/dear/x", "/@" + r.upstream.addr + "/dear/x", "?/dear/x", "#/dear/x", " /dear/x", "/dear/x HTTP/1.1", "/free/x /dear/x",
	} {
		for _, method := range []string{http.MethodGet, http.MethodOptions, http.MethodConnect, http.MethodHead} {
			r.unpaidFor(wire{method: method, target: target})
		}
	}
}

// methodTricks asks for what is paid in every way.
func methodTricks(r *raid) {
	for _, method := range []string{
		"HEAD", "OPTIONS", "TRACE", "TRACK", "CONNECT", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "SEARCH", "BREW", "get", "Get", "GET\t", "G", "X-GET", "M-SEARCH", "PRI",
		strings.Repeat("G", 3000),
	} {
		for _, target := range []string{"/dear/x", "/cheap/x", "*"} {
			r.unpaidFor(wire{method: method, target: target})
		}
	}
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		for _, method := range []string{"GET", "OPTIONS", "POST"} {
			r.unpaidFor(wire{target: "/dear/x", method: method, header: [][2]string{{header, "OPTIONS"}}})
			r.unpaidFor(wire{target: "/dear/x", method: method, header: [][2]string{{header, "GET"}}})
		}
	}
	for _, lines := range [][][2]string{
		{{"Origin", "https://evil.example"}, {"Access-Control-Request-Method", "GET"}}, {{"Origin", "null"}}, {{"Access-Control-Request-Method", "GET"}},
	} {
		for _, method := range []string{"OPTIONS", "options", "GET", "POST"} {
			r.unpaidFor(wire{method: method, target: "/dear/x", header: lines})
		}
	}
}

// smuggling writes requests that two servers could cut at different places.
func smuggling(r *raid) {
	hidden := fmt.Sprintf("GET /dear/x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", r.host)
	head := fmt.Sprintf("GET /free/x HTTP/1.1\r\nHost: %s\r\n", r.host)
	for _, raw := range []string{
		head + fmt.Sprintf("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", hidden),
		head + fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n%s", len(hidden)+5, hidden),
		head + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
		head + fmt.Sprintf("Content-Length: 0, %d\r\n\r\n%s", len(hidden), hidden),
		head + fmt.Sprintf("Content-Length: +%d\r\n\r\n%s", len(hidden), hidden),
		head + fmt.Sprintf("Content-Length : %d\r\n\r\n%s", len(hidden), hidden),
		head + fmt.Sprintf("Transfer-Encoding : chunked\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
		head + fmt.Sprintf("Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
		head + fmt.Sprintf("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n%s", hidden),
		head + fmt.Sprintf("Transfer-Encoding: identity\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
		head + fmt.Sprintf("Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n%s", hidden),
		head + fmt.Sprintf("X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", hidden),
		head + fmt.Sprintf("X: y\rContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
		head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n0;x=\"\n%s\"\r\n\r\n", hidden),
		head + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden),
		head + "\r\n" + hidden,
		strings.Replace(head, "/free/x", "/free/x HTTP/1.1\r\nX: y\r\n\r\nGET /dear/x", 1) + "\r\n",
		"GET /dear/x HTTP/1.0\r\n\r\n", "GET /dear/x\r\n\r\n", "GET /dear/x HTTP/0.9\r\n\r\n", "GET /dear/x HTTP/2.0\r\n\r\n", "GET  /dear/x  HTTP/1.1\r\n\r\n",
		fmt.Sprintf("\r\n\r\nGET /dear/x HTTP/1.1\r\nHost: %s\r\nHost: free\r\nConnection: close\r\n\r\n", r.host),
		fmt.Sprintf("GET /dear/x HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", r.host),
		fmt.Sprintf("GET /dear/x HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", r.host),
	} {
		// A good one is answered, and what is left in the connection may be too.
		r.unpaidFor(wire{raw: raw, patience: patience / 10})
	}
}

// tunnel has the connection of something free become one of HTTP/2, and asks for
// something else in it.
func tunnel(r *raid) {
	conn, err := net.Dial("tcp", r.host)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /free/x HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", r.host)
	first, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || first.StatusCode != http.StatusSwitchingProtocols {
		return
	}
	transport := &http.Transport{Protocols: unencryptedHTTP2(), DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: patience}
	for range 2 {
		res, err := client.Get("http://" + r.host + "/dear/x")
		if err != nil {
			return
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		r.answers = append(r.answers, answer{status: res.StatusCode, header: res.Header, body: string(text), err: err})
	}
}

// TestReadings holds the upstream to being as careless as an upstream can be:
// a path that it takes for free is free to every reader.
func TestReadings(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/free/x": "free", "/free/x?/dear": "free", "/cheap/x": "cheap", "/dear/x": "dear", "http://free/dear/x": "dear",
		"/free/../dear/x": "dear", "/free/%2e%2e/dear/x": "dear", "/free/..%252f..%252fdear": "dear", "/free/..;/dear": "dear", "/free\\..\\dear": "",
		"/DEAR/x": "", "/free/%c0%ae%c0%ae/dear": "dear", "/other": "", "/": "", "//free/x": "",
	} {
		got := priceOf(target)
		if want == "" && got != nil || want != "" && (got == nil || got.Cmp(shop[want]) != 0) {
			t.Errorf("%s costs %v, want that of %q", target, got, want)
		}
	}
}
