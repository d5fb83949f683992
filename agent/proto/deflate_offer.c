/*
 * The negotiation of permessage-deflate (RFC 7692, 5 and 7.1) as text in Sec-WebSocket-Extensions (RFC 6455, 9.1). Called by upgrade.c for
 * both roles. It promises to accept what zlib can serve and nothing else; the streams are deflate.c.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/deflate.h"

static const char extension_name[] = "permessage-deflate";

enum param { SERVER_NO_CONTEXT, CLIENT_NO_CONTEXT, SERVER_BITS, CLIENT_BITS, PARAM_COUNT };

static const struct {
    const char *name, *section;
    bool is_bits;
} param_rules[PARAM_COUNT] = {
    [SERVER_NO_CONTEXT] = { "server_no_context_takeover", "7.1.1.1", false },
    [CLIENT_NO_CONTEXT] = { "client_no_context_takeover", "7.1.1.2", false },
    [SERVER_BITS] = { "server_max_window_bits", "7.1.2.1", true },
    [CLIENT_BITS] = { "client_max_window_bits", "7.1.2.2", true },
};

/* One element of the list. */
struct extension {
    struct slice name;
    bool have[PARAM_COUNT];
    uint8_t bits[PARAM_COUNT]; /* 0: sent without a value */
    bool faulty;               /* as permessage-deflate; err then says why */
};

static bool is_tchar(uint8_t c) /* RFC 9110, 5.6.2 */
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void skip_blanks(struct slice *in)
{
    while (in->len && (in->data[0] == ' ' || in->data[0] == '\t'))
        *in = slice_skip(*in, 1);
}

/* Is the next thing that character? Then it is eaten, with the blanks around it. */
static bool take(struct slice *in, char c)
{
    skip_blanks(in);
    if (!in->len || in->data[0] != (uint8_t)c)
        return false;
    *in = slice_skip(*in, 1);
    skip_blanks(in);
    return true;
}

static struct slice take_token(struct slice *in)
{
    struct slice token = { in->data, 0 };
    while (token.len < in->len && is_tchar(in->data[token.len]))
        token.len++;
    *in = slice_skip(*in, token.len);
    return token;
}

/* token or quoted-string; what is quoted must be a token too (9.1), so that no backslash is ever needed. false: neither. */
static bool take_value(struct slice *in, struct slice *value)
{
    bool quoted = in->len && in->data[0] == '"';
    if (quoted)
        *in = slice_skip(*in, 1);
    *value = take_token(in);
    if (quoted) {
        if (!in->len || in->data[0] != '"')
            return false;
        *in = slice_skip(*in, 1);
    }
    return value->len > 0;
}

static int fail(struct err *err, const char *before, struct slice name, const char *after, const char *section)
{
    return err_set(err, REASON_UPGRADE_BAD_EXTENSION, 0, "%s: %s%.*s%s (RFC 7692, %s)", extension_name, before,
                   name.len < 48 ? (int)name.len : 48, (const char *)name.data, after, section);
}

static uint8_t read_bits(struct slice value) /* "8" to "15" without leading zeros; 0: not that */
{
    if (value.len == 1 && (value.data[0] == '8' || value.data[0] == '9'))
        return (uint8_t)(value.data[0] - '0');
    if (value.len == 2 && value.data[0] == '1' && value.data[1] >= '0' && value.data[1] <= '5')
        return (uint8_t)(10 + value.data[1] - '0');
    return 0;
}

/* What the parameter says, by the rules that offers and answers share. */
static int note_param(struct extension *extension, struct slice name, const struct slice *value, struct err *err)
{
    size_t which = 0;
    while (which < PARAM_COUNT && !slice_equal_str(name, param_rules[which].name))
        which++;
    if (which == PARAM_COUNT)
        return fail(err, "unknown parameter ", name, "", "7.1");
    if (extension->have[which])
        return fail(err, "", name, " came twice", "7.1");
    extension->have[which] = true;
    if (!param_rules[which].is_bits)
        return value ? fail(err, "", name, " takes no value", param_rules[which].section) : 0;
    if (!value) /* only an offer of client bits may do without: checked by the callers */
        return which == CLIENT_BITS ? 0 : fail(err, "", name, " without a value, want 8 to 15", param_rules[which].section);
    extension->bits[which] = read_bits(*value);
    if (!extension->bits[which])
        return fail(err, which == CLIENT_BITS ? "client_max_window_bits=" : "server_max_window_bits=", *value, ", want 8 to 15",
                    param_rules[which].section);
    return 0;
}

