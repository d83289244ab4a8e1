// libssl and libcrypto, with wrappers for what they have as macros, which Swift cannot import.
#ifndef SWITCHBACK_COPENSSL_H
#define SWITCHBACK_COPENSSL_H
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif
