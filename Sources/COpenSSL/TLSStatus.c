// Questions about certificates, answers, and what of them handshakes show.
#include "Internal.h"
#include <openssl/ocsp.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

// MARK: Questions

struct TLSQuestion {
    X509 *about;
    X509 *issuer;
    STACK_OF(X509) *chain;
    X509_STORE *store;
    unsigned long flags;
};

void tls_question_free(TLSQuestion *question) {
    if (question == NULL) { return; }
    X509_free(question->about);
    X509_free(question->issuer);
    sk_X509_pop_free(question->chain, X509_free);
    X509_STORE_free(question->store);
    free(question);
}

// Each of the parts gets one more owner. `chain` may be NULL.
static TLSQuestion *make_question(X509 *about, X509 *issuer, STACK_OF(X509) *chain, X509_STORE *store, unsigned long flags) {
    TLSQuestion *question = calloc(1, sizeof(TLSQuestion));
    if (question == NULL) { return NULL; }
    X509_up_ref(about);
    X509_up_ref(issuer);
    X509_STORE_up_ref(store);
    question->about = about;
    question->issuer = issuer;
    question->store = store;
    question->chain = chain == NULL ? NULL : X509_chain_up_ref(chain);
    question->flags = flags;
    return question;
}

// The chain as it was verified. A session that was taken up again has only the certificates: they are verified again.
static STACK_OF(X509) *verified_chain(SSL *ssl, X509 *own) {
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    if (chain != NULL) { return X509_chain_up_ref(chain); }
    X509_STORE_CTX *verifying = X509_STORE_CTX_new();
    X509_STORE *store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
    if (verifying != NULL && X509_STORE_CTX_init(verifying, store, own, SSL_get_peer_cert_chain(ssl)) == 1 && X509_verify_cert(verifying) > 0) {
        chain = X509_STORE_CTX_get1_chain(verifying);
    }
    X509_STORE_CTX_free(verifying);
    return chain;
}

TLSQuestion *tls_question_about_peer(SSL *ssl, int place, int *status) {
    clear_errors();
    *status = TLS_STATUS_GOOD;
    X509 *own = SSL_get0_peer_certificate(ssl);
    if (own == NULL) { return NULL; }
    STACK_OF(X509) *chain = verified_chain(ssl, own);
    TLSQuestion *question = NULL;
    if (chain == NULL) {
        *status = TLS_STATUS_FAILED;
    } else if (place + 1 < sk_X509_num(chain)) {
        question = make_question(
            sk_X509_value(chain, place), sk_X509_value(chain, place + 1), chain, SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)), 0);
        if (question == NULL) { *status = TLS_STATUS_FAILED; }
    }
    sk_X509_pop_free(chain, X509_free);
    return question;
}

size_t tls_question_bytes(const TLSQuestion *question, uint8_t *buffer, size_t count) {
    clear_errors();
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, question->about, question->issuer);
    int n = 0;
    if (request != NULL && id != NULL && OCSP_request_add0_id(request, id) != NULL) {
        id = NULL;
        n = i2d_OCSP_REQUEST(request, NULL);
        if (n > 0 && (size_t)n <= count) { n = i2d_OCSP_REQUEST(request, &buffer); } else { n = 0; }
    }
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    return n > 0 ? (size_t)n : 0;
}

size_t tls_question_responder(const TLSQuestion *question, char *buffer, size_t count) {
    Text text = { buffer, 0, count };
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(question->about);
    if (urls == NULL) { return 0; }
    const char *first = sk_OPENSSL_STRING_value(urls, 0);
    if (first != NULL) { text_append(&text, first); }
    X509_email_free(urls);
    return text.used;
}

int tls_question_digest(const TLSQuestion *question, uint8_t *digest) {
    uint8_t bytes[1024];
    size_t count = tls_question_bytes(question, bytes, sizeof bytes);
    if (count == 0) { return 0; }
    SHA256(bytes, count, digest);
    return 1;
}

// Seconds since 1970.
static int64_t seconds_of(const ASN1_GENERALIZEDTIME *at) {
    int days = 0;
    int seconds = 0;
    ASN1_TIME *zero = ASN1_TIME_set(NULL, 0);
    int done = zero != NULL && ASN1_TIME_diff(&days, &seconds, zero, at) == 1;
    ASN1_TIME_free(zero);
    return done ? (int64_t)days * 86400 + seconds : 0;
}

