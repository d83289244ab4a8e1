// Certificates and keys as objects of their own: read once, presented by many connections.
#ifndef SWITCHBACK_TLS_PAIRS_H
#define SWITCHBACK_TLS_PAIRS_H
#include <openssl/ssl.h>
#include <stddef.h>

typedef struct TLSChain TLSChain;

// A certificate in PEM with its chain behind it; NULL with errors left to be asked for.
TLSChain *tls_chain_parse(const void *pem, size_t count);
void tls_chain_free(TLSChain *chain);

// Tries one password after the other; `passwords` are strings, ended by NULL. NULL itself: the key is not encrypted.
EVP_PKEY *tls_key_parse(const void *pem, size_t count, const char *const *passwords);
void tls_key_free(EVP_PKEY *key);

// Connections of the context are given certificates one by one: with TLS_WANT_PAIR they ask for theirs.
void tls_ask_for_pairs(SSL_CTX *context);
// 1; 0 with errors left to be asked for; -1 when the key is another certificate's.
int tls_present(SSL *ssl, const TLSChain *chain, EVP_PKEY *key);

#endif
