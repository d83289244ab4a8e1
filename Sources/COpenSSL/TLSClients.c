// Certificates of clients: asking for them, trust, revocation, and their parts as texts.
#include "Internal.h"
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

// MARK: Building

// The handshake goes on whatever the verdict: a client is told in HTTP what is wrong.
static int on_verify(int is_good, X509_STORE_CTX *store) {
    (void)is_good;
    (void)store;
    return 1;
}

void tls_ask_for_certificate(SSL_CTX *context) { SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_verify); }

void tls_set_verify_depth(SSL_CTX *context, int depth) { SSL_CTX_set_verify_depth(context, depth); }

// Adds the name unless it is there. 0: out of memory.
static int announce(STACK_OF(X509_NAME) *names, const X509 *certificate) {
    const X509_NAME *subject = X509_get_subject_name(certificate);
    for (int i = 0; i < sk_X509_NAME_num(names); i++) {
        if (X509_NAME_cmp(sk_X509_NAME_value(names, i), subject) == 0) { return 1; }
    }
    X509_NAME *name = X509_NAME_dup(subject);
    if (name != NULL && sk_X509_NAME_push(names, name) > 0) { return 1; }
    X509_NAME_free(name);
    return 0;
}

int tls_trust(SSL_CTX *context, const void *pem, size_t count, int announces) {
    clear_errors();
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    STACK_OF(X509_NAME) *names = announces ? sk_X509_NAME_new_null() : NULL;
    int done = bio != NULL && store != NULL && (names != NULL || !announces);
    int found = 0;
    while (done) {
        // As everywhere, `BEGIN TRUSTED CERTIFICATE` is one, too.
        X509 *certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
        if (certificate == NULL) {
            done = found > 0 && pem_has_ended();
            break;
        }
        found++;
        done = X509_STORE_add_cert(store, certificate) == 1 && (names == NULL || announce(names, certificate));
        X509_free(certificate);
    }
    if (done && names != NULL) {
        SSL_CTX_set_client_CA_list(context, names);
    } else {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
    }
    BIO_free(bio);
    return done;
}

// MARK: What a certificate says

int tls_has_peer_certificate(SSL *ssl) { return SSL_get0_peer_certificate(ssl) != NULL; }

long tls_verdict(SSL *ssl) { return SSL_get_verify_result(ssl); }

int tls_verdict_is_unknown_issuer(long verdict) {
    switch (verdict) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: return 1;
    default: return 0;
    }
}

static int print(BIO *bio, const X509 *certificate, int what) {
    switch (what) {
    case TLS_PEER_PEM: return PEM_write_bio_X509(bio, certificate);
    case TLS_PEER_SUBJECT: return X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0;
    case TLS_PEER_ISSUER: return X509_NAME_print_ex(bio, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253) >= 0;
    case TLS_PEER_SERIAL: return i2a_ASN1_INTEGER(bio, X509_get0_serialNumber(certificate)) > 0;
    case TLS_PEER_NOT_BEFORE: return ASN1_TIME_print(bio, X509_get0_notBefore(certificate));
    case TLS_PEER_NOT_AFTER: return ASN1_TIME_print(bio, X509_get0_notAfter(certificate));
    default: return 0;
    }
}

static void append_legacy(Text *text, const X509_NAME *name) {
    char *line = X509_NAME_oneline(name, NULL, 0);
    if (line != NULL) { text_append(text, line); }
    OPENSSL_free(line);
}

size_t tls_peer_text(SSL *ssl, int what, char *buffer, size_t count) {
    Text text = { buffer, 0, count };
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate == NULL) { return 0; }
    clear_errors();
    if (what == TLS_PEER_FINGERPRINT) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned int n = 0;
        if (X509_digest(certificate, EVP_sha1(), digest, &n) == 1) { text_append_hex(&text, digest, n); }
    } else if (what == TLS_PEER_SUBJECT_LEGACY) {
        append_legacy(&text, X509_get_subject_name(certificate));
    } else if (what == TLS_PEER_ISSUER_LEGACY) {
        append_legacy(&text, X509_get_issuer_name(certificate));
    } else {
        BIO *bio = BIO_new(BIO_s_mem());
        char *bytes = NULL;
        if (bio != NULL && print(bio, certificate, what)) {
            long n = BIO_get_mem_data(bio, &bytes);
            if (n > 0) { text_append_bytes(&text, bytes, (size_t)n); }
        }
        BIO_free(bio);
    }
    clear_errors();
    return text.used;
}

int64_t tls_peer_days_left(SSL *ssl, int64_t now) {
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate == NULL) { return -1; }
    int days = 0;
    int seconds = 0;
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)now);
    int done = from != NULL && ASN1_TIME_diff(&days, &seconds, from, X509_get0_notAfter(certificate)) == 1;
    ASN1_TIME_free(from);
    clear_errors();
    return done && days > 0 ? days : 0;
}