// How far the responder's clock may be from ours.
#define CLOCK_SECONDS 300

int tls_question_answered(const TLSQuestion *question, const uint8_t *der, size_t count, int64_t *until) {
    clear_errors();
    const unsigned char *p = der;
    int status = TLS_STATUS_FAILED;
    int found = V_OCSP_CERTSTATUS_UNKNOWN;
    ASN1_GENERALIZEDTIME *from = NULL;
    ASN1_GENERALIZEDTIME *to = NULL;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)count);
    OCSP_BASICRESP *basic = NULL;
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, question->about, question->issuer);
    if (response != NULL && id != NULL && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        basic = OCSP_response_get1_basic(response);
    }
    if (basic != NULL && OCSP_basic_verify(basic, question->chain, question->store, question->flags) == 1
        && OCSP_resp_find_status(basic, id, &found, NULL, NULL, &from, &to) == 1 && OCSP_check_validity(from, to, CLOCK_SECONDS, -1) == 1) {
        *until = to == NULL ? INT64_MAX : seconds_of(to);
        status = found == V_OCSP_CERTSTATUS_GOOD ? TLS_STATUS_GOOD
            : found == V_OCSP_CERTSTATUS_REVOKED ? TLS_STATUS_REVOKED
                                                 : TLS_STATUS_UNKNOWN;
    }
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return status;
}

// MARK: Stapling

struct TLSStaple {
    atomic_int owners;
    TLSStaple *next;
    // Of the context, by which a handshake finds it; NULL: for all of them.
    const X509 *certificate;
    TLSQuestion *question;
    pthread_mutex_t lock;
    uint8_t *responder;
    size_t responder_count;
    int is_asked;
    // When to ask again, and until when the bytes are good.
    int64_t ask_at;
    int64_t until;
    uint8_t *bytes;
    size_t count;
};

void tls_staple_retain(TLSStaple *staple) { atomic_fetch_add(&staple->owners, 1); }

void tls_staple_release(TLSStaple *staple) {
    if (atomic_fetch_sub(&staple->owners, 1) != 1) { return; }
    tls_question_free(staple->question);
    pthread_mutex_destroy(&staple->lock);
    free(staple->responder);
    free(staple->bytes);
    free(staple);
}

void tls_staples_free(TLSStaple *first) {
    while (first != NULL) {
        TLSStaple *next = first->next;
        tls_staple_release(first);
        first = next;
    }
}

static TLSStaple *add_staple(SSL_CTX *context) {
    TLSExtras *extras = tls_extras(context, 1);
    TLSStaple *staple = extras == NULL ? NULL : calloc(1, sizeof(TLSStaple));
    if (staple == NULL) { return NULL; }
    staple->owners = 1;
    pthread_mutex_init(&staple->lock, NULL);
    staple->next = extras->staples;
    extras->staples = staple;
    return staple;
}

const TLSQuestion *tls_staple_question(const TLSStaple *staple) { return staple->question; }

int tls_staple_enable(TLSStaple *staple, const void *responder, size_t count) {
    staple->responder = malloc(count);
    if (staple->responder == NULL) { return 0; }
    memcpy(staple->responder, responder, count);
    staple->responder_count = count;
    return 1;
}

const uint8_t *tls_staple_responder(const TLSStaple *staple, size_t *count) {
    *count = staple->responder_count;
    return staple->responder;
}

// An answer is kept as it came: clients verify it themselves.
static int show(SSL *ssl, TLSStaple *staple, int64_t now) {
    int shown = 0;
    pthread_mutex_lock(&staple->lock);
    if (staple->count > 0 && staple->until >= now) {
        uint8_t *copy = OPENSSL_memdup(staple->bytes, staple->count);
        if (copy != NULL) {
            SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->count);
            shown = 1;
        }
    }
    if (staple->responder != NULL && !staple->is_asked && staple->ask_at <= now) {
        staple->is_asked = 1;
        pipe_of(ssl)->staple = staple;
    }
    pthread_mutex_unlock(&staple->lock);
    return shown;
}

