#include "src/base/sha256.h"

/* The interface that OpenSSL 3 recommends starts the library lazily and allocates for each hash;
 * all of that may fail, in the middle of anything. This one does the same rounds and cannot. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <assert.h>
#include <openssl/sha.h>
#include <stdio.h>

static_assert(sizeof(SHA256_CTX) <= sizeof(vlmp_sha256), "the state fits");

void vlmp_sha256_start(vlmp_sha256 *hash)
{
    SHA256_Init((SHA256_CTX *)hash->state);
}

void vlmp_sha256_update(vlmp_sha256 *hash, const void *bytes, size_t length)
{
    SHA256_Update((SHA256_CTX *)hash->state, bytes, length);
}

void vlmp_sha256_finish(vlmp_sha256 *hash, char hex[VLMP_SHA256_HEX])
{
    unsigned char digest[VLMP_SHA256_BYTES];
    SHA256_Final(digest, (SHA256_CTX *)hash->state);
    for (int i = 0; i < VLMP_SHA256_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void vlmp_sha256_hex(const void *bytes, size_t length, char hex[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    vlmp_sha256_update(&hash, bytes, length);
    vlmp_sha256_finish(&hash, hex);
}
