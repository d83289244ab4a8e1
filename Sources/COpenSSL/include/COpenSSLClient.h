// What a client of TLS needs besides: whom it trusts, which name it asks for, sessions to take up again, a certificate of its own.
// Called by Engine/Transport/TLSContext.swift, CertificateCache.swift and Engine/Upstream/TLSClient.swift.
#ifndef SWITCHBACK_COPENSSL_CLIENT_H
#define SWITCHBACK_COPENSSL_CLIENT_H
#include "COpenSSL.h"

// The names a client offers by ALPN, as on the wire.
int tls_offer_protocols(SSL *ssl, const uint8_t *names, unsigned int count);
// The name a client asks for, a string.
int tls_ask_for_name(SSL *ssl, const char *name);
// 1: the server's certificate is for this name, a string; digits of an address may stand in the certificate as an address, too.
int tls_server_is(SSL *ssl, const char *name);

// MARK: Its context. Each returns 1, or 0 with OpenSSL's errors left to be asked for.

// Lists of certificates that are not to be trusted any more: each link of a chain is looked up in one.
int tls_revoke(SSL_CTX *context, const void *pem, size_t count);
// A client's context hands sessions to `TLSPipe.session`.
void tls_keep_sessions(SSL_CTX *context);

// MARK: A connection's own certificate

typedef struct stack_st_X509 TLSChain;

// A certificate and what stands behind it. NULL: OpenSSL's errors say why.
TLSChain *tls_read_chain(const void *pem, size_t count);
void tls_free_chain(TLSChain *chain);
// The same certificates once more, to be freed apart. NULL: out of memory.
TLSChain *tls_share_chain(TLSChain *chain);
// `is_sealed` becomes 1 when it took a password. NULL: OpenSSL's errors say why.
EVP_PKEY *tls_read_key(const void *pem, size_t count, const char *const *passwords, int *is_sealed);
// 1, or 0 with errors; -1: the key is another certificate's.
int tls_use_pair(SSL *ssl, TLSChain *chain, EVP_PKEY *key);

// The SHA-256 of some bytes: 32 bytes to `digest`.
int tls_digest(const void *bytes, size_t count, uint8_t *digest);

#endif
