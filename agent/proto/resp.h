/*
 * RESP2, the protocol of Redis: replies out of a byte stream, commands into one. hiredis' reader and formatter behind a guard: the
 * reader of 0.14 believes every length (`*1000000000` allocates, `$1000000000` buffers), so each header is looked at before hiredis
 * sees it. Called by brokers/redis/; they know what a reply means.
 */
#ifndef WSHEALTHD_PROTO_RESP_H
#define WSHEALTHD_PROTO_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum { RESP_ELEMENTS_MAX = 4096, RESP_DEPTH_MAX = 7, RESP_LINE_MAX = 4096, RESP_ARGS_MAX = 16, RESP_PASSED_MAX = 512 << 20 };

enum resp_kind { RESP_TEXT, RESP_ARRAY, RESP_INTEGER, RESP_NIL, RESP_STATUS, RESP_ERROR };

struct resp_reply;
enum resp_kind resp_kind_of(const struct resp_reply *reply);
int64_t resp_integer(const struct resp_reply *reply);                          /* 0 where it is none */
struct slice resp_text(const struct resp_reply *reply);                        /* of texts, statuses and errors; else empty */
size_t resp_count(const struct resp_reply *reply);                             /* elements of an array; else 0 */
const struct resp_reply *resp_item(const struct resp_reply *reply, size_t i);  /* NULL past the end */
bool resp_is_status(const struct resp_reply *reply, const char *text);         /* +OK */
bool resp_item_is(const struct resp_reply *reply, size_t i, const char *text); /* that element is this text */
void resp_reply_free(struct resp_reply *reply);                                /* NULL is fine */

struct resp_reader;
struct resp_reader *resp_reader_new(size_t max_reply_bytes);
void resp_reader_free(struct resp_reader *reader); /* NULL is fine */
/* From now on a text that is larger than the ceiling, of up to RESP_PASSED_MAX bytes, is passed over without being kept, and stands as an
 * empty one in its reply: others may publish what they like on a topic. */
void resp_reader_pass_over(struct resp_reader *reader);
uint64_t resp_reader_passed(struct resp_reader *reader); /* how many have been passed over since the last call */
/*
 * Takes bytes off the front of *data. 1: *reply is a whole reply, now the caller's; there may be more behind it. 0: all bytes are taken, the
 * reply is not whole yet. -1: no RESP2, or larger than is taken; the sentence says what (reason: REASON_NONE), and the reader stays broken.
 */
int resp_reader_next(struct resp_reader *reader, struct slice *data, struct resp_reply **reply, struct err *err);

/* Appends one command of at most RESP_ARGS_MAX arguments; -1 past the buffer's ceiling. */
int resp_command(struct buf *out, const struct slice *args, size_t count);

/* The slot of a key or sharded channel in a cluster: CRC16 (XMODEM) of what stands between the first { and the next }, or of all of it. */
enum { RESP_SLOTS = 16384 };
uint16_t resp_slot(struct slice key);

#endif
