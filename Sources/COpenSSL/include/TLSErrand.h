// TLS of a client whose thread may wait: bytes go in and out through memory, the socket is the caller's.
// Called by Engine/Transport/TLSErrand.swift. The server's certificate must be good for the host, by the system's authorities.
#ifndef SWITCHBACK_TLS_ERRAND_H
#define SWITCHBACK_TLS_ERRAND_H
#include <stddef.h>
#include <stdint.h>

typedef struct TLSErrandState TLSErrandState;

// NULL: there is no memory, or no name.
TLSErrandState *tls_errand_new(const char *host);
void tls_errand_free(TLSErrandState *errand);
// What came from the server, and what is to be sent to it: 0 when there is nothing.
int tls_errand_give(TLSErrandState *errand, const void *bytes, size_t count);
size_t tls_errand_take(TLSErrandState *errand, void *bytes, size_t room);
// 1: done; 0: the server's bytes are wanted; -1: failed.
int tls_errand_handshake(TLSErrandState *errand);
// Bytes read, 0 at the end, -1: the server's bytes are wanted; -2: failed.
long tls_errand_read(TLSErrandState *errand, void *bytes, size_t room);
// 1: all of it was taken.
int tls_errand_write(TLSErrandState *errand, const void *bytes, size_t count);
// Why it failed, in at most `room` bytes with the 0 at their end.
void tls_errand_reason(TLSErrandState *errand, char *text, size_t room);

#endif
