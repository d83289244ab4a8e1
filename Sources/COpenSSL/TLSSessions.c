// The cache of sessions, the keys of tickets, and libssl's callbacks for both.
#include "Internal.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/uio.h>

// MARK: What belongs to a context

static int extras_index = -1;
static pthread_once_t extras_once = PTHREAD_ONCE_INIT;

static void free_extras(void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long number, void *argument) {
    (void)parent;
    (void)data;
    (void)index;
    (void)number;
    (void)argument;
    TLSExtras *extras = pointer;
    if (extras == NULL) { return; }
    tls_sessions_release(extras->sessions);
    tls_tickets_release(extras->tickets);
    tls_staples_free(extras->staples);
    if (extras->key_log > 0) { close(extras->key_log); }
    free(extras);
}

static void make_extras_index(void) { extras_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_extras); }

TLSExtras *tls_extras(const SSL_CTX *context, int makes) {
    pthread_once(&extras_once, make_extras_index);
    TLSExtras *extras = SSL_CTX_get_ex_data(context, extras_index);
    if (extras != NULL || !makes) { return extras; }
    extras = calloc(1, sizeof(TLSExtras));
    if (extras != NULL && SSL_CTX_set_ex_data((SSL_CTX *)(uintptr_t)context, extras_index, extras) != 1) {
        free(extras);
        return NULL;
    }
    return extras;
}

// libssl asks the context that a connection began with, whichever one the server's name has led to.
static TLSExtras *extras_of(const SSL *ssl) {
    const SSL_CTX *first = pipe_of(ssl)->first_context;
    return first == NULL ? NULL : tls_extras(first, 0);
}

// MARK: The cache

// A session of a client without its own certificate has some 160 bytes, one with a certificate as many more as that has.
#define SESSION_BYTES_MAX 4096
#define SESSION_ID_BYTES 32
// What the allocator adds to each.
#define ALLOCATION_BYTES 16

typedef struct Session {
    struct Session *next;
    struct Session *older;
    struct Session *newer;
    int64_t expires;
    uint16_t count;
    uint8_t id_count;
    uint8_t id[SESSION_ID_BYTES];
    uint8_t bytes[];
} Session;

struct TLSSessionCache {
    atomic_int owners;
    pthread_mutex_t lock;
    size_t bytes_max;
    size_t bytes;
    size_t count;
    Session *oldest;
    Session *newest;
    size_t bucket_mask;
    Session **buckets;
};

TLSSessionCache *tls_sessions_make(size_t bytes) {
    TLSSessionCache *cache = calloc(1, sizeof(TLSSessionCache));
    size_t buckets = 64;
    while (buckets < bytes / 512) { buckets *= 2; }
    Session **table = calloc(buckets, sizeof(Session *));
    if (cache == NULL || table == NULL) {
        free(cache);
        free(table);
        return NULL;
    }
    pthread_mutex_init(&cache->lock, NULL);
    cache->owners = 1;
    cache->bytes_max = bytes;
    cache->bucket_mask = buckets - 1;
    cache->buckets = table;
    return cache;
}

// Ids are random numbers that we have made.
static Session **place_of(TLSSessionCache *cache, const uint8_t *id, size_t count) {
    uint64_t hash = 0;
    memcpy(&hash, id, count < sizeof hash ? count : sizeof hash);
    Session **place = &cache->buckets[hash & cache->bucket_mask];
    while (*place != NULL && ((*place)->id_count != count || memcmp((*place)->id, id, count) != 0)) { place = &(*place)->next; }
    return place;
}

static size_t cost(const Session *session) { return sizeof(Session) + session->count + ALLOCATION_BYTES; }

static void drop(TLSSessionCache *cache, Session **place) {
    Session *session = *place;
    *place = session->next;
    if (session->older != NULL) { session->older->newer = session->newer; } else { cache->oldest = session->newer; }
    if (session->newer != NULL) { session->newer->older = session->older; } else { cache->newest = session->older; }
    cache->bytes -= cost(session);
    cache->count--;
    OPENSSL_cleanse(session->bytes, session->count);
    free(session);
}

// Drops what is over, and a few that are past.
static void tidy(TLSSessionCache *cache, int64_t now, size_t bytes_max, int past_max) {
    while (cache->oldest != NULL && (cache->bytes > bytes_max || (past_max-- > 0 && cache->oldest->expires <= now))) {
        drop(cache, place_of(cache, cache->oldest->id, cache->oldest->id_count));
    }
}

void tls_sessions_release(TLSSessionCache *cache) {
    if (cache == NULL || atomic_fetch_sub(&cache->owners, 1) != 1) { return; }
    tidy(cache, 0, 0, 0);
    pthread_mutex_destroy(&cache->lock);
    free(cache->buckets);
    free(cache);
}

