/*
 * Texts with holes and lengths. The dialects' messages, topics and bodies are filled here for every message that is sent; the
 * configuration asks template_validate once. A template that was validated fails only at a ceiling. A failure leaves `out` as it
 * was. Nesting is bounded. The caller decides what is put into the holes; functions are agent/proto/template_call.c.
 */
#include "agent/proto/template.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/proto/json_out.h"
#include "agent/proto/template_impl.h"

enum { NEST_MAX = 8, NAMES_LISTED = 64, U8_MAX = 0xff, U16_MAX = 0xffff, VARINT_MAX = 268435455 /* four bytes of seven bits */ };

enum hole {
    HOLE_CHANNEL,
    HOLE_TOKEN,
    HOLE_ID,
    HOLE_SEQ,
    HOLE_SEQ_U16,
    HOLE_NOW,
    HOLE_NOW_S,
    HOLE_UUID,
    HOLE_PAYLOAD,
    HOLE_PAYLOAD_JSON,
    HOLES
};
static const char *const hole_names[HOLES] = { "channel", "token", "id",   "seq",     "seq_u16",
                                               "now",     "now_s", "uuid", "payload", "payload_json" };

enum block { BLOCK_U8, BLOCK_U16, BLOCK_U32, BLOCK_VARINT, BLOCK_TOKEN, BLOCK_NO_TOKEN, BLOCKS };
static const char *const block_names[BLOCKS] = { "u8", "u16", "u32", "varint", "token", "token" };
static const size_t length_max[BLOCK_VARINT + 1] = { U8_MAX, U16_MAX, UINT32_MAX, VARINT_MAX };

struct piece {
    enum { PIECE_TEXT, PIECE_BYTES, PIECE_HOLE, PIECE_CALL, PIECE_OPEN, PIECE_CLOSE } kind;
    int index;         /* of the hole or block */
    size_t at;         /* where it begins */
    struct slice text; /* of PIECE_TEXT; the digits of PIECE_BYTES; what stands in the braces of a hole */
};

static int name_index(struct slice name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (slice_equal_str(name, names[i]))
            return i;
    return -1;
}

static const struct template_name *find_name(struct slice name, const struct template_vars *vars)
{
    for (size_t i = 0; i < vars->name_count; i++)
        if (slice_equal_str(name, vars->names[i].name))
            return &vars->names[i];
    return NULL;
}

static bool is_word(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum(name.data[i]) && name.data[i] != '_' && name.data[i] != '-' && name.data[i] != '.')
            return false;
    return name.len > 0;
}

static bool is_listed(struct slice name, const char *const *names)
{
    for (; *names; names++)
        if (slice_equal_str(name, *names))
            return true;
    return false;
}

bool template_knows(struct slice name, const struct template_vars *vars)
{
    if (vars->only)
        return is_listed(name, vars->only);
    return name_index(name, hole_names, HOLES) >= 0 || find_name(name, vars) || (vars->any_name && is_word(name));
}

bool template_is_reserved(const char *name)
{
    struct slice word = slice_str(name);
    return name_index(word, hole_names, HOLES) >= 0 || template_is_function(word);
}

/* Appends " {{a}}, {{b}} or {{c}}". */
static void list_holes(const char *const *names, struct err *err)
{
    for (size_t i = 0, len = strlen(err->text); names[i] && len < sizeof err->text; i++) {
        int n = snprintf(err->text + len, sizeof err->text - len, "%s{{%s}}", !i ? " " : names[i + 1] ? ", " : " or ", names[i]);
        len += n > 0 ? (size_t)n : 0;
    }
}

