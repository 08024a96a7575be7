/* SHA-256 (OpenSSL's libcrypto). Nothing here allocates or fails. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define VLMP_SHA256_BYTES 32
#define VLMP_SHA256_HEX   65 /* with NUL */

typedef struct {
    uint64_t state[16]; /* the library's own, which is smaller */
} vlmp_sha256;

/* finish writes lower-case hex; there is nothing to free. */
void vlmp_sha256_start(vlmp_sha256 *hash);
void vlmp_sha256_update(vlmp_sha256 *hash, const void *bytes, size_t length);
void vlmp_sha256_finish(vlmp_sha256 *hash, char hex[VLMP_SHA256_HEX]);

/* One call. */
void vlmp_sha256_hex(const void *bytes, size_t length, char hex[VLMP_SHA256_HEX]);
