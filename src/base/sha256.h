/* SHA-256 (OpenSSL's libcrypto). */
#pragma once

#include <stddef.h>

#define VLMP_SHA256_BYTES 32
#define VLMP_SHA256_HEX   65 /* with NUL */

typedef struct vlmp_sha256 vlmp_sha256;

/* NULL: out of memory. finish writes lower-case hex and frees. */
vlmp_sha256 *vlmp_sha256_start(void);
void vlmp_sha256_update(vlmp_sha256 *hash, const void *bytes, size_t length);
void vlmp_sha256_finish(vlmp_sha256 *hash, char hex[VLMP_SHA256_HEX]);

/* One call. */
void vlmp_sha256_hex(const void *bytes, size_t length, char hex[VLMP_SHA256_HEX]);
