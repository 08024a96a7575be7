#include "src/base/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct vlmp_sha256 {
    EVP_MD_CTX *context;
};

vlmp_sha256 *vlmp_sha256_start(void)
{
    vlmp_sha256 *hash = malloc(sizeof *hash);
    if (hash == NULL) return NULL;
    hash->context = EVP_MD_CTX_new();
    if (hash->context == NULL || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(hash->context);
        free(hash);
        return NULL;
    }
    return hash;
}

void vlmp_sha256_update(vlmp_sha256 *hash, const void *bytes, size_t length)
{
    EVP_DigestUpdate(hash->context, bytes, length);
}

static void to_hex(const unsigned char digest[VLMP_SHA256_BYTES], char hex[VLMP_SHA256_HEX])
{
    for (int i = 0; i < VLMP_SHA256_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void vlmp_sha256_finish(vlmp_sha256 *hash, char hex[VLMP_SHA256_HEX])
{
    unsigned char digest[VLMP_SHA256_BYTES];
    EVP_DigestFinal_ex(hash->context, digest, NULL);
    to_hex(digest, hex);
    EVP_MD_CTX_free(hash->context);
    free(hash);
}

void vlmp_sha256_hex(const void *bytes, size_t length, char hex[VLMP_SHA256_HEX])
{
    unsigned char digest[VLMP_SHA256_BYTES];
    EVP_Digest(bytes, length, digest, NULL, EVP_sha256(), NULL);
    to_hex(digest, hex);
}