size_t tls_sessions_count(TLSSessionCache *cache) {
    pthread_mutex_lock(&cache->lock);
    size_t count = cache->count;
    pthread_mutex_unlock(&cache->lock);
    return count;
}

static int on_new_session(SSL *ssl, SSL_SESSION *made) {
    // In TLS 1.3 it is told of sessions that are all in their tickets, too.
    if (SSL_version(ssl) == TLS1_3_VERSION && (SSL_get_options(ssl) & SSL_OP_NO_TICKET) == 0) { return 0; }
    TLSExtras *extras = extras_of(ssl);
    TLSSessionCache *cache = extras == NULL ? NULL : extras->sessions;
    unsigned int id_count = 0;
    const uint8_t *id = SSL_SESSION_get_id(made, &id_count);
    int count = i2d_SSL_SESSION(made, NULL);
    if (cache == NULL || count <= 0 || count > SESSION_BYTES_MAX || id_count == 0 || id_count > SESSION_ID_BYTES) { return 0; }
    Session *session = malloc(sizeof(Session) + (size_t)count);
    if (session == NULL) { return 0; }
    uint8_t *end = session->bytes;
    session->count = (uint16_t)i2d_SSL_SESSION(made, &end);
    session->id_count = (uint8_t)id_count;
    memcpy(session->id, id, id_count);
    int64_t now = time(NULL);
    session->expires = now + SSL_SESSION_get_timeout(made);
    pthread_mutex_lock(&cache->lock);
    Session **place = place_of(cache, id, id_count);
    if (*place != NULL) { drop(cache, place); }
    size_t needed = cost(session);
    tidy(cache, now, needed < cache->bytes_max ? cache->bytes_max - needed : 0, 2);
    place = place_of(cache, id, id_count);
    session->next = *place;
    *place = session;
    session->newer = NULL;
    session->older = cache->newest;
    if (cache->newest != NULL) { cache->newest->newer = session; } else { cache->oldest = session; }
    cache->newest = session;
    cache->bytes += needed;
    cache->count++;
    pthread_mutex_unlock(&cache->lock);
    return 0;
}

static SSL_SESSION *on_get_session(SSL *ssl, const unsigned char *id, int id_count, int *copies) {
    TLSExtras *extras = extras_of(ssl);
    TLSSessionCache *cache = extras == NULL ? NULL : extras->sessions;
    uint8_t bytes[SESSION_BYTES_MAX];
    size_t count = 0;
    *copies = 0;
    if (cache == NULL || id_count <= 0 || id_count > SESSION_ID_BYTES) { return NULL; }
    int64_t now = time(NULL);
    pthread_mutex_lock(&cache->lock);
    Session **place = place_of(cache, id, (size_t)id_count);
    if (*place != NULL && (*place)->expires <= now) {
        drop(cache, place);
    } else if (*place != NULL) {
        count = (*place)->count;
        memcpy(bytes, (*place)->bytes, count);
    }
    pthread_mutex_unlock(&cache->lock);
    const uint8_t *p = bytes;
    SSL_SESSION *session = count == 0 ? NULL : d2i_SSL_SESSION(NULL, &p, (long)count);
    OPENSSL_cleanse(bytes, count);
    return session;
}

static void on_remove_session(SSL_CTX *context, SSL_SESSION *session) {
    TLSExtras *extras = tls_extras(context, 0);
    if (extras == NULL || extras->sessions == NULL) { return; }
    unsigned int count = 0;
    const uint8_t *id = SSL_SESSION_get_id(session, &count);
    pthread_mutex_lock(&extras->sessions->lock);
    Session **place = place_of(extras->sessions, id, count);
    if (*place != NULL) { drop(extras->sessions, place); }
    pthread_mutex_unlock(&extras->sessions->lock);
}

// MARK: Keys of tickets

#define TICKET_KEYS_MAX 16

typedef struct {
    uint8_t name[16];
    uint8_t cipher[32];
    uint8_t digest[32];
    // Of the cipher and of the digest.
    uint8_t count;
} TicketKey;

struct TLSTicketKeys {
    atomic_int owners;
    pthread_mutex_t lock;
    // Given, not made here: 0 as long as they are made.
    int is_given;
    int count;
    // When the first of those that are made here began to encrypt, and for how long its tickets are good.
    int64_t since;
    int64_t lifetime;
    TicketKey keys[TICKET_KEYS_MAX];
};

static int make_key(TicketKey *key) {
    key->count = 32;
    return RAND_bytes(key->name, sizeof key->name) == 1 && RAND_priv_bytes(key->cipher, sizeof key->cipher) == 1
        && RAND_priv_bytes(key->digest, sizeof key->digest) == 1;
}

