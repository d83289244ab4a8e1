// What the C files of this target share and Swift does not see.
#ifndef SWITCHBACK_COPENSSL_INTERNAL_H
#define SWITCHBACK_COPENSSL_INTERNAL_H
#include "COpenSSL.h"
#include <string.h>

// The pipe of the call under way.
static inline TLSPipe *pipe_of(const SSL *ssl) { return BIO_get_data(SSL_get_rbio(ssl)); }

// libssl tells by the thread's list of errors whether a call failed: what somebody left there must be gone before.
static inline void clear_errors(void) {
    if (ERR_peek_error() != 0) { ERR_clear_error(); }
}

// The last read from a PEM found nothing more: the end, no failure. The error is gone then.
static inline int pem_has_ended(void) {
    unsigned long error = ERR_peek_last_error();
    int ended = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    if (ended) { ERR_clear_error(); }
    return ended;
}

// A text that is written piece by piece; what does not fit is left out.
typedef struct {
    char *start;
    size_t used;
    size_t capacity;
} Text;

void text_append(Text *text, const char *word);
void text_append_bytes(Text *text, const char *bytes, size_t count);
void text_append_hex(Text *text, const uint8_t *bytes, size_t count);

// What a context has beside libssl's own. Made when it is first asked for; NULL: out of memory.
typedef struct {
    TLSSessionCache *sessions;
    TLSTicketKeys *tickets;
    TLSStaple *staples;
    // A descriptor; 0: secrets are kept.
    int key_log;
} TLSExtras;

TLSExtras *tls_extras(const SSL_CTX *context, int makes);
void tls_staples_free(TLSStaple *first);

#endif