/* The next extension with its parameters: 1, 0 at the end of the list, -1 where it is no list. */
static int next_extension(struct slice *in, struct extension *extension, struct err *err)
{
    memset(extension, 0, sizeof *extension);
    while (take(in, ','))
        ; /* empty elements are allowed (RFC 9110, 5.6.1.2) */
    if (!in->len)
        return 0;
    extension->name = take_token(in);
    if (!extension->name.len)
        return -1;
    bool ours = slice_equal_str(extension->name, extension_name);
    while (take(in, ';')) {
        struct slice value, name = take_token(in);
        bool has_value = name.len && take(in, '=');
        if (!name.len || (has_value && !take_value(in, &value)))
            return -1;
        if (ours && !extension->faulty && note_param(extension, name, has_value ? &value : NULL, err) < 0)
            extension->faulty = true;
    }
    skip_blanks(in);
    return !in->len || in->data[0] == ',' ? 1 : -1;
}

static unsigned window_bits(const struct extension *extension, size_t which)
{
    return extension->bits[which] ? extension->bits[which] : 15;
}

static void params_of(const struct extension *extension, struct deflate_params *params)
{
    *params = (struct deflate_params){
        .on = true,
        .server_no_context_takeover = extension->have[SERVER_NO_CONTEXT],
        .client_no_context_takeover = extension->have[CLIENT_NO_CONTEXT],
        .server_bits = window_bits(extension, SERVER_BITS) & 15,
        .client_bits = window_bits(extension, CLIENT_BITS) & 15,
    };
}

void deflate_offer(char *out, size_t size)
{
    const char *parts[] = { extension_name, "; ", param_rules[CLIENT_BITS].name };

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) { /* for each connection, so without printf */
        size_t len = strlen(parts[i]);

        panic_if(len >= size);
        memcpy(out, parts[i], len + 1);
        out += len;
        size -= len;
    }
}

/* The server may add either no_context_takeover and its own bits though they were not offered (7.1.1.1, 7.1.1.2, 7.1.2.1); client bits
 * it may set because our offer names them (7.1.2.2). */
int deflate_accept_response(struct slice value, struct deflate_params *params, struct err *err)
{
    struct extension extension, another;
    struct err ignored;

    memset(params, 0, sizeof *params);
    int found = next_extension(&value, &extension, err);
    if (found > 0 && !slice_equal_str(extension.name, extension_name))
        return err_set(err, REASON_UPGRADE_BAD_EXTENSION, 0,
                       "the server chose extension %.*s, which was not offered (RFC 6455, 4.1)",
                       extension.name.len < 48 ? (int)extension.name.len : 48, (const char *)extension.name.data);
    if (found > 0 && extension.faulty)
        return -1;
    int more = found > 0 ? next_extension(&value, &another, &ignored) : found;
    if (found <= 0 || more < 0)
        return err_set(err, REASON_UPGRADE_BAD_EXTENSION, 0, "Sec-WebSocket-Extensions is %s (RFC 6455, 9.1)",
                       found == 0 ? "empty" : "not a list of extensions");
    if (more > 0)
        return err_set(err, REASON_UPGRADE_BAD_EXTENSION, 0, "the server chose more extensions than were offered (RFC 6455, 4.1)");
    if (extension.have[CLIENT_BITS] && !extension.bits[CLIENT_BITS])
        return fail(err, "", slice_str(param_rules[CLIENT_BITS].name), " without a value, want 8 to 15",
                    param_rules[CLIENT_BITS].section);
    params_of(&extension, params);
    return 0;
}

static void write_answer(const struct extension *extension, char *answer, size_t size)
{
    size_t len = (size_t)snprintf(answer, size, "%s", extension_name);
    for (size_t i = 0; i < PARAM_COUNT && len < size; i++) {
        if (!extension->have[i] || (i == CLIENT_BITS && !extension->bits[i]))
            continue; /* the client's window may be as large as it likes */
        if (param_rules[i].is_bits)
            len += (size_t)snprintf(answer + len, size - len, "; %s=%u", param_rules[i].name, extension->bits[i]);
        else
            len += (size_t)snprintf(answer + len, size - len, "; %s", param_rules[i].name);
    }
}

int deflate_answer_offer(struct slice value, struct deflate_params *params, char *answer, size_t size)
{
    struct extension extension;
    struct err ignored;
    int found;

    memset(params, 0, sizeof *params);
    *answer = '\0';
    while ((found = next_extension(&value, &extension, &ignored)) > 0) {
        if (params->on || extension.faulty || !slice_equal_str(extension.name, extension_name))
            continue; /* an offer that cannot be taken is passed over (RFC 7692, 5.1); the rest is still read for its form */
        params_of(&extension, params);
        write_answer(&extension, answer, size);
    }
    return found;
}