TLSTicketKeys *tls_tickets_make(void) {
    TLSTicketKeys *keys = calloc(1, sizeof(TLSTicketKeys));
    if (keys == NULL) { return NULL; }
    pthread_mutex_init(&keys->lock, NULL);
    keys->owners = 1;
    keys->lifetime = 300;
    return keys;
}

void tls_tickets_release(TLSTicketKeys *keys) {
    if (keys == NULL || atomic_fetch_sub(&keys->owners, 1) != 1) { return; }
    pthread_mutex_destroy(&keys->lock);
    OPENSSL_cleanse(keys, sizeof *keys);
    free(keys);
}

void tls_tickets_set_lifetime(TLSTicketKeys *keys, int64_t seconds) {
    pthread_mutex_lock(&keys->lock);
    if (seconds > keys->lifetime) { keys->lifetime = seconds; }
    pthread_mutex_unlock(&keys->lock);
}

int tls_tickets_add(TLSTicketKeys *keys, const uint8_t *bytes, size_t count) {
    if ((count != 48 && count != 80) || (keys->is_given && keys->count == TICKET_KEYS_MAX)) { return 0; }
    if (!keys->is_given) { keys->count = 0; }
    keys->is_given = 1;
    TicketKey *key = &keys->keys[keys->count++];
    memcpy(key->name, bytes, 16);
    key->count = count == 48 ? 16 : 32;
    memcpy(count == 48 ? key->cipher : key->digest, bytes + 16, key->count);
    memcpy(count == 48 ? key->digest : key->cipher, bytes + 16 + key->count, key->count);
    return 1;
}

// A key encrypts for one lifetime and decrypts for another one. 0: no random numbers.
static int rotate(TLSTicketKeys *keys, int64_t now) {
    if (keys->is_given) { return 1; }
    int64_t age = now - keys->since;
    if (keys->count > 0 && age >= 0 && age < keys->lifetime) { return 1; }
    TicketKey next;
    if (!make_key(&next)) { return 0; }
    keys->keys[1] = keys->keys[0];
    keys->keys[0] = next;
    // One that has not encrypted for two lifetimes has no ticket left.
    keys->count = keys->count > 0 && age < 2 * keys->lifetime ? 2 : 1;
    keys->since = now;
    OPENSSL_cleanse(&next, sizeof next);
    return 1;
}

// The key that encrypts, or the one of this name. Its place; -1: there is none, -2: no random numbers.
static int take_key(TLSTicketKeys *keys, const uint8_t *name, TicketKey *key) {
    int found = -1;
    pthread_mutex_lock(&keys->lock);
    if (!rotate(keys, time(NULL))) {
        found = -2;
    } else if (name == NULL) {
        found = 0;
    } else {
        for (int i = 0; i < keys->count && found < 0; i++) {
            if (memcmp(keys->keys[i].name, name, sizeof keys->keys[i].name) == 0) { found = i; }
        }
    }
    if (found >= 0) { *key = keys->keys[found]; }
    pthread_mutex_unlock(&keys->lock);
    return found;
}

// Fetched once: looking a cipher up by its name costs more than the encryption of a ticket.
static EVP_CIPHER *ciphers[2];
static pthread_once_t ciphers_once = PTHREAD_ONCE_INIT;

static void fetch_ciphers(void) {
    ciphers[0] = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
    ciphers[1] = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
}

static int start_ticket(const TicketKey *key, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *digest, int encrypts) {
    pthread_once(&ciphers_once, fetch_ciphers);
    EVP_CIPHER *kind = ciphers[key->count == 32];
    if (kind == NULL || (encrypts && RAND_bytes(iv, EVP_CIPHER_get_iv_length(kind)) != 1)) { return 0; }
    OSSL_PARAM parameters[3] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->digest, key->count),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, kind, NULL, key->cipher, iv, encrypts) == 1 && EVP_MAC_CTX_set_params(digest, parameters) == 1;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *digest, int encrypts) {
    TLSExtras *extras = extras_of(ssl);
    if (extras == NULL || extras->tickets == NULL) { return -1; }
    TicketKey key;
    int place = take_key(extras->tickets, encrypts ? NULL : name, &key);
    // Made with a key that is gone, or by somebody else: a full handshake.
    if (place == -1) { return 0; }
    if (place < 0) { return -1; }
    if (encrypts) { memcpy(name, key.name, sizeof key.name); }
    int done = start_ticket(&key, iv, cipher, digest, encrypts);
    OPENSSL_cleanse(&key, sizeof key);
    if (!done) { return -1; }
    // In TLS 1.3 no ticket is used twice; one of an older key is replaced.
    return !encrypts && (place > 0 || SSL_version(ssl) == TLS1_3_VERSION) ? 2 : 1;
}

