// The BIO, the callbacks of a server's handshake, and what of libssl needs more than a line. What each is for is told in the header.
#include "Internal.h"
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>

// MARK: The BIO

static BIO_METHOD *pipe_method;
static pthread_once_t pipe_once = PTHREAD_ONCE_INIT;

static int pipe_read(BIO *bio, char *to, size_t count, size_t *done) {
    TLSPipe *pipe = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *done = 0;
    if (pipe->in_count == 0) {
        if (!pipe->at_end) { BIO_set_retry_read(bio); }
        return 0;
    }
    size_t n = count < pipe->in_count ? count : pipe->in_count;
    memcpy(to, pipe->in, n);
    pipe->in += n;
    pipe->in_count -= n;
    *done = n;
    return 1;
}

static int pipe_write(BIO *bio, const char *from, size_t count, size_t *done) {
    TLSPipe *pipe = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    size_t room = pipe->out_capacity - pipe->out_count;
    size_t n = count < room ? count : room;
    *done = n;
    if (n == 0) {
        BIO_set_retry_write(bio);
        return 0;
    }
    memcpy(pipe->out + pipe->out_count, from, n);
    pipe->out_count += n;
    return 1;
}

static long pipe_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    TLSPipe *pipe = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return pipe->at_end && pipe->in_count == 0;
    case BIO_CTRL_PENDING: return (long)pipe->in_count;
    default: return 0;
    }
}

static void make_pipe_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pipe");
    if (method == NULL) { return; }
    BIO_meth_set_read_ex(method, pipe_read);
    BIO_meth_set_write_ex(method, pipe_write);
    BIO_meth_set_ctrl(method, pipe_control);
    pipe_method = method;
}

// MARK: Callbacks of a server's handshake

// The name is told to the caller, who comes again with what it means to him.
static int on_client_hello(SSL *ssl, int *alert, void *argument) {
    (void)argument;
    TLSPipe *pipe = pipe_of(ssl);
    switch (pipe->name_verdict) {
    case TLS_NAME_TAKEN: return SSL_CLIENT_HELLO_SUCCESS;
    case TLS_NAME_REJECTED:
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    default: break;
    }
    const unsigned char *p;
    size_t count;
    pipe->name_count = 0;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &count)) {
        // RFC 6066 section 3: a list of one name.
        if (count < 5 || ((size_t)p[0] << 8 | p[1]) + 2 != count || p[2] != TLSEXT_NAMETYPE_host_name
            || ((size_t)p[3] << 8 | p[4]) + 5 != count) {
            *alert = SSL_AD_DECODE_ERROR;
            return SSL_CLIENT_HELLO_ERROR;
        }
        if (count - 5 > TLSEXT_MAXLEN_host_name || memchr(p + 5, 0, count - 5) != NULL) {
            *alert = SSL_AD_UNRECOGNIZED_NAME;
            return SSL_CLIENT_HELLO_ERROR;
        }
        pipe->name_count = (uint16_t)(count - 5);
        memcpy(pipe->name, p + 5, count - 5);
    }
    return SSL_CLIENT_HELLO_RETRY;
}

