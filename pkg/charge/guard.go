package charge

import (
	"bufio"
	"errors"
	"net"
	"net/http"
)

// A guard stands between an upstream and a buyer: nothing below status 400
// passes that was not paid for, whatever the proxy does.
type guard struct {
	http.ResponseWriter
	sale  *sale
	began bool // a status went to the buyer
	shut  bool // what was not paid for was held back
}

var errUnpaid = errors.New("internal error: an answer that was not paid for was held back")

// WriteHeader lets a status pass, or turns it into a 500. What an upstream says
// ahead of its answer is not for those who have not paid yet.
func (g *guard) WriteHeader(status int) {
	switch {
	case g.began || g.shut:
	case g.sale.passed || status >= http.StatusBadRequest:
		g.began = true
		g.ResponseWriter.WriteHeader(status)
	case status < http.StatusOK && status != http.StatusSwitchingProtocols:
	default:
		g.shut = true
		clear(g.Header())
		refuse(g.ResponseWriter, http.StatusInternalServerError, "unpaid", errUnpaid.Error())
	}
}

// Write implements [http.ResponseWriter].
func (g *guard) Write(p []byte) (int, error) {
	g.WriteHeader(http.StatusOK)
	if g.shut {
		return 0, errUnpaid
	}
	return g.ResponseWriter.Write(p)
}

// FlushError is what [http.ResponseController] calls.
func (g *guard) FlushError() error {
	g.WriteHeader(http.StatusOK)
	if g.shut {
		return errUnpaid
	}
	return http.NewResponseController(g.ResponseWriter).Flush()
}

// Hijack is what [http.ResponseController] calls.
func (g *guard) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !g.sale.passed {
		return nil, nil, errUnpaid
	}
	return http.NewResponseController(g.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController do all else.
func (g *guard) Unwrap() http.ResponseWriter { return g.ResponseWriter }
