// Inflating gzip within known bounds. Knows no format inside.
#include "data/data.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/os.h"

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
                       "%s: holds more than the %zu bytes that it "
                       "announces", name, out_size);
    if (result != Z_STREAM_END)
        return explain(name, source, result, got, error);
    if (got < out_size)
        return qn_fail(error, QN_FORMAT,
                       "%s: holds %zu bytes where it announces %zu", name,
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

// ---- whole files ----

// Inflates a stream whose last four bytes tell its size, modulo 2^32.
static qn_status inflate_file(const char *path, const unsigned char *data,
                              size_t size, size_t limit,
                              unsigned char **out, size_t *out_size,
                              qn_error *error)
{
    enum { SHORTEST = 18 }; // header and trailer alone
    const unsigned char *end = data + size;
    if (size < SHORTEST)
        return qn_fail(error, QN_FORMAT, "%s: the gzip data ends too early",
                       path);
    size_t want = (size_t)end[-1] << 24 | (size_t)end[-2] << 16 |
                  (size_t)end[-3] << 8 | end[-4];
    if (want > limit || want / QN_DEFLATE_RATIO > size)
        return qn_fail(error, QN_FORMAT,
                       "%s: the gzip data is cut short or damaged: it "
                       "announces %zu bytes, more than it can hold", path,
                       want);
    *out = malloc(want + 1);
    if (!*out)
        return qn_fail_memory(error, want + 1);
    *out_size = want;
    qn_status status = qn_gzip_inflate(path, data, size, *out, want, error);
    if (status != QN_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

qn_status qn_gzip_read_file(const char *path, size_t limit,
                            unsigned char **data, size_t *size,
                            qn_error *error)
{
    unsigned char *packed;
    size_t packed_size;
    QN_TRY(qn_os_read_file(path, limit, &packed, &packed_size, error));
    *data = packed;
    *size = packed_size;
    if (!qn_gzip_is(packed, packed_size))
        return QN_OK;
    *data = NULL;
    qn_status status = inflate_file(path, packed, packed_size, limit, data,
                                    size, error);
    free(packed);
    return status;
}

bool qn_gzip_find_file(const char *folder, const char *name, char *path,
                       size_t size)
{
    static const char *const endings[] = {"", ".gz"};
    for (int i = 0; i < 2; i++) {
        int length = snprintf(path, size, "%s/%s%s", folder, name,
                              endings[i]);
        if (length < (int)size && qn_os_is_file(path))
            return true;
    }
    return false;
}
