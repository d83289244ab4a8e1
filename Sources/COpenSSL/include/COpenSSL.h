// libssl and libcrypto for the engine: what they have as macros, a BIO that lies in memory, and the callbacks of a handshake.
// Called by Engine/Transport/TLS*.swift and Engine/TLS. No socket is touched here; a thread's pipe is not shared with another.
#ifndef SWITCHBACK_COPENSSL_H
#define SWITCHBACK_COPENSSL_H
#include "COpenSSLCertificates.h"
#include "TLSClients.h"
#include "TLSSessions.h"
#include "TLSErrand.h"
#include "TLSStatus.h"
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

// What the BIOs of one worker's connections read from and write to, while one call into libssl lasts.
typedef struct {
    // Ciphertext to read: what is left of it after the call was not wanted yet.
    const uint8_t *in;
    size_t in_count;
    // No more will come: an empty input is the end.
    int at_end;
    // Room for ciphertext. A write that does not fit asks to be made again.
    uint8_t *out;
    size_t out_count;
    size_t out_capacity;
    // What the connection of the call was made with, before its server was known: whose sessions and tickets it has.
    const SSL_CTX *first_context;
    // The protocols offered by ALPN, as on the wire.
    const uint8_t *alpn;
    unsigned int alpn_count;
    // Whether the connection has been given its certificates: 1, 0 (there are none), or -1: not yet, asked for with TLS_WANT_PAIR.
    int pair_verdict;
    // Set by a handshake that would have shown it: its answer is to be asked for, and `tls_staple_answered` called.
    TLSStaple *staple;
    // What the server name in a client's hello comes to; asked for with TLS_WANT_NAME.
    int name_verdict;
    uint16_t name_count;
    uint8_t name[256];
    // A session that the server has offered: the caller's, to keep or to free.
    SSL_SESSION *session;
} TLSPipe;

enum { TLS_NAME_UNKNOWN = 0, TLS_NAME_TAKEN = 1, TLS_NAME_REJECTED = 2 };

// Results of the calls below that are no counts: what SSL_get_error says, negative.
enum {
    TLS_FAILED = -1,
    TLS_WANT_READ = -2,
    TLS_WANT_WRITE = -3,
    TLS_WANT_PAIR = -4,
    TLS_FAILED_SYSCALL = -5,
    TLS_ENDED = -6,
    TLS_WANT_NAME = -11
};

// Of a server or a client, with the settings that all contexts share. NULL: out of memory.
SSL_CTX *tls_context_make(int is_server);

// The pipe as a BIO, which all connections on it share: none of them has anything of its own in it. NULL: out of memory.
BIO *tls_pipe_bio(TLSPipe *pipe);
// A connection. NULL: out of memory.
SSL *tls_make(SSL_CTX *context, BIO *bio, int is_server);

// Where the context asks for the kernel's TLS: the handshake writes to the socket itself, so that the kernel may take over. 1: so it does.
int tls_write_to_socket(SSL *ssl, int fd);
// Called when such a handshake is done. 1: the kernel encrypts, and what is written to the socket goes as it is; 0: to the pipe again.
int tls_kernel_encrypts(SSL *ssl, BIO *bio);

// 1: done; else one of the above.
int tls_handshake(SSL *ssl);
// 1: no early data, or no more, comes before the handshake is done; 2: `count` bytes have come, and may be answered; else one of the above.
int tls_handshake_early(SSL *ssl, void *buffer, size_t *count);
int tls_is_handshake_done(SSL *ssl);
// As `tls_write`, before the handshake is done.
int tls_write_early(SSL *ssl, const void *bytes, int count);
// More than 0: bytes; else one of the above.
int tls_read(SSL *ssl, void *buffer, int count);
int tls_write(SSL *ssl, const void *bytes, int count);
// Says that no more will be written.
void tls_end(SSL *ssl);

// Goes on with another server's context, with what of its settings a connection may still take.
int tls_change_context(SSL *ssl, SSL_CTX *context);

// 1 when the last failure was a certificate of the peer, a protocol or a cipher that is not shared, or the like: the peer's doing.
int tls_failure_is_peers(void);
// The errors of this thread as `error:...`, then none are left. Returns how many bytes there are, without the zero.
size_t tls_errors(char *buffer, size_t count);

// MARK: Building contexts. Each returns 1, or 0 with OpenSSL's errors left to be asked for.

int tls_use_certificate(SSL_CTX *context, const void *pem, size_t count);
// Tries one password after the other; `passwords` are strings, ended by NULL. NULL itself: the key is not encrypted.
int tls_use_key(SSL_CTX *context, const void *pem, size_t count, const char *const *passwords);
int tls_use_dh_parameters(SSL_CTX *context, const void *pem, size_t count);
int tls_set_groups(SSL_CTX *context, const char *names);
// `versions`: a bit for each of TLSv1, 1.1, 1.2, 1.3, from the lowest bit.
void tls_set_versions(SSL_CTX *context, unsigned int versions);
// 2: the value is the name of a file.
int tls_command_kind(SSL_CTX *context, const char *name);
int tls_command(SSL_CTX *context, const char *name, const char *value);
// Connections of the context are given certificates one by one: with TLS_WANT_PAIR they ask for theirs.
void tls_ask_for_pairs(SSL_CTX *context);
void tls_take_early_data(SSL_CTX *context, uint32_t bytes);
// Adds secrets to the file, in the format of NSS.
int tls_log_keys(SSL_CTX *context, const char *path);
void tls_set_fragment(SSL_CTX *context, long bytes);
void tls_prefer_own_ciphers(SSL_CTX *context);

// The name of the certificate that was added or looked at last.
size_t tls_current_subject(SSL_CTX *context, char *buffer, size_t count);

// MARK: What was agreed on, for variables. Texts are written to `buffer`; what does not fit is left out.

size_t tls_ciphers(SSL *ssl, char *buffer, size_t count);
size_t tls_curve(SSL *ssl, char *buffer, size_t count);
size_t tls_curves(SSL *ssl, char *buffer, size_t count);
size_t tls_session_id(SSL *ssl, char *buffer, size_t count);
const char *tls_server_name(SSL *ssl);
// Whether ALPN chose HTTP/2.
int tls_chose_http2(SSL *ssl);

#include "COpenSSLClient.h"

#endif
