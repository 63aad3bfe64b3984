// Inflating gzip within known bounds. Knows no format inside.
#include "data/data.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>

enum { GZIP_WINDOW = 15 + 16 }; // zlib: the largest window, gzip framing

// zlib's stream with counters as wide as memory.
struct source {
    z_stream stream;
    size_t left; // bytes of input not used yet
};

bool qn_gzip_is(const unsigned char *data, size_t size)
{
    return size >= 2 && data[0] == 0x1f && data[1] == 0x8b;
}

static int begin(struct source *source, const unsigned char *data,
                 size_t size)
{
    memset(source, 0, sizeof *source);
    source->left = size;
    source->stream.next_in = (z_const Bytef *)data;
    return inflateInit2(&source->stream, GZIP_WINDOW);
}

// Inflates until the stream ends, is at fault, or neither input nor room is
// left. Returns zlib's last word.
static int advance(struct source *source, unsigned char *out, size_t room,
                   size_t *got)
{
    z_stream *stream = &source->stream;
    int result = Z_OK;
    *got = 0;
    while (result == Z_OK) {
        size_t in = source->left < UINT_MAX ? source->left : UINT_MAX;
        size_t part = room - *got < UINT_MAX ? room - *got : UINT_MAX;
        stream->avail_in = (uInt)in;
        stream->avail_out = (uInt)part;
        stream->next_out = out + *got;
        result = inflate(stream, Z_NO_FLUSH);
        source->left -= in - stream->avail_in;
        *got += part - stream->avail_out;
    }
    return result;
}

size_t qn_gzip_peek(const unsigned char *data, size_t size,
                    unsigned char *out, size_t capacity)
{
    struct source source;
    if (begin(&source, data, size) != Z_OK)
        return 0;
    size_t got;
    advance(&source, out, capacity, &got);
    inflateEnd(&source.stream);
    return got;
}

// Why a stream stopped before its end.
static qn_status explain(const char *name, const struct source *source,
                         int result, size_t got, qn_error *error)
{
    const char *detail = source->stream.msg;
    if (result == Z_MEM_ERROR)
        return qn_fail(error, QN_NO_MEMORY, "%s: no memory to inflate it",
                       name);
    if (result == Z_BUF_ERROR)
        return qn_fail(error, QN_FORMAT,
                       "%s: the gzip data ends too early, after %zu bytes "
                       "(was the download cut short?)", name, got);
    return qn_fail(error, QN_FORMAT, "%s: the gzip data is damaged (%s)",
                   name, detail ? detail : "no detail");
}

static qn_status inflate_all(const char *name, struct source *source,
                             unsigned char *out, size_t out_size,
                             qn_error *error)
{
    unsigned char more;
    size_t got, extra = 0;
    int result = advance(source, out, out_size, &got);
    if (result == Z_BUF_ERROR && got == out_size)
        result = advance(source, &more, 1, &extra);
    if (extra)
        return qn_fail(error, QN_FORMAT,
                       "%s: holds more than the %zu bytes that its header "
                       "says", name, out_size);
    if (result != Z_STREAM_END)
        return explain(name, source, result, got, error);
    if (got < out_size)
        return qn_fail(error, QN_FORMAT,
                       "%s: holds %zu bytes where its header says %zu", name,
                       got, out_size);
    if (source->left)
        return qn_fail(error, QN_FORMAT,
                       "%s: %zu bytes follow the end of the gzip data", name,
                       source->left);
    return QN_OK;
}

qn_status qn_gzip_inflate(const char *name, const unsigned char *data,
                          size_t size, unsigned char *out, size_t out_size,
                          qn_error *error)
{
    struct source source;
    if (begin(&source, data, size) != Z_OK)
        return qn_fail(error, QN_NO_MEMORY, "%s: no memory to inflate it",
                       name);
    qn_status status = inflate_all(name, &source, out, out_size, error);
    inflateEnd(&source.stream);
    return status;
}
