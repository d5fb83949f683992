/* What writing and reading a summary share. */
#ifndef WSHEALTHD_FLEET_SUMMARY_IMPL_H
#define WSHEALTHD_FLEET_SUMMARY_IMPL_H

#include "agent/fleet/summary.h"

#define SUMMARY_FORM "wshf1"
#define SUMMARY_MAC_WORD " mac="

enum { SUMMARY_MAC_HEX = 64 };

/* HMAC-SHA256 of all that stands before the word mac, as lower-case hexadecimal digits. */
void summary_mac(struct slice text, struct slice key, char out[SUMMARY_MAC_HEX + 1]);

#endif