// The choice was made at the hello; this keeps the name in the session.
static int on_server_name(SSL *ssl, int *alert, void *argument) {
    (void)ssl;
    (void)alert;
    (void)argument;
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_count, const unsigned char *in, unsigned int in_count,
                   void *argument) {
    (void)argument;
    TLSPipe *pipe = pipe_of(ssl);
    if (pipe->alpn == NULL) { return SSL_TLSEXT_ERR_NOACK; }
    int r = SSL_select_next_proto((unsigned char **)out, out_count, pipe->alpn, pipe->alpn_count, in, in_count);
    return r == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int on_pair(SSL *ssl, void *argument) {
    (void)argument;
    return pipe_of(ssl)->pair_verdict;
}

void tls_ask_for_pairs(SSL_CTX *context) { SSL_CTX_set_cert_cb(context, on_pair, NULL); }

// MARK: Contexts and connections

SSL_CTX *tls_context_make(int is_server) {
    SSL_CTX *context = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (context == NULL) { return NULL; }
    SSL_CTX_set_options(context, SSL_OP_NO_SSLv3 | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_ENABLE_PARTIAL_WRITE
                                  | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // The versions are switched by options, so that -conf_command can narrow them.
    SSL_CTX_set_min_proto_version(context, 0);
    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
    if (is_server) {
        SSL_CTX_set_client_hello_cb(context, on_client_hello, NULL);
        SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
        SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    }
    return context;
}

BIO *tls_pipe_bio(TLSPipe *pipe) {
    pthread_once(&pipe_once, make_pipe_method);
    BIO *bio = pipe_method == NULL ? NULL : BIO_new(pipe_method);
    if (bio == NULL) { return NULL; }
    BIO_set_data(bio, pipe);
    BIO_set_init(bio, 1);
    return bio;
}

SSL *tls_make(SSL_CTX *context, BIO *bio, int is_server) {
    SSL *ssl = bio == NULL ? NULL : SSL_new(context);
    if (ssl == NULL) { return NULL; }
    BIO_up_ref(bio);
    SSL_set_bio(ssl, bio, bio);
    if (is_server) { SSL_set_accept_state(ssl); } else { SSL_set_connect_state(ssl); }
    return ssl;
}

int tls_write_to_socket(SSL *ssl, int fd) {
    if ((SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS) == 0) { return 0; }
    BIO *bio = BIO_new_socket(fd, BIO_NOCLOSE);
    if (bio == NULL) { return 0; }
    SSL_set0_wbio(ssl, bio);
    return 1;
}

int tls_kernel_encrypts(SSL *ssl, BIO *bio) {
    if (BIO_get_ktls_send(SSL_get_wbio(ssl))) { return 1; }
    BIO_up_ref(bio);
    SSL_set0_wbio(ssl, bio);
    return 0;
}

int tls_handshake(SSL *ssl) {
    clear_errors();
    int r = SSL_do_handshake(ssl);
    return r == 1 ? 1 : -SSL_get_error(ssl, r);
}

int tls_handshake_early(SSL *ssl, void *buffer, size_t *count) {
    clear_errors();
    size_t room = *count;
    *count = 0;
    int r = SSL_read_early_data(ssl, buffer, room, count);
    if (r == SSL_READ_EARLY_DATA_FINISH) { return 1; }
    return r == SSL_READ_EARLY_DATA_SUCCESS ? 2 : -SSL_get_error(ssl, 0);
}

int tls_is_handshake_done(SSL *ssl) { return SSL_is_init_finished(ssl); }

int tls_write_early(SSL *ssl, const void *bytes, int count) {
    clear_errors();
    size_t n = 0;
    int r = SSL_write_early_data(ssl, bytes, (size_t)count, &n);
    return r == 1 ? (int)n : -SSL_get_error(ssl, r);
}

int tls_read(SSL *ssl, void *buffer, int count) {
    clear_errors();
    int n = SSL_read(ssl, buffer, count);
    return n > 0 ? n : -SSL_get_error(ssl, n);
}

int tls_write(SSL *ssl, const void *bytes, int count) {
    clear_errors();
    int n = SSL_write(ssl, bytes, count);
    return n > 0 ? n : -SSL_get_error(ssl, n);
}

void tls_end(SSL *ssl) {
    clear_errors();
    SSL_shutdown(ssl);
    clear_errors();
}

int tls_change_context(SSL *ssl, SSL_CTX *context) {
    if (SSL_set_SSL_CTX(ssl, context) == NULL) { return 0; }
    // Only certificates go with the context; what else is a connection's own is taken over one by one.
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(context), SSL_CTX_get_verify_callback(context));
    SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(context));
    SSL_clear_options(ssl, SSL_get_options(ssl) & ~SSL_CTX_get_options(context));
    SSL_set_options(ssl, SSL_CTX_get_options(context));
    SSL_set_min_proto_version(ssl, (int)SSL_CTX_get_min_proto_version(context));
    SSL_set_max_proto_version(ssl, (int)SSL_CTX_get_max_proto_version(context));
    SSL_set_max_early_data(ssl, SSL_CTX_get_max_early_data(context));
    return 1;
}

int tls_failure_is_peers(void) {
    unsigned long error = ERR_peek_last_error();
    if (ERR_GET_LIB(error) != ERR_LIB_SSL) { return 0; }
    switch (ERR_GET_REASON(error)) {
    case ERR_R_INTERNAL_ERROR:
    case ERR_R_MALLOC_FAILURE:
    case SSL_R_NO_CERTIFICATE_SET:
    case SSL_R_NO_CERTIFICATE_ASSIGNED: return 0;
    default: return 1;
    }
}

