// TLS of a client whose thread may wait: bytes go in and out through memory, the socket is the caller's.
// What each call is for is told in the header.
#include "TLSErrand.h"
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

struct TLSErrandState {
    SSL_CTX *context;
    SSL *ssl;
    // Owned by `ssl`.
    BIO *input;
    BIO *output;
};

static int set_up(TLSErrandState *errand, const char *host) {
    SSL_CTX_set_min_proto_version(errand->context, TLS1_2_VERSION);
    SSL_CTX_set_verify(errand->context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_default_verify_paths(errand->context) != 1) { return 0; }
    errand->ssl = SSL_new(errand->context);
    errand->input = BIO_new(BIO_s_mem());
    errand->output = BIO_new(BIO_s_mem());
    if (errand->ssl == NULL || errand->input == NULL || errand->output == NULL) {
        BIO_free(errand->input);
        BIO_free(errand->output);
        return 0;
    }
    BIO_set_mem_eof_return(errand->input, -1);
    SSL_set_bio(errand->ssl, errand->input, errand->output);
    SSL_set_connect_state(errand->ssl);
    // An address in digits is no name to ask for, and stands in the certificate as an address.
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(errand->ssl), host) == 1) { return 1; }
    ERR_clear_error();
    return SSL_set_tlsext_host_name(errand->ssl, host) == 1 && SSL_set1_host(errand->ssl, host) == 1;
}

TLSErrandState *tls_errand_new(const char *host) {
    ERR_clear_error();
    TLSErrandState *errand = calloc(1, sizeof(*errand));
    if (errand == NULL) { return NULL; }
    errand->context = SSL_CTX_new(TLS_client_method());
    if (errand->context != NULL && set_up(errand, host)) { return errand; }
    tls_errand_free(errand);
    return NULL;
}

void tls_errand_free(TLSErrandState *errand) {
    if (errand == NULL) { return; }
    SSL_free(errand->ssl);
    SSL_CTX_free(errand->context);
    free(errand);
}

int tls_errand_give(TLSErrandState *errand, const void *bytes, size_t count) {
    return BIO_write(errand->input, bytes, (int)count) == (int)count;
}

size_t tls_errand_take(TLSErrandState *errand, void *bytes, size_t room) {
    int n = BIO_read(errand->output, bytes, (int)room);
    return n > 0 ? (size_t)n : 0;
}

int tls_errand_handshake(TLSErrandState *errand) {
    ERR_clear_error();
    int r = SSL_do_handshake(errand->ssl);
    if (r == 1) { return 1; }
    return SSL_get_error(errand->ssl, r) == SSL_ERROR_WANT_READ ? 0 : -1;
}

long tls_errand_read(TLSErrandState *errand, void *bytes, size_t room) {
    ERR_clear_error();
    int n = SSL_read(errand->ssl, bytes, (int)room);
    if (n > 0) { return n; }
    switch (SSL_get_error(errand->ssl, n)) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_READ: return -1;
    default: return -2;
    }
}

int tls_errand_write(TLSErrandState *errand, const void *bytes, size_t count) {
    ERR_clear_error();
    return SSL_write(errand->ssl, bytes, (int)count) == (int)count;
}

void tls_errand_reason(TLSErrandState *errand, char *text, size_t room) {
    long verified = SSL_get_verify_result(errand->ssl);
    unsigned long error = ERR_peek_last_error();
    const char *reason = verified != X509_V_OK ? X509_verify_cert_error_string(verified) : ERR_reason_error_string(error);
    if (reason == NULL) { reason = "the handshake failed"; }
    size_t n = strlen(reason);
    if (n >= room) { n = room - 1; }
    memcpy(text, reason, n);
    text[n] = 0;
}
