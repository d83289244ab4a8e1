// What a client of TLS needs besides: whom it trusts, which name it asks for, sessions to take up again, a certificate of its own.
// What each call is for is told in the header.
#include "Internal.h"
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

// MARK: Sessions

// A client's: the caller looks whether there is one after each call.
static int on_session(SSL *ssl, SSL_SESSION *session) {
    TLSPipe *pipe = pipe_of(ssl);
    SSL_SESSION_free(pipe->session);
    pipe->session = session;
    return 1;
}

void tls_keep_sessions(SSL_CTX *context) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_session);
}

// MARK: The server's name

int tls_offer_protocols(SSL *ssl, const uint8_t *names, unsigned int count) { return SSL_set_alpn_protos(ssl, names, count) == 0; }

int tls_ask_for_name(SSL *ssl, const char *name) { return SSL_set_tlsext_host_name(ssl, name) == 1; }

int tls_server_is(SSL *ssl, const char *name) {
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate == NULL || *name == 0) { return 0; }
    int is = X509_check_host(certificate, name, 0, 0, NULL) == 1;
    if (!is) {
        // An address of version 6 comes in the brackets of a URL.
        char address[64];
        size_t n = strlen(name);
        if (*name == '[' && n > 2 && n < sizeof(address) && name[n - 1] == ']') {
            memcpy(address, name + 1, n - 2);
            address[n - 2] = 0;
            name = address;
        }
        is = X509_check_ip_asc(certificate, name, 0) == 1;
    }
    clear_errors();
    return is;
}

// MARK: Whom a client trusts

static int is_known(void) {
    unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_X509 && ERR_GET_REASON(error) == X509_R_CERT_ALREADY_IN_HASH_TABLE;
}

// The end of a file of several objects: nothing more begins, and something has.
static int is_at_end(int objects) {
    unsigned long error = ERR_peek_last_error();
    if (objects == 0 || ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) { return 0; }
    ERR_clear_error();
    return 1;
}

int tls_revoke(SSL_CTX *context, const void *pem, size_t count) {
    clear_errors();
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (store == NULL || bio == NULL) { return 0; }
    int objects = 0;
    int done = 1;
    while (done) {
        X509_CRL *next = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
        if (next == NULL) { break; }
        objects++;
        done = X509_STORE_add_crl(store, next) == 1 || is_known();
        X509_CRL_free(next);
        if (done) { clear_errors(); }
    }
    BIO_free(bio);
    return done && is_at_end(objects) && X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
}

// MARK: A certificate of its own

TLSChain *tls_read_chain(const void *pem, size_t count) {
    clear_errors();
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (bio == NULL) { return NULL; }
    X509 *next = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
    STACK_OF(X509) *chain = next == NULL ? NULL : sk_X509_new_null();
    while (chain != NULL && next != NULL) {
        if (sk_X509_push(chain, next) == 0) { break; }
        next = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    }
    BIO_free(bio);
    unsigned long error = ERR_peek_last_error();
    if (chain != NULL && next == NULL && ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
        return chain;
    }
    X509_free(next);
    tls_free_chain(chain);
    return NULL;
}

void tls_free_chain(TLSChain *chain) { sk_X509_pop_free(chain, X509_free); }

TLSChain *tls_share_chain(TLSChain *chain) { return X509_chain_up_ref(chain); }

// What stands behind the first one; its elements are still the chain's.
static STACK_OF(X509) *rest_of(TLSChain *chain) {
    STACK_OF(X509) *rest = sk_X509_dup(chain);
    if (rest != NULL) { (void)sk_X509_shift(rest); }
    return rest;
}

typedef struct {
    const char *password;
    int is_asked;
} Password;

static int on_password(char *buffer, int count, int writes, void *argument) {
    (void)writes;
    Password *wanted = argument;
    wanted->is_asked = 1;
    if (wanted->password == NULL) { return -1; }
    size_t n = strlen(wanted->password);
    if (n > (size_t)count) { n = (size_t)count; }
    memcpy(buffer, wanted->password, n);
    return (int)n;
}

EVP_PKEY *tls_read_key(const void *pem, size_t count, const char *const *passwords, int *is_sealed) {
    EVP_PKEY *key = NULL;
    Password wanted = { NULL, 0 };
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (bio == NULL) { return NULL; }
    do {
        clear_errors();
        (void)BIO_reset(bio);
        wanted.password = passwords == NULL ? NULL : *passwords++;
        key = PEM_read_bio_PrivateKey(bio, NULL, on_password, &wanted);
    } while (key == NULL && passwords != NULL && *passwords != NULL);
    BIO_free(bio);
    *is_sealed = wanted.is_asked;
    return key;
}

int tls_use_pair(SSL *ssl, TLSChain *chain, EVP_PKEY *key) {
    clear_errors();
    STACK_OF(X509) *rest = rest_of(chain);
    int done = rest != NULL && SSL_use_certificate(ssl, sk_X509_value(chain, 0)) == 1 && SSL_set1_chain(ssl, rest) == 1;
    sk_X509_free(rest);
    if (!done) { return 0; }
    if (SSL_use_PrivateKey(ssl, key) == 1) { return 1; }
    unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_X509 && ERR_GET_REASON(error) == X509_R_KEY_VALUES_MISMATCH ? -1 : 0;
}

int tls_digest(const void *bytes, size_t count, uint8_t *digest) { return EVP_Digest(bytes, count, digest, NULL, EVP_sha256(), NULL); }
