// Sessions that clients take up again: a bounded cache that contexts share, and the keys of tickets.
// Both are shared by threads and live as long as somebody owns them; a context that uses one is an owner.
#ifndef SWITCHBACK_TLS_SESSIONS_H
#define SWITCHBACK_TLS_SESSIONS_H
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TLSSessionCache TLSSessionCache;
typedef struct TLSTicketKeys TLSTicketKeys;

// `bytes`: of memory; the oldest sessions make room. NULL: out of memory.
TLSSessionCache *tls_sessions_make(size_t bytes);
void tls_sessions_release(TLSSessionCache *cache);
size_t tls_sessions_count(TLSSessionCache *cache);

// Keys that are made here and replaced by time. NULL: out of memory, or no random numbers.
TLSTicketKeys *tls_tickets_make(void);
void tls_tickets_release(TLSTicketKeys *keys);
// Tickets are good for so long; the longest that any context says counts.
void tls_tickets_set_lifetime(TLSTicketKeys *keys, int64_t seconds);
// A key of 48 or 80 bytes: 16 for its name, then 16 and 16 for encryption and digest, or 32 and 32 for digest and encryption.
// The first one encrypts, all of them decrypt, and none is made here any more. 0: too many, or of another length.
int tls_tickets_add(TLSTicketKeys *keys, const uint8_t *bytes, size_t count);

// What a context keeps of sessions without tickets.
enum {
    // It says that it keeps none.
    TLS_SESSIONS_OFF = -1,
    // It says that it does and does not.
    TLS_SESSIONS_NONE = 0,
    TLS_SESSIONS_BUILTIN = 1,
    TLS_SESSIONS_SHARED = 2
};
// `kinds`: as above, BUILTIN and SHARED may stand together; `builtin_count`: 0: as many as OpenSSL likes.
void tls_keep_server_sessions(SSL_CTX *context, int kinds, long builtin_count, int64_t lifetime_seconds, int has_tickets);
int tls_share_sessions(SSL_CTX *context, TLSSessionCache *cache);
int tls_use_tickets(SSL_CTX *context, TLSTicketKeys *keys);
// Sessions are taken up only where all of these bytes are the same. 1, or 0.
int tls_bind_sessions(SSL_CTX *context, const void *bytes, size_t count);
// The session must not be taken up again.
void tls_forget_session(SSL *ssl, SSL_CTX *first);

#endif