int template_unknown(struct slice name, size_t at, const struct template_vars *vars, struct err *err)
{
    static const char *const usual[] = { "channel", "token", "id", "seq", "now", "uuid", "payload", "payload_json", NULL };
    static const char *const blocks[] = { "#u16",    "/u16",    "#u8",    "/u8",    "#u32",  "/u32",
                                          "#varint", "/varint", "#token", "^token", "/token" };
    const char *names[HOLES + sizeof blocks / sizeof blocks[0] + NAMES_LISTED];
    size_t count = 0;
    char shown[TEXT_EXCERPT_BYTES(TEMPLATE_NAME_CHARS)],
        *word = mem_strndup(name.data, name.len < TEMPLATE_NAME_CHARS ? name.len : TEMPLATE_NAME_CHARS);
    for (size_t i = 0; !vars->only && i < HOLES; i++)
        names[count++] = hole_names[i];
    for (size_t i = 0; !vars->only && i < vars->name_count && i < NAMES_LISTED; i++)
        names[count++] = vars->names[i].name;
    for (size_t i = 0; vars->only && vars->only[i] && i < NAMES_LISTED; i++)
        names[count++] = vars->only[i];
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        names[count++] = blocks[i];
    const bool elsewhere = name_index(name, hole_names, HOLES) >= 0;
    const char *near = elsewhere ? NULL : text_nearest(word, names, count);
    mem_free(word);
    text_excerpt(name, TEMPLATE_NAME_CHARS, shown, sizeof shown);
    if (near)
        return err_set(err, REASON_NONE, 0, "unknown hole {{%s}} at offset %zu (did you mean '{{%s}}'?)", shown, at, near);
    err_set(err, REASON_NONE, 0,
            elsewhere ? "{{%s}} at offset %zu has no value here, want" : "unknown hole {{%s}} at offset %zu, want", shown, at);
    list_holes(vars->only ? vars->only : usual, err);
    return -1;
}

static int hex_value(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* {{0x9aa3}}: the digits are validated here, so that putting them can only fail at the ceiling. */
static int bytes_piece(struct slice digits, struct piece *piece, struct err *err)
{
    bool good = digits.len && digits.len % 2 == 0;
    for (size_t i = 0; good && i < digits.len; i++)
        good = hex_value(digits.data[i]) >= 0;
    if (!good)
        return err_set(err, REASON_NONE, 0, "{{0x...}} at offset %zu wants two hexadecimal digits for each byte", piece->at);
    piece->kind = PIECE_BYTES;
    piece->text = digits;
    return 0;
}

/* The piece at *at, which is before the end. */
static int next_piece(struct slice text, size_t *at, const struct template_vars *vars, struct piece *piece, struct err *err)
{
    struct slice rest = slice_skip(text, *at);
    ptrdiff_t open = slice_find(rest, slice_str("{{"));
    piece->at = *at;
    if (open != 0) {
        piece->kind = PIECE_TEXT;
        piece->text = slice_make(rest.data, open < 0 ? rest.len : (size_t)open);
        *at += piece->text.len;
        return 0;
    }
    rest = slice_skip(rest, 2);
    ptrdiff_t close = template_find_end(rest);
    if (close < 0)
        return err_set(err, REASON_NONE, 0, "'{{' without '}}' at offset %zu", *at);
    struct slice name = slice_make(rest.data, (size_t)close);
    *at += name.len + 4;
    if (name.len >= 2 && name.data[0] == '0' && name.data[1] == 'x')
        return bytes_piece(slice_skip(name, 2), piece, err);
    bool inverted = slice_equal_str(name, "^token"), opens = inverted || (name.len && name.data[0] == '#'),
         closes = name.len && name.data[0] == '/';
    piece->text = name;
    if (!opens && !closes) {
        piece->kind = template_is_call(name) ? PIECE_CALL : PIECE_HOLE;
        return piece->kind == PIECE_CALL || template_knows(name, vars) ? 0 : template_unknown(name, piece->at, vars, err);
    }
    piece->kind = opens ? PIECE_OPEN : PIECE_CLOSE;
    piece->index = inverted ? BLOCK_NO_TOKEN : name_index(slice_skip(name, 1), block_names, BLOCKS);
    return piece->index < 0 ? template_unknown(name, piece->at, vars, err) : 0;
}

/* A value as JSON: with its quotes, or only what stands between them. */
int template_put_json(struct buf *out, struct slice value, bool quotes)
{
    struct buf quoted = BUF_INIT(out->max - out->len + 2);
    struct json_out json;
    json_out_begin(&json, &quoted);
    json_out_slice(&json, value);
    int rc = json_out_finish(&json);
    if (!rc)
        rc = quotes ? buf_append(out, quoted.data, quoted.len) : buf_append(out, quoted.data + 1, quoted.len - 2);
    buf_wipe(&quoted);
    return rc;
}

/* Letters, digits and what is beyond ASCII stand for themselves in a regular expression; a backslash makes the rest do so. */
static int put_regex(struct buf *out, struct slice text)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c < ' ' || c == 0x7f)
            rc = buf_printf(out, "\\x%02x", c);
        else if (c < 0x80 && !isalnum(c))
            rc = buf_append_char(out, '\\') < 0 ? -1 : buf_append_char(out, (char)c);
        else
            rc = buf_append_char(out, (char)c);
    }
    return rc;
}

