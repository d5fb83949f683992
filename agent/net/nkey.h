/*
 * NKeys: Ed25519 keys of NATS as people keep them, base32 with a type and a checksum. Only what a client needs: the public half of a
 * user's seed, which the server's configuration lists.
 */
#ifndef WSHEALTHD_NET_NKEY_H
#define WSHEALTHD_NET_NKEY_H

#include "agent/base/err.h"
#include "agent/base/slice.h"

enum { NKEY_SEED_CHARS = 58, NKEY_PUBLIC_CHARS = 56 };

/* Finds the user's seed ("SU…") in the contents of a file: the bare seed, or between decorating lines. -1: there is none, or it is
 * damaged. err never quotes it. */
int nkey_public_of(struct slice file, char out[NKEY_PUBLIC_CHARS + 1], struct err *err);

#endif
