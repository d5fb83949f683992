/*
 * From an NKey seed to its public key. Called when a NATS broker is opened with nkey_file: the library wants the public key beside
 * the file with the seed. A seed is two bytes of type, 32 of key and a CRC-16, in base32; a public key is one byte of type, 32 of
 * key and the CRC. Everything secret is wiped.
 */
#include "agent/net/nkey.h"

#include <openssl/evp.h>
#include <string.h>

enum { KEY_BYTES = 32, SEED_BYTES = 2 + KEY_BYTES + 2, PUBLIC_BYTES = 1 + KEY_BYTES + 2, TYPE_SEED = 18 << 3, TYPE_USER = 20 << 3 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* CRC-16/XMODEM. */
static uint16_t checksum(const uint8_t *data, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return (uint16_t)crc;
}

static void encode(const uint8_t *data, size_t len, char *out)
{
    unsigned bits = 0, held = 0;
    for (size_t i = 0; i < len; i++) {
        held = held << 8 | data[i];
        for (bits += 8; bits >= 5; bits -= 5)
            *out++ = digits[held >> (bits - 5) & 31];
        held &= 31;
    }
    if (bits > 0)
        *out++ = digits[held << (5 - bits) & 31];
    *out = '\0';
}

static int decode(const uint8_t *text, size_t len, uint8_t *out, size_t size)
{
    unsigned bits = 0, held = 0;
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i]);
        if (!digit)
            return -1;
        held = (held << 5 | (unsigned)(digit - digits)) & 0xfff;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            if (used == size)
                return -1;
            out[used++] = (uint8_t)(held >> bits);
        }
    }
    return used == size ? 0 : -1;
}

static bool is_digit(uint8_t c)
{
    return c != '\0' && strchr(digits, c);
}

/* The first word of 58 base32 digits that begins with SU. */
static bool find_seed(struct slice file, struct slice *seed)
{
    for (size_t at = 0; at < file.len;) {
        size_t len = 0;
        while (at + len < file.len && is_digit(file.data[at + len]))
            len++;
        *seed = slice_make(file.data + at, len);
        if (len == NKEY_SEED_CHARS && seed->data[0] == 'S' && seed->data[1] == 'U')
            return true;
        at += len + 1;
    }
    return false;
}

static int public_half(const uint8_t *key, uint8_t *out)
{
    size_t len = KEY_BYTES;
    EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key, KEY_BYTES);
    int good = pair && EVP_PKEY_get_raw_public_key(pair, out, &len) == 1 && len == KEY_BYTES;
    EVP_PKEY_free(pair);
    return good ? 0 : -1;
}

int nkey_public_of(struct slice file, char out[NKEY_PUBLIC_CHARS + 1], struct err *err)
{
    uint8_t raw[SEED_BYTES] = { 0 }, known[PUBLIC_BYTES] = { TYPE_USER };
    struct slice seed;
    if (!find_seed(file, &seed))
        return err_set(err, REASON_AGENT_ERROR, 0, "holds no user seed (58 characters that begin with SU)");
    int rc = decode(seed.data, seed.len, raw, sizeof raw);
    uint16_t sum = checksum(raw, SEED_BYTES - 2);
    bool intact = rc == 0 && raw[SEED_BYTES - 2] == (sum & 0xff) && raw[SEED_BYTES - 1] == sum >> 8;
    bool user = (raw[0] & 0xf8) == TYPE_SEED && ((raw[0] & 7) << 5 | raw[1] >> 3) == TYPE_USER;
    rc = intact && user ? public_half(raw + 2, known + 1) : -1;
    explicit_bzero(raw, sizeof raw);
    if (rc != 0)
        return err_set(err, REASON_AGENT_ERROR, 0, "holds a damaged seed: its checksum or type is wrong");
    sum = checksum(known, PUBLIC_BYTES - 2);
    known[PUBLIC_BYTES - 2] = (uint8_t)(sum & 0xff);
    known[PUBLIC_BYTES - 1] = (uint8_t)(sum >> 8);
    encode(known, PUBLIC_BYTES, out);
    return 0;
}