static int on_status(SSL *ssl, void *argument) {
    (void)argument;
    TLSExtras *extras = tls_extras(SSL_get_SSL_CTX(ssl), 0);
    const X509 *certificate = SSL_get_certificate(ssl);
    for (TLSStaple *staple = extras == NULL ? NULL : extras->staples; staple != NULL; staple = staple->next) {
        if (staple->certificate != NULL && staple->certificate != certificate) { continue; }
        return show(ssl, staple, time(NULL)) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

int tls_staple(SSL_CTX *context) { return SSL_CTX_set_tlsext_status_cb(context, on_status) == 1; }

static int keep(TLSStaple *staple, const uint8_t *der, size_t count) {
    uint8_t *copy = malloc(count);
    if (copy == NULL) { return 0; }
    memcpy(copy, der, count);
    free(staple->bytes);
    staple->bytes = copy;
    staple->count = count;
    return 1;
}

int tls_staple_given(SSL_CTX *context, const uint8_t *der, size_t count) {
    clear_errors();
    const unsigned char *p = der;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)count);
    if (response == NULL) { return 0; }
    OCSP_RESPONSE_free(response);
    TLSStaple *staple = add_staple(context);
    if (staple == NULL) { return 0; }
    staple->until = INT64_MAX;
    return keep(staple, der, count);
}

// The one that has signed it: in its chain, or among those that are trusted. One more owner; NULL: not known.
static X509 *issuer_of(SSL_CTX *context, X509 *certificate, STACK_OF(X509) *chain) {
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *issuer = sk_X509_value(chain, i);
        if (X509_check_issued(issuer, certificate) != X509_V_OK) { continue; }
        X509_up_ref(issuer);
        return issuer;
    }
    X509 *issuer = NULL;
    X509_STORE_CTX *looking = X509_STORE_CTX_new();
    if (looking != NULL && X509_STORE_CTX_init(looking, SSL_CTX_get_cert_store(context), NULL, NULL) == 1
        && X509_STORE_CTX_get1_issuer(&issuer, looking, certificate) != 1) {
        issuer = NULL;
    }
    X509_STORE_CTX_free(looking);
    return issuer;
}

TLSStaple *tls_staple_about(SSL_CTX *context, int place, int verifies, int *has_issuer) {
    clear_errors();
    *has_issuer = 1;
    if (SSL_CTX_set_current_cert(context, SSL_CERT_SET_FIRST) != 1) { return NULL; }
    for (; place > 0; place--) {
        if (SSL_CTX_set_current_cert(context, SSL_CERT_SET_NEXT) != 1) { return NULL; }
    }
    X509 *certificate = SSL_CTX_get0_certificate(context);
    STACK_OF(X509) *chain = NULL;
    if (certificate == NULL) { return NULL; }
    SSL_CTX_get0_chain_certs(context, &chain);
    X509 *issuer = issuer_of(context, certificate, chain);
    *has_issuer = issuer != NULL;
    TLSStaple *staple = issuer == NULL ? NULL : add_staple(context);
    if (staple != NULL) {
        staple->certificate = certificate;
        staple->question = make_question(
            certificate, issuer, chain, SSL_CTX_get_cert_store(context), verifies ? OCSP_TRUSTOTHER : OCSP_NOVERIFY);
        if (staple->question == NULL) { staple = NULL; }
    }
    X509_free(issuer);
    clear_errors();
    return staple;
}

int tls_staple_answered(TLSStaple *staple, const uint8_t *der, size_t count) {
    int64_t until = 0;
    int64_t now = time(NULL);
    int status = count == 0 ? TLS_STATUS_FAILED : tls_question_answered(staple->question, der, count, &until);
    pthread_mutex_lock(&staple->lock);
    staple->is_asked = 0;
    // Five minutes before the answer is past, but an hour from now at the latest and five minutes at the earliest.
    staple->ask_at = now + 300;
    if (status == TLS_STATUS_GOOD && keep(staple, der, count)) {
        int64_t latest = until - 300 < now + 3600 ? until - 300 : now + 3600;
        staple->until = until;
        if (latest > staple->ask_at) { staple->ask_at = latest; }
    }
    pthread_mutex_unlock(&staple->lock);
    return status;
}
