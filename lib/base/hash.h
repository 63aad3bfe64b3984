// SHA-256 (FIPS 180-4), for file contents, cache keys and parameter hashes,
// and FNV-1a, for the keys of random streams.
#ifndef QN_BASE_HASH_H
#define QN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct qn_sha256 {
    uint32_t state[8];
    uint64_t length;
    unsigned char block[64];
    size_t used;
};

void qn_sha256_init(struct qn_sha256 *hash);
void qn_sha256_add(struct qn_sha256 *hash, const void *data, size_t size);
// With a length before it, so that ("ab","c") and ("a","bc") differ.
void qn_sha256_add_string(struct qn_sha256 *hash, const char *text);
void qn_sha256_finish(struct qn_sha256 *hash, unsigned char digest[32]);
// Writes 64 hexadecimal digits and a NUL.
void qn_sha256_hex(const unsigned char digest[32], char text[65]);

uint64_t qn_fnv1a(const void *data, size_t size);

#endif