// MARK: Building

// With TLS 1.3 a session that is taken up again becomes a new one, with the full time to live: it could go on for ever, past the
// end of a client's certificate. What is left of its time goes on with it instead.
static void on_progress(const SSL *ssl, int where, int result) {
    (void)result;
    if ((where & SSL_CB_ACCEPT_LOOP) != SSL_CB_ACCEPT_LOOP || SSL_get_state(ssl) != TLS_ST_SR_CLNT_HELLO) { return; }
    if (!SSL_session_reused(ssl) || SSL_version(ssl) != TLS1_3_VERSION) { return; }
    SSL_SESSION *session = SSL_get_session(ssl);
    if (session == NULL) { return; }
    long now = (long)time(NULL);
    long age = now - SSL_SESSION_get_time(session);
    long left = SSL_SESSION_get_timeout(session) - age;
    if (age <= 0) { return; }
    SSL_SESSION_set_time(session, now);
    // No time at all cannot be said: a session that belongs to nobody is not taken up either.
    if (left > 0) { SSL_SESSION_set_timeout(session, left); } else { SSL_SESSION_set1_id_context(session, (const unsigned char *)"", 0); }
}

void tls_keep_server_sessions(SSL_CTX *context, int kinds, long builtin_count, int64_t lifetime_seconds, int has_tickets) {
    SSL_CTX_set_timeout(context, (long)lifetime_seconds);
    SSL_CTX_set_info_callback(context, on_progress);
    if (!has_tickets) { SSL_CTX_set_options(context, SSL_OP_NO_TICKET); }
    if (kinds == TLS_SESSIONS_OFF) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    } else if (kinds == TLS_SESSIONS_NONE) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_AUTO_CLEAR | SSL_SESS_CACHE_NO_INTERNAL_STORE);
        SSL_CTX_sess_set_cache_size(context, 1);
    } else if ((kinds & TLS_SESSIONS_BUILTIN) == 0) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    } else {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
        if (builtin_count > 0) { SSL_CTX_sess_set_cache_size(context, builtin_count); }
    }
}

int tls_share_sessions(SSL_CTX *context, TLSSessionCache *cache) {
    TLSExtras *extras = tls_extras(context, 1);
    if (extras == NULL) { return 0; }
    atomic_fetch_add(&cache->owners, 1);
    tls_sessions_release(extras->sessions);
    extras->sessions = cache;
    SSL_CTX_sess_set_new_cb(context, on_new_session);
    SSL_CTX_sess_set_get_cb(context, on_get_session);
    SSL_CTX_sess_set_remove_cb(context, on_remove_session);
    return 1;
}

int tls_use_tickets(SSL_CTX *context, TLSTicketKeys *keys) {
    TLSExtras *extras = tls_extras(context, 1);
    if (extras == NULL) { return 0; }
    atomic_fetch_add(&keys->owners, 1);
    tls_tickets_release(extras->tickets);
    extras->tickets = keys;
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1;
}

int tls_bind_sessions(SSL_CTX *context, const void *bytes, size_t count) {
    uint8_t digest[SHA256_DIGEST_LENGTH];
    unsigned int n = 0;
    clear_errors();
    return EVP_Digest(bytes, count, digest, &n, EVP_sha256(), NULL) == 1 && SSL_CTX_set_session_id_context(context, digest, n) == 1;
}

void tls_forget_session(SSL *ssl, SSL_CTX *first) {
    SSL_SESSION *session = SSL_get0_session(ssl);
    if (session != NULL) { SSL_CTX_remove_session(first, session); }
}

// MARK: Secrets

static void on_secret(const SSL *ssl, const char *line) {
    TLSExtras *extras = tls_extras(SSL_get_SSL_CTX(ssl), 0);
    if (extras == NULL || extras->key_log <= 0) { return; }
    char end = '\n';
    struct iovec parts[2] = { { (void *)(uintptr_t)line, strlen(line) }, { &end, 1 } };
    // A line that is lost is one connection that cannot be looked into.
    ssize_t n = writev(extras->key_log, parts, 2);
    (void)n;
}

int tls_log_keys(SSL_CTX *context, const char *path) {
    TLSExtras *extras = tls_extras(context, 1);
    if (extras == NULL) { return 0; }
    extras->key_log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (extras->key_log <= 0) {
        ERR_raise_data(ERR_LIB_SYS, errno, "open(%s)", path);
        return 0;
    }
    SSL_CTX_set_keylog_callback(context, on_secret);
    return 1;
}
