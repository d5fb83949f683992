/*
 * SHA-2 by OpenSSL's plain functions, and HMAC on top of it. Called by the functions of templates (agent/proto/template_call.c). Owns no
 * memory, and wipes what it has made of a key.
 *
 * The plain functions and not EVP: that loads the configuration and the providers first, as agent/proto/upgrade.c explains.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "agent/proto/digest.h"

#include <openssl/sha.h>
#include <string.h>

enum { BLOCK_MAX = SHA512_CBLOCK };

/* Two texts as if they were one: HMAC puts a block of its key first. */
static size_t hash_both(enum digest digest, struct slice first, struct slice second, uint8_t out[DIGEST_MAX])
{
    SHA256_CTX small;
    SHA512_CTX large;
    switch (digest) {
    case DIGEST_SHA256:
        SHA256_Init(&small);
        SHA256_Update(&small, first.data, first.len);
        SHA256_Update(&small, second.data, second.len);
        SHA256_Final(out, &small);
        explicit_bzero(&small, sizeof small);
        return SHA256_DIGEST_LENGTH;
    case DIGEST_SHA384:
        SHA384_Init(&large);
        SHA384_Update(&large, first.data, first.len);
        SHA384_Update(&large, second.data, second.len);
        SHA384_Final(out, &large);
        explicit_bzero(&large, sizeof large);
        return SHA384_DIGEST_LENGTH;
    case DIGEST_SHA512:
        SHA512_Init(&large);
        SHA512_Update(&large, first.data, first.len);
        SHA512_Update(&large, second.data, second.len);
        SHA512_Final(out, &large);
        explicit_bzero(&large, sizeof large);
        return SHA512_DIGEST_LENGTH;
    }
    return 0;
}

size_t digest_hash(enum digest digest, struct slice text, uint8_t out[DIGEST_MAX])
{
    return hash_both(digest, slice_make(NULL, 0), text, out);
}

size_t digest_hmac(enum digest digest, struct slice key, struct slice text, uint8_t out[DIGEST_MAX])
{
    const size_t block = digest == DIGEST_SHA256 ? SHA256_CBLOCK : SHA512_CBLOCK;
    uint8_t pad[BLOCK_MAX] = { 0 }, inner[DIGEST_MAX];
    if (key.len > block)
        digest_hash(digest, key, pad);
    else if (key.len)
        memcpy(pad, key.data, key.len);
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36;
    size_t len = hash_both(digest, slice_make(pad, block), text, inner);
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    len = hash_both(digest, slice_make(pad, block), slice_make(inner, len), out);
    explicit_bzero(pad, sizeof pad);
    explicit_bzero(inner, sizeof inner);
    return len;
}