size_t tls_errors(char *buffer, size_t count) {
    size_t used = 0;
    const char *data = NULL;
    int flags = 0;
    unsigned long error;
    if (count == 0) { return 0; }
    buffer[0] = 0;
    while ((error = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        if (used + 64 >= count) { continue; }
        if (used > 0) { buffer[used++] = ' '; }
        ERR_error_string_n(error, buffer + used, count - used);
        used += strlen(buffer + used);
        if ((flags & ERR_TXT_STRING) == 0 || data == NULL || *data == 0) { continue; }
        size_t n = strlen(data);
        if (n > count - used - 2) { n = count - used - 2; }
        buffer[used++] = ':';
        memcpy(buffer + used, data, n);
        used += n;
        buffer[used] = 0;
    }
    return used;
}

// MARK: Building

int tls_use_certificate(SSL_CTX *context, const void *pem, size_t count) {
    TLSChain *chain = tls_read_chain(pem, count);
    STACK_OF(X509) *rest = chain == NULL ? NULL : sk_X509_dup(chain);
    X509 *own = rest == NULL ? NULL : sk_X509_shift(rest);
    int done = own != NULL && SSL_CTX_use_certificate(context, own) == 1 && SSL_CTX_set1_chain(context, rest) == 1;
    sk_X509_free(rest);
    tls_free_chain(chain);
    return done;
}

int tls_use_key(SSL_CTX *context, const void *pem, size_t count, const char *const *passwords) {
    int is_sealed;
    EVP_PKEY *key = tls_read_key(pem, count, passwords, &is_sealed);
    int done = key != NULL && SSL_CTX_use_PrivateKey(context, key) == 1;
    EVP_PKEY_free(key);
    return done;
}

int tls_use_dh_parameters(SSL_CTX *context, const void *pem, size_t count) {
    clear_errors();
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    EVP_PKEY *parameters = bio == NULL ? NULL : PEM_read_bio_Parameters(bio, NULL);
    BIO_free(bio);
    if (parameters == NULL) { return 0; }
    if (SSL_CTX_set0_tmp_dh_pkey(context, parameters) == 1) { return 1; }
    EVP_PKEY_free(parameters);
    return 0;
}

int tls_set_groups(SSL_CTX *context, const char *names) {
    clear_errors();
    return SSL_CTX_set1_groups_list(context, names) == 1;
}

void tls_set_versions(SSL_CTX *context, unsigned int versions) {
    static const uint64_t off[] = { SSL_OP_NO_TLSv1, SSL_OP_NO_TLSv1_1, SSL_OP_NO_TLSv1_2, SSL_OP_NO_TLSv1_3 };
    for (int i = 0; i < 4; i++) {
        if (versions >> i & 1) { SSL_CTX_clear_options(context, off[i]); } else { SSL_CTX_set_options(context, off[i]); }
    }
}

static SSL_CONF_CTX *commands_of(SSL_CTX *context) {
    SSL_CONF_CTX *commands = SSL_CONF_CTX_new();
    if (commands == NULL) { return NULL; }
    SSL_CONF_CTX_set_flags(
        commands, SSL_CONF_FLAG_FILE | SSL_CONF_FLAG_SERVER | SSL_CONF_FLAG_CLIENT | SSL_CONF_FLAG_CERTIFICATE | SSL_CONF_FLAG_SHOW_ERRORS);
    SSL_CONF_CTX_set_ssl_ctx(commands, context);
    return commands;
}

int tls_command_kind(SSL_CTX *context, const char *name) {
    SSL_CONF_CTX *commands = commands_of(context);
    if (commands == NULL) { return 0; }
    int kind = SSL_CONF_cmd_value_type(commands, name);
    SSL_CONF_CTX_free(commands);
    return kind == SSL_CONF_TYPE_FILE || kind == SSL_CONF_TYPE_DIR ? 2 : 1;
}

int tls_command(SSL_CTX *context, const char *name, const char *value) {
    clear_errors();
    SSL_CONF_CTX *commands = commands_of(context);
    if (commands == NULL) { return 0; }
    int done = SSL_CONF_cmd(commands, name, value) > 0 && SSL_CONF_CTX_finish(commands) == 1;
    SSL_CONF_CTX_free(commands);
    return done;
}

void tls_take_early_data(SSL_CTX *context, uint32_t bytes) {
    SSL_CTX_set_max_early_data(context, bytes);
    // Who sends it knows that it may come twice; whoever answers is told by $ssl_early_data. Tickets stay with the clients.
    SSL_CTX_set_options(context, SSL_OP_NO_ANTI_REPLAY);
}

void tls_set_fragment(SSL_CTX *context, long bytes) { SSL_CTX_set_max_send_fragment(context, bytes); }

void tls_prefer_own_ciphers(SSL_CTX *context) {
    // A client that puts ChaCha20 first has no instructions for AES.
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
}

// MARK: What was agreed on

void text_append_bytes(Text *text, const char *bytes, size_t count) {
    if (count > text->capacity - text->used) { return; }
    memcpy(text->start + text->used, bytes, count);
    text->used += count;
}

void text_append(Text *text, const char *word) { text_append_bytes(text, word, strlen(word)); }

void text_append_hex(Text *text, const uint8_t *bytes, size_t count) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count && text->capacity - text->used >= 2; i++) {
        text->start[text->used++] = digits[bytes[i] >> 4];
        text->start[text->used++] = digits[bytes[i] & 15];
    }
}

