// OCSP (RFC 6960): questions about certificates, answers to them, and answers that are shown to clients (stapling).
// Nothing is sent from here: who asks takes the bytes and brings the answer.
#ifndef SWITCHBACK_TLS_STATUS_H
#define SWITCHBACK_TLS_STATUS_H
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TLSQuestion TLSQuestion;
typedef struct TLSStaple TLSStaple;

enum { TLS_STATUS_GOOD = 0, TLS_STATUS_REVOKED = 1, TLS_STATUS_UNKNOWN = 2, TLS_STATUS_FAILED = -1 };

// About the certificate at `place` of the verified chain of a peer, 0 for its own. NULL: it has none, or nobody has signed it but
// itself: `TLS_STATUS_GOOD` in `status`, or `TLS_STATUS_FAILED` with errors left to be asked for.
TLSQuestion *tls_question_about_peer(SSL *ssl, int place, int *status);
void tls_question_free(TLSQuestion *question);
// The request in DER. 0: no memory, or it does not fit.
size_t tls_question_bytes(const TLSQuestion *question, uint8_t *buffer, size_t count);
// The first URL that the certificate names. 0: none.
size_t tls_question_responder(const TLSQuestion *question, char *buffer, size_t count);
// 32 bytes that are the same for the same question.
int tls_question_digest(const TLSQuestion *question, uint8_t *digest);
// What an answer in DER says; until when it does, in seconds since 1970. TLS_STATUS_FAILED: it is none, with errors left.
int tls_question_answered(const TLSQuestion *question, const uint8_t *der, size_t count, int64_t *until);

// MARK: Stapling. 1, or 0 with errors left.

// Handshakes of the context show the answers that its certificates have.
int tls_staple(SSL_CTX *context);
// An answer for all certificates of the context, whatever it says.
int tls_staple_given(SSL_CTX *context, const uint8_t *der, size_t count);
// What is asked about the certificate at `place` of the context. NULL: no such certificate (`has_issuer` 1), or its issuer is not known.
TLSStaple *tls_staple_about(SSL_CTX *context, int place, int verifies, int *has_issuer);
// From now on handshakes ask for it: see TLSPipe.staple. `responder`: whom, in the caller's own words, which are copied. 0: no memory.
int tls_staple_enable(TLSStaple *staple, const void *responder, size_t count);
const uint8_t *tls_staple_responder(const TLSStaple *staple, size_t *count);
void tls_staple_retain(TLSStaple *staple);
void tls_staple_release(TLSStaple *staple);
const TLSQuestion *tls_staple_question(const TLSStaple *staple);
// The answer, or none (count 0): when it is asked for again is decided here. What it says.
int tls_staple_answered(TLSStaple *staple, const uint8_t *der, size_t count);

#endif
