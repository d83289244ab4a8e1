// zlib's deflateInit2 is a macro, which Swift cannot import; what the engine needs of it is one call.
#ifndef SWITCHBACK_CZLIB_SHIM_H
#define SWITCHBACK_CZLIB_SHIM_H
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
#endif
