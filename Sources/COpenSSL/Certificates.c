// Certificates as data. What each call is for is told in the header.
#include "COpenSSLCertificates.h"
#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

// MARK: Chains

STACK_OF(X509) *tls_chain_read(const void *pem, size_t count) {
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    STACK_OF(X509) *chain = sk_X509_new_null();
    int done = bio != NULL && chain != NULL;
    while (done) {
        X509 *next = sk_X509_num(chain) == 0 ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (next == NULL) {
            unsigned long error = ERR_peek_last_error();
            done = sk_X509_num(chain) > 0 && ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
            if (done) { ERR_clear_error(); }
            break;
        }
        if (sk_X509_push(chain, next) == 0) {
            X509_free(next);
            done = 0;
        }
    }
    BIO_free(bio);
    if (done) { return chain; }
    tls_chain_free(chain);
    return NULL;
}

void tls_chain_free(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }

int tls_chain_count(STACK_OF(X509) *chain) { return sk_X509_num(chain); }

X509 *tls_chain_at(STACK_OF(X509) *chain, int i) { return sk_X509_value(chain, i); }

// What was written to `bio`, as much as fits. Frees it.
static size_t taken(BIO *bio, char *buffer, size_t count) {
    char *text = NULL;
    long n = bio == NULL ? 0 : BIO_get_mem_data(bio, &text);
    if (n > 0 && text != NULL) { memcpy(buffer, text, (size_t)n < count ? (size_t)n : count); }
    BIO_free(bio);
    return n > 0 ? (size_t)n : 0;
}

size_t tls_chain_pem(STACK_OF(X509) *chain, char *buffer, size_t count) {
    BIO *bio = BIO_new(BIO_s_mem());
    for (int i = 0; bio != NULL && i < sk_X509_num(chain); i++) { PEM_write_bio_X509(bio, sk_X509_value(chain, i)); }
    return taken(bio, buffer, count);
}

int tls_chain_digest(STACK_OF(X509) *chain, uint8_t digest[32]) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    for (int i = 0; done && i < sk_X509_num(chain); i++) {
        uint8_t one[32];
        done = tls_certificate_fingerprint(sk_X509_value(chain, i), one) && EVP_DigestUpdate(context, one, sizeof one) == 1;
    }
    unsigned int n = 0;
    done = done && EVP_DigestFinal_ex(context, digest, &n) == 1 && n == 32;
    EVP_MD_CTX_free(context);
    return done;
}

// MARK: One certificate

int tls_certificate_fingerprint(X509 *certificate, uint8_t digest[32]) {
    unsigned int n = 0;
    return X509_digest(certificate, EVP_sha256(), digest, &n) == 1 && n == 32;
}

static void print_key_type(BIO *bio, X509 *certificate) {
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    if (key == NULL) { return; }
    int type = EVP_PKEY_get_base_id(key);
    char group[64] = "";
    size_t n = 0;
    switch (type) {
    case EVP_PKEY_RSA: BIO_printf(bio, "RSA %d", EVP_PKEY_get_bits(key)); return;
    case EVP_PKEY_RSA_PSS: BIO_printf(bio, "RSA-PSS %d", EVP_PKEY_get_bits(key)); return;
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(key, group, sizeof group, &n) == 1) { BIO_printf(bio, "EC %s", group); } else { BIO_puts(bio, "EC"); }
        return;
    default: BIO_puts(bio, type == NID_undef ? EVP_PKEY_get0_type_name(key) : OBJ_nid2sn(type));
    }
}

size_t tls_certificate_text(X509 *certificate, int what, char *buffer, size_t count) {
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL) { return 0; }
    switch (what) {
    case TLS_SUBJECT: X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB); break;
    case TLS_ISSUER: X509_NAME_print_ex(bio, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB); break;
    case TLS_SERIAL: i2a_ASN1_INTEGER(bio, X509_get0_serialNumber(certificate)); break;
    default: print_key_type(bio, certificate);
    }
    size_t n = taken(bio, buffer, count);
    return n < count ? n : count;
}

size_t tls_certificate_names(X509 *certificate, char *buffer, size_t count) {
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t used = 0;
    for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char text[INET6_ADDRSTRLEN];
        const char *from = NULL;
        size_t n = 0;
        if (name->type == GEN_DNS) {
            from = (const char *)ASN1_STRING_get0_data(name->d.dNSName);
            n = (size_t)ASN1_STRING_length(name->d.dNSName);
            if (memchr(from, 0, n) != NULL) { continue; }
        } else if (name->type == GEN_IPADD) {
            int bytes = ASN1_STRING_length(name->d.iPAddress);
            if (bytes != 4 && bytes != 16) { continue; }
            from = inet_ntop(bytes == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof text);
            n = from == NULL ? 0 : strlen(from);
        }
        if (n == 0 || n + 1 > count - used) { continue; }
        memcpy(buffer + used, from, n);
        buffer[used + n] = 0;
        used += n + 1;
    }
    GENERAL_NAMES_free(names);
    return used;
}

static int seconds_of(const ASN1_TIME *moment, int64_t *seconds) {
    struct tm parts;
    if (moment == NULL || ASN1_TIME_to_tm(moment, &parts) != 1) { return 0; }
    *seconds = (int64_t)timegm(&parts);
    return 1;
}

int tls_certificate_times(X509 *certificate, int64_t *not_before, int64_t *not_after) {
    return seconds_of(X509_get0_notBefore(certificate), not_before) && seconds_of(X509_get0_notAfter(certificate), not_after);
}

int tls_certificate_is_issued(X509 *certificate, X509 *issuer) {
    if (X509_check_issued(issuer, certificate) != X509_V_OK) { return 0; }
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    int r = key == NULL ? 0 : X509_verify(certificate, key);
    ERR_clear_error();
    return r == 1;
}

// MARK: Keys

// Nobody is asked for a password; that one was wanted is remembered.
static int no_password(char *buffer, int count, int writes, void *was_asked) {
    (void)buffer;
    (void)count;
    (void)writes;
    *(int *)was_asked = 1;
    return -1;
}

static EVP_PKEY *key_of(const void *pem, size_t count, int *was_asked) {
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (bio == NULL) { return NULL; }
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, was_asked);
    BIO_free(bio);
    return key;
}

int tls_certificate_check_key(X509 *certificate, const void *pem, size_t count) {
    int was_asked = 0;
    EVP_PKEY *key = key_of(pem, count, &was_asked);
    if (key == NULL) { return was_asked ? TLS_KEY_ENCRYPTED : TLS_KEY_UNREADABLE; }
    int fits = X509_check_private_key(certificate, key) == 1;
    EVP_PKEY_free(key);
    if (fits) { return TLS_KEY_FITS; }
    return TLS_KEY_DIFFERS;
}

size_t tls_key_pem(const void *pem, size_t count, char *buffer, size_t room) {
    int was_asked = 0;
    EVP_PKEY *key = key_of(pem, count, &was_asked);
    if (key == NULL) { return 0; }
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio != NULL) { PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL); }
    EVP_PKEY_free(key);
    return taken(bio, buffer, room);
}
