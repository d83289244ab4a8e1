// Certificates as data: a chain read from PEM, what stands in it, and whether a key belongs to it.
// Called by Engine/Transport/TLSCertificate.swift. Texts are written to `buffer`; what does not fit is left out.
#ifndef SWITCHBACK_COPENSSL_CERTIFICATES_H
#define SWITCHBACK_COPENSSL_CERTIFICATES_H
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

// The certificates of a text in PEM, in its order. NULL, with OpenSSL's errors left to be asked for: there is none, or one cannot be read.
STACK_OF(X509) *tls_chain_read(const void *pem, size_t count);
void tls_chain_free(STACK_OF(X509) *chain);
int tls_chain_count(STACK_OF(X509) *chain);
X509 *tls_chain_at(STACK_OF(X509) *chain, int i);
// The certificates once more, in PEM. Returns how many bytes there are, whether or not they fit.
size_t tls_chain_pem(STACK_OF(X509) *chain, char *buffer, size_t count);
// SHA-256 of all certificates. 1, or 0.
int tls_chain_digest(STACK_OF(X509) *chain, uint8_t digest[32]);

enum { TLS_SUBJECT = 0, TLS_ISSUER = 1, TLS_SERIAL = 2, TLS_KEY_TYPE = 3 };
// RFC 2253 for names, hexadecimal for the number, `RSA 2048` for the type.
size_t tls_certificate_text(X509 *certificate, int what, char *buffer, size_t count);
// Subject alternative names of hosts and addresses, separated by zeros.
size_t tls_certificate_names(X509 *certificate, char *buffer, size_t count);
// Seconds since 1970. 1, or 0 when there is no such time.
int tls_certificate_times(X509 *certificate, int64_t *not_before, int64_t *not_after);
int tls_certificate_fingerprint(X509 *certificate, uint8_t digest[32]);
// 1: the second one's key and name are those that the first was signed with.
int tls_certificate_is_issued(X509 *certificate, X509 *issuer);

enum { TLS_KEY_FITS = 1, TLS_KEY_UNREADABLE = 0, TLS_KEY_DIFFERS = -1, TLS_KEY_ENCRYPTED = -2 };
int tls_certificate_check_key(X509 *certificate, const void *pem, size_t count);
// The key once more, in PEM, alone. Returns how many bytes there are, whether or not they fit; 0: it cannot be read.
size_t tls_key_pem(const void *pem, size_t count, char *buffer, size_t room);

#endif
