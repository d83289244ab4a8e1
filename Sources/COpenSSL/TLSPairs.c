// Certificates and keys as objects, and the callback by which a connection asks for them.
#include "Internal.h"
#include <openssl/x509.h>
#include <stdlib.h>

struct TLSChain {
    X509 *own;
    STACK_OF(X509) *rest;
};

void tls_chain_free(TLSChain *chain) {
    if (chain == NULL) { return; }
    X509_free(chain->own);
    sk_X509_pop_free(chain->rest, X509_free);
    free(chain);
}

TLSChain *tls_chain_parse(const void *pem, size_t count) {
    clear_errors();
    TLSChain *chain = calloc(1, sizeof(TLSChain));
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    int done = chain != NULL && bio != NULL;
    if (done) {
        chain->own = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
        chain->rest = sk_X509_new_null();
        done = chain->own != NULL && chain->rest != NULL;
    }
    while (done) {
        X509 *next = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (next == NULL) {
            done = pem_has_ended();
            break;
        }
        if (sk_X509_push(chain->rest, next) == 0) {
            X509_free(next);
            done = 0;
        }
    }
    BIO_free(bio);
    if (done) { return chain; }
    tls_chain_free(chain);
    return NULL;
}

void tls_key_free(EVP_PKEY *key) { EVP_PKEY_free(key); }

static int on_password(char *buffer, int count, int writes, void *argument) {
    (void)writes;
    const char *password = argument;
    if (password == NULL) { return -1; }
    size_t n = strlen(password);
    if (n > (size_t)count) { n = (size_t)count; }
    memcpy(buffer, password, n);
    return (int)n;
}

EVP_PKEY *tls_key_parse(const void *pem, size_t count, const char *const *passwords) {
    EVP_PKEY *key = NULL;
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (bio == NULL) { return NULL; }
    do {
        clear_errors();
        (void)BIO_reset(bio);
        const char *password = passwords == NULL ? NULL : *passwords++;
        key = PEM_read_bio_PrivateKey(bio, NULL, on_password, (void *)(uintptr_t)password);
    } while (key == NULL && passwords != NULL && *passwords != NULL);
    BIO_free(bio);
    return key;
}

// MARK: The same for a context

int tls_use_certificate(SSL_CTX *context, const void *pem, size_t count) {
    TLSChain *chain = tls_chain_parse(pem, count);
    int done = chain != NULL && SSL_CTX_use_certificate(context, chain->own) == 1 && SSL_CTX_set1_chain(context, chain->rest) == 1;
    tls_chain_free(chain);
    return done;
}

int tls_use_key(SSL_CTX *context, const void *pem, size_t count, const char *const *passwords) {
    EVP_PKEY *key = tls_key_parse(pem, count, passwords);
    int done = key != NULL && SSL_CTX_use_PrivateKey(context, key) == 1;
    EVP_PKEY_free(key);
    return done;
}

// MARK: For one connection

static int on_pair(SSL *ssl, void *argument) {
    (void)argument;
    return pipe_of(ssl)->pair_verdict;
}

void tls_ask_for_pairs(SSL_CTX *context) { SSL_CTX_set_cert_cb(context, on_pair, NULL); }

int tls_present(SSL *ssl, const TLSChain *chain, EVP_PKEY *key) {
    clear_errors();
    if (SSL_use_certificate(ssl, chain->own) != 1 || SSL_set1_chain(ssl, chain->rest) != 1) { return 0; }
    if (SSL_use_PrivateKey(ssl, key) == 1) { return 1; }
    unsigned long error = ERR_peek_last_error();
    return ERR_GET_LIB(error) == ERR_LIB_X509 && ERR_GET_REASON(error) == X509_R_KEY_VALUES_MISMATCH ? -1 : 0;
}