int template_put_text(struct buf *out, struct slice text, const struct template_vars *vars)
{
    if (!vars->regex)
        return vars->json ? template_put_json(out, text, false) : buf_append_slice(out, text);
    if (!vars->json)
        return put_regex(out, text);
    struct buf escaped = BUF_INIT(out->max);
    int rc = template_put_json(&escaped, text, false);
    if (rc == 0)
        rc = put_regex(out, buf_slice(&escaped));
    buf_wipe(&escaped);
    return rc;
}

void template_make_uuid(char out[TEMPLATE_UUID_BYTES])
{
    uint8_t b[16];
    random_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, TEMPLATE_UUID_BYTES, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
             b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static int put_bytes(struct buf *out, struct slice digits)
{
    uint8_t *at = buf_reserve(out, digits.len / 2);
    if (!at)
        return -1;
    for (size_t i = 0; i < digits.len; i += 2)
        at[i / 2] = (uint8_t)(hex_value(digits.data[i]) << 4 | hex_value(digits.data[i + 1]));
    out->len += digits.len / 2;
    return 0;
}

/* The value of a hole as it is, without any escape. */
static int put_hole(struct buf *out, enum hole hole, const struct template_vars *vars)
{
    char uuid[TEMPLATE_UUID_BYTES];
    uint8_t u16[2];
    switch (hole) {
    case HOLE_CHANNEL:
        return buf_append_slice(out, slice_str(vars->channel));
    case HOLE_TOKEN:
        return buf_append_slice(out, slice_str(vars->token));
    case HOLE_ID:
        return buf_append_slice(out, slice_str(vars->id));
    case HOLE_SEQ:
        return buf_printf(out, "%" PRIu64, vars->seq);
    case HOLE_SEQ_U16:
        u16[0] = (uint8_t)(((vars->seq - 1) % U16_MAX + 1) >> 8);
        u16[1] = (uint8_t)((vars->seq - 1) % U16_MAX + 1);
        return buf_append(out, u16, sizeof u16);
    case HOLE_NOW:
        return buf_printf(out, "%" PRId64, vars->now_ms);
    case HOLE_NOW_S:
        return buf_printf(out, "%" PRId64, vars->now_ms / 1000);
    case HOLE_UUID:
        if (!vars->uuid)
            template_make_uuid(uuid);
        return buf_append_str(out, vars->uuid ? vars->uuid : uuid);
    case HOLE_PAYLOAD:
        return buf_append_slice(out, vars->payload);
    case HOLE_PAYLOAD_JSON:
        return template_put_json(out, vars->payload, true);
    case HOLES:
        break;
    }
    return -1;
}

int template_put_name(struct slice name, const struct template_vars *vars, struct buf *out, bool *secret)
{
    const struct template_name *found = find_name(name, vars);
    int hole = name_index(name, hole_names, HOLES);
    *secret = *secret || hole == HOLE_TOKEN || (found && found->secret);
    if (hole >= 0)
        return put_hole(out, (enum hole)hole, vars);
    return found ? buf_append_slice(out, found->value) : buf_append_char(out, '1');
}

/* A hole in the text. What people and peers choose is escaped as the text wants it. */
static int put_named(struct buf *out, struct slice name, const struct template_vars *vars)
{
    int hole = name_index(name, hole_names, HOLES);
    bool secret = false;
    const struct template_name *found = hole < 0 ? find_name(name, vars) : NULL;
    if (hole > HOLE_ID)
        return put_hole(out, (enum hole)hole, vars);
    if (found && found->raw)
        return buf_append_slice(out, found->value);
    struct buf value = BUF_INIT(out->max);
    int rc = template_put_name(name, vars, &value, &secret);
    if (rc == 0)
        rc = template_put_text(out, buf_slice(&value), vars);
    buf_wipe(&value);
    return rc;
}

/* Puts the length of what was appended since `start` before it. */
static int put_length(struct buf *out, enum block block, size_t start, struct err *err)
{
    size_t len = out->len - start, left = len, n = 0;
    uint8_t head[4];
    if (len > length_max[block])
        return err_set(err, REASON_NONE, 0, "%zu bytes are too long for {{#%s}}", len, block_names[block]);
    if (block == BLOCK_VARINT) {
        do {
            head[n++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
            left >>= 7;
        } while (left);
    } else {
        for (int width = block == BLOCK_U8 ? 1 : block == BLOCK_U16 ? 2 : 4; width > 0; width--)
            head[n++] = (uint8_t)(len >> 8 * (width - 1));
    }
    if (!buf_reserve(out, n))
        return err_set(err, REASON_NONE, 0, "longer than %zu bytes", out->max);
    memmove(out->data + start + n, out->data + start, len);
    memcpy(out->data + start, head, n);
    out->len += n;
    return 0;
}

/* The block that began at `start` is over: its length is put before it, or it is left out. */
static int end_block(struct buf *out, enum block block, size_t start, const struct template_vars *vars, struct err *err)
{
    if (block <= BLOCK_VARINT)
        return put_length(out, block, start, err);
    if (vars->token_here != (block == BLOCK_TOKEN))
        out->len = start;
    return 0;
}

struct nest {
    struct {
        enum block block;
        size_t at, start; /* in the template; in the output */
    } open[NEST_MAX];
    size_t depth;
};

static int enter(struct nest *nest, const struct piece *piece, size_t start, struct err *err)
{
    if (nest->depth >= NEST_MAX)
        return err_set(err, REASON_NONE, 0, "{{#%s}} at offset %zu is nested too deep", block_names[piece->index], piece->at);
    nest->open[nest->depth].block = (enum block)piece->index;
    nest->open[nest->depth].at = piece->at;
    nest->open[nest->depth++].start = start;
    return 0;
}

static int leave(struct nest *nest, const struct piece *piece, struct err *err)
{
    if (nest->depth && strcmp(block_names[nest->open[nest->depth - 1].block], block_names[piece->index]) == 0) {
        nest->depth--;
        return 0;
    }
    return err_set(err, REASON_NONE, 0, "{{/%s}} at offset %zu closes nothing", block_names[piece->index], piece->at);
}

static int put_piece(struct buf *out, const struct piece *piece, const struct template_vars *vars)
{
    if (piece->kind == PIECE_HOLE)
        return put_named(out, piece->text, vars);
    return piece->kind == PIECE_BYTES ? put_bytes(out, piece->text) : buf_append_slice(out, piece->text);
}

/* With `out` NULL it only validates. */
static int walk(struct slice text, const struct template_vars *vars, struct buf *out, struct err *err)
{
    struct nest nest = { .depth = 0 };
    struct piece piece = { 0 };
    for (size_t at = 0; at < text.len;) {
        int rc = next_piece(text, &at, vars, &piece, err);
        if (!rc && piece.kind == PIECE_OPEN)
            rc = enter(&nest, &piece, out ? out->len : 0, err);
        else if (!rc && piece.kind == PIECE_CLOSE)
            rc = leave(&nest, &piece, err) ||
                 (out && end_block(out, nest.open[nest.depth].block, nest.open[nest.depth].start, vars, err));
        else if (!rc && piece.kind == PIECE_CALL)
            rc = template_call(piece.text, piece.at, vars, out, err);
        else if (!rc && out && put_piece(out, &piece, vars))
            rc = err_set(err, REASON_NONE, 0, "longer than %zu bytes", out->max);
        if (rc)
            return -1;
    }
    if (nest.depth)
        return err_set(err, REASON_NONE, 0, "{{#%s}} at offset %zu is not closed", block_names[nest.open[nest.depth - 1].block],
                       nest.open[nest.depth - 1].at);
    return 0;
}

int template_expand(struct slice text, const struct template_vars *vars, struct buf *out, struct err *err)
{
    size_t start = out->len;
    if (!walk(text, vars, out, err))
        return 0;
    out->len = start;
    return -1;
}

int template_validate_names(struct slice text, const struct template_vars *vars, struct err *err)
{
    return walk(text, vars, NULL, err);
}

int template_validate(struct slice text, struct err *err)
{
    static const struct template_vars none = { 0 };
    return walk(text, &none, NULL, err);
}

bool template_mentions(struct slice text, const char *name)
{
    static const struct template_vars any = { .any_name = true };
    struct piece piece = { 0 };
    struct err err;
    for (size_t at = 0; at < text.len && next_piece(text, &at, &any, &piece, &err) == 0;)
        if ((piece.kind == PIECE_HOLE && slice_equal_str(piece.text, name)) ||
            (piece.kind == PIECE_CALL && template_call_mentions(piece.text, name)))
            return true;
    return false;
}
