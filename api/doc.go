// Package api serves the log over plain HTTP: the same operations as the
// WebSocket, for bots, scripts and clients that poll. It is the only package
// that knows echo.
//
// It owns the routes, the problem documents and the OpenAPI document. What a
// request may contain is decided by package wire, what it means by the log.
//
// Invariants:
//
//	H1  Every answer that is not a success is application/problem+json with a
//	    code of package chat, whatever went wrong and wherever.
//	H2  A write is proposed once per request, under the client id of its
//	    Idempotency-Key; repeating the request is safe.
//	H3  Bodies, requests at once, waiting requests and times are bounded.
//	H4  What the OpenAPI document says is what is served (tests hold every
//	    exchange against it).
package api