size_t tls_ciphers(SSL *ssl, char *buffer, size_t count) {
    Text text = { buffer, 0, count };
    unsigned char *raw = NULL;
    long each = SSL_get0_raw_cipherlist(ssl, NULL);
    long total = SSL_get0_raw_cipherlist(ssl, &raw);
    for (long i = 0; each > 0 && i + each <= total; i += each) {
        const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, raw + i);
        if (i > 0) { text_append(&text, ":"); }
        if (cipher != NULL) {
            text_append(&text, SSL_CIPHER_get_name(cipher));
        } else {
            text_append(&text, "0x");
            text_append_hex(&text, raw + i, (size_t)each);
        }
    }
    return text.used;
}

static void append_group(Text *text, SSL *ssl, int group) {
    if ((group & TLSEXT_nid_unknown) == 0) {
        const char *name = OBJ_nid2sn(group);
        return text_append(text, name == NULL ? "" : name);
    }
    const char *name = SSL_group_to_name(ssl, group);
    if (name != NULL) { return text_append(text, name); }
    uint8_t number[2] = { (uint8_t)(group >> 8), (uint8_t)group };
    text_append(text, "0x");
    text_append_hex(text, number, 2);
}

size_t tls_curve(SSL *ssl, char *buffer, size_t count) {
    Text text = { buffer, 0, count };
    int group = (int)SSL_get_negotiated_group(ssl);
    if (group != NID_undef) { append_group(&text, ssl, group); }
    return text.used;
}

size_t tls_curves(SSL *ssl, char *buffer, size_t count) {
    Text text = { buffer, 0, count };
    int groups[64];
    int n = (int)SSL_get1_groups(ssl, NULL);
    if (n <= 0 || n > 64) { return 0; }
    n = (int)SSL_get1_groups(ssl, groups);
    for (int i = 0; i < n; i++) {
        if (i > 0) { text_append(&text, ":"); }
        append_group(&text, ssl, groups[i]);
    }
    return text.used;
}

size_t tls_current_subject(SSL_CTX *context, char *buffer, size_t count) {
    Text text = { buffer, 0, count };
    X509 *certificate = SSL_CTX_get0_certificate(context);
    char *line = certificate == NULL ? NULL : X509_NAME_oneline(X509_get_subject_name(certificate), NULL, 0);
    if (line != NULL) { text_append(&text, line); }
    OPENSSL_free(line);
    return text.used;
}

size_t tls_session_id(SSL *ssl, char *buffer, size_t count) {
    Text text = { buffer, 0, count };
    unsigned int n = 0;
    SSL_SESSION *session = SSL_get0_session(ssl);
    const unsigned char *id = session == NULL ? NULL : SSL_SESSION_get_id(session, &n);
    if (id != NULL) { text_append_hex(&text, id, n); }
    return text.used;
}

const char *tls_server_name(SSL *ssl) { return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name); }

int tls_chose_http2(SSL *ssl) {
    const unsigned char *name;
    unsigned int count;
    SSL_get0_alpn_selected(ssl, &name, &count);
    return count == 2 && name[0] == 'h' && name[1] == '2';
}
