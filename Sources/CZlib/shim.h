// zlib's deflateInit2 and inflateInit2 are macros, which Swift cannot import; what the engine needs of them is here.
#ifndef SWITCHBACK_CZLIB_SHIM_H
#define SWITCHBACK_CZLIB_SHIM_H
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/// Room that the gzip form of `count` bytes may need.
static inline size_t czlib_gzip_bound(size_t count) {
    return count + (count >> 3) + (count >> 6) + 64;
}

/// `in` as one gzip member into `out`. Returns the bytes written, or -1 (no memory, or no room).
static inline long czlib_gzip(const unsigned char *in, size_t in_count, unsigned char *out, size_t out_count, int level) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (deflateInit2(&stream, level, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return -1;
    stream.next_in = (unsigned char *)in;
    stream.avail_in = (unsigned)in_count;
    stream.next_out = out;
    stream.avail_out = (unsigned)out_count;
    int result = deflate(&stream, Z_FINISH);
    long count = (long)stream.total_out;
    deflateEnd(&stream);
    return result == Z_STREAM_END ? count : -1;
}

/// A stream that makes one gzip member, or NULL. Its memory is about 2^(window_bits + 2) + 2^(memory_level + 9) bytes.
static inline z_stream *czlib_new_deflater(int level, int window_bits, int memory_level) {
    z_stream *stream = (z_stream *)calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    if (deflateInit2(stream, level, Z_DEFLATED, window_bits + 16, memory_level, Z_DEFAULT_STRATEGY) == Z_OK) return stream;
    free(stream);
    return NULL;
}

/// Makes a used stream ready for another member. Not 0: it is of no use any more.
static inline int czlib_reset_deflater(z_stream *stream, int level) {
    int result = deflateReset(stream);
    // Right behind a reset there is nothing to be flushed, so that no room for it is needed.
    return result == Z_OK ? deflateParams(stream, level, Z_DEFAULT_STRATEGY) : result;
}

static inline void czlib_free_deflater(z_stream *stream) {
    deflateEnd(stream);
    free(stream);
}

/// A stream that reads gzip members, or NULL.
static inline z_stream *czlib_new_inflater(void) {
    z_stream *stream = (z_stream *)calloc(1, sizeof *stream);
    if (stream == NULL) return NULL;
    if (inflateInit2(stream, MAX_WBITS + 16) == Z_OK) return stream;
    free(stream);
    return NULL;
}

static inline void czlib_free_inflater(z_stream *stream) {
    inflateEnd(stream);
    free(stream);
}
#endif
