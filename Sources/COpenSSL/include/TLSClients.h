// Certificates of clients: whom a context asks for one, whom it trusts, and what a connection's certificate says.
#ifndef SWITCHBACK_TLS_CLIENTS_H
#define SWITCHBACK_TLS_CLIENTS_H
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

// The peer is asked for a certificate. A bad one, or none, does not end the handshake: `tls_verdict` tells later.
void tls_ask_for_certificate(SSL_CTX *context);
void tls_set_verify_depth(SSL_CTX *context, int depth);
// Trusts the certificates in the PEM; `announces`: clients are told their names. 1, or 0 with errors left to be asked for.
int tls_trust(SSL_CTX *context, const void *pem, size_t count, int announces);

int tls_has_peer_certificate(SSL *ssl);
// What became of the peer's certificate: X509_V_OK or another X509_V_ERR number; X509_V_OK when there is none.
long tls_verdict(SSL *ssl);
// Only that nobody known has signed it.
int tls_verdict_is_unknown_issuer(long verdict);

// What a peer's certificate has to tell; 0: there is none.
enum {
    TLS_PEER_PEM,
    TLS_PEER_SUBJECT,
    TLS_PEER_ISSUER,
    TLS_PEER_SUBJECT_LEGACY,
    TLS_PEER_ISSUER_LEGACY,
    TLS_PEER_SERIAL,
    TLS_PEER_FINGERPRINT,
    TLS_PEER_NOT_BEFORE,
    TLS_PEER_NOT_AFTER
};
size_t tls_peer_text(SSL *ssl, int what, char *buffer, size_t count);
// Whole days from `now` (seconds since 1970) to the certificate's end, 0 when it is past; -1: no certificate.
int64_t tls_peer_days_left(SSL *ssl, int64_t now);

#endif
