/*
 * Compiling and trying matches. The configuration compiles, the talks try every message of a peer. What a hostile message can cost
 * is bounded: PCRE2 by a budget of steps over the whole message (its own limits count anew at every start position), JSON by a
 * ceiling on its size and by jansson's on its depth. The check decides what a match, or its absence, means.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "agent/proto/match.h"

#include <jansson.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"

enum {
    REGEX_STEPS_MAX = 1000000, /* some tens of milliseconds */
    REGEX_STEPS_MIN = 50000,   /* once too many messages have cost that */
    REGEX_EASIER = 16,         /* so many messages in a row that cost little give half of it back */
    REGEX_STEP_BYTES = 16,     /* walked over in the time of a step */
    REGEX_MATCH_LIMIT = 1000000,
    REGEX_DEPTH_LIMIT = 10000,
    REGEX_HEAP_KIB = 8192,
    SHOWN_CHARS = 80, /* of a value in a sentence */
    SHOWN_BYTES = TEXT_EXCERPT_BYTES(SHOWN_CHARS),
};

struct pointer {
    char *text;
    char **tokens; /* decoded */
    size_t token_count;
    json_t *want;
    json_t *want_number; /* the same as a number, where either will do; NULL: only `want` */
    char *want_text;
};

struct match {
    char *equals, *contains, *regex_text;
    pcre2_code *regex;
    pcre2_code *regex_bytes; /* for messages that are no UTF-8, made when the first of them comes */
    bool regex_no_bytes;     /* it has something that bytes cannot be */
    size_t regex_steps;      /* what the next message may cost */
    unsigned regex_easy;     /* messages in a row that were within it */
    pcre2_match_context *regex_limits;
    struct pointer *pointers;
    size_t pointer_count;
};

/* --- compiling --- */

static int compile_regex(struct match *match, const char *text, struct err *err)
{
    int code;
    PCRE2_SIZE offset;
    /* Automatic callouts are what counts the steps. */
    match->regex = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C,
                                 &code, &offset, NULL);
    if (!match->regex) {
        PCRE2_UCHAR why[256];
        pcre2_get_error_message(code, why, sizeof why);
        return err_set(err, REASON_NONE, 0, "regex: %s at offset %zu", (const char *)why, (size_t)offset);
    }
    match->regex_text = mem_strdup(text);
    match->regex_steps = REGEX_STEPS_MAX;
    match->regex_limits = pcre2_match_context_create(NULL);
    panic_if(!match->regex_limits);
    pcre2_set_match_limit(match->regex_limits, REGEX_MATCH_LIMIT);
    pcre2_set_depth_limit(match->regex_limits, REGEX_DEPTH_LIMIT);
    pcre2_set_heap_limit(match->regex_limits, REGEX_HEAP_KIB);
    return 0;
}

/* RFC 6901, 3 and 4: ~1 is a slash, ~0 a tilde. NULL for any other tilde. */
static char *decode_token(struct slice token)
{
    char *out = mem_alloc(token.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < token.len; i++) {
        char c = (char)token.data[i];
        if (c == '~') {
            char next = i + 1 < token.len ? (char)token.data[++i] : '\0';
            if (next != '0' && next != '1') {
                mem_free(out);
                return NULL;
            }
            c = next == '0' ? '~' : '/';
        }
        out[len++] = c;
    }
    return out;
}

static int compile_tokens(struct pointer *pointer, const char *text, struct err *err)
{
    size_t slashes = 0;
    for (const char *p = text; *p; p++)
        slashes += *p == '/';
    if (*text && *text != '/')
        return err_set(err, REASON_NONE, 0, "json: pointer '%s' does not begin with a slash", text);
    pointer->tokens = mem_alloc(slashes * sizeof *pointer->tokens);
    for (const char *p = text; *p;) {
        p++;
        size_t len = strcspn(p, "/");
        char *token = decode_token(slice_make(p, len));
        if (!token)
            return err_set(err, REASON_NONE, 0, "json: pointer '%s' has a tilde that is neither ~0 nor ~1", text);
        pointer->tokens[pointer->token_count++] = token;
        p += len;
    }
    return 0;
}

static json_t *parse(struct slice text, json_error_t *error)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *value = json_loadb((const char *)text.data, text.len, flags, error);
    /* Integers past 64 bits are rare, but valid: then every number is read as a real. */
    if (!value && json_error_code(error) == json_error_numeric_overflow)
        value = json_loadb((const char *)text.data, text.len, flags | JSON_DECODE_INT_AS_REAL, error);
    /* jansson quotes the text around an error, cut anywhere, through a secret too. */
    char *quote = value ? NULL : strstr(error->text, " near '");
    if (quote)
        *quote = '\0';
    return value;
}

static int compile_pointer(struct pointer *pointer, const struct match_pointer *spec, bool any_type, struct err *err)
{
    json_error_t error;
    pointer->text = mem_strdup(spec->pointer);
    pointer->want_text = mem_strdup(spec->value);
    if (compile_tokens(pointer, spec->pointer, err))
        return -1;
    pointer->want = parse(slice_str(spec->value), &error);
    if (!pointer->want)
        return err_set(err, REASON_NONE, 0, "json %s: value is not JSON: %s", spec->pointer, error.text);
    if (any_type && json_is_string(pointer->want)) {
        pointer->want_number = parse(slice_str(json_string_value(pointer->want)), &error);
        if (!json_is_number(pointer->want_number)) {
            json_decref(pointer->want_number);
            pointer->want_number = NULL;
        }
    }
    return 0;
}

struct match *match_new(const struct match_spec *spec, struct err *err)
{
    struct match *match = mem_alloc(sizeof *match);
    panic_if(spec->json_count > MATCH_POINTERS_MAX);
    match->equals = mem_strdup(spec->equals);
    match->contains = mem_strdup(spec->contains);
    if (spec->regex && compile_regex(match, spec->regex, err))
        goto fail;
    if (spec->json_count)
        match->pointers = mem_alloc(spec->json_count * sizeof *match->pointers);
    for (size_t i = 0; i < spec->json_count; i++) {
        match->pointer_count++;
        if (compile_pointer(&match->pointers[i], &spec->json[i], spec->any_type >> i & 1, err))
            goto fail;
    }
    return match;
fail:
    match_free(match);
    return NULL;
}

static void pointer_fini(struct pointer *pointer)
{
    for (size_t i = 0; i < pointer->token_count; i++)
        mem_free(pointer->tokens[i]);
    mem_free(pointer->tokens);
    mem_free(pointer->text);
    mem_free(pointer->want_text);
    json_decref(pointer->want);
    json_decref(pointer->want_number);
}

void match_free(struct match *match)
{
    if (!match)
        return;
    for (size_t i = 0; i < match->pointer_count; i++)
        pointer_fini(&match->pointers[i]);
    mem_free(match->pointers);
    pcre2_match_context_free(match->regex_limits);
    pcre2_code_free(match->regex);
    pcre2_code_free(match->regex_bytes);
    mem_free(match->regex_text);
    mem_free(match->equals);
    mem_free(match->contains);
    mem_free(match);
}

/* --- trying --- */

static const char *show(struct slice s, char out[SHOWN_BYTES])
{
    text_excerpt(s, SHOWN_CHARS, out, SHOWN_BYTES);
    return out;
}

bool match_shows_message(const struct err *why)
{
    return strncmp(why->text, "text is ", 8) == 0;
}

static bool try_texts(const struct match *match, struct slice message, struct err *why)
{
    char got[SHOWN_BYTES], want[SHOWN_BYTES];
    bool equals = !match->equals || slice_equal_str(message, match->equals);
    bool contains = !match->contains || slice_find(message, slice_str(match->contains)) >= 0;
    if (equals && contains)
        return true;
    if (!why)
        return false; /* most messages are not the awaited one, so no sentence is made for them */
    if (!equals)
        err_set(why, REASON_NONE, 0, "text is \"%s\", want \"%s\"", show(message, got), show(slice_str(match->equals), want));
    else
        err_set(why, REASON_NONE, 0, "text is \"%s\", want \"%s\" in it", show(message, got),
                show(slice_str(match->contains), want));
    return false;
}

struct budget {
    size_t left, at;
};

/* Before every item of the pattern: one step, and one for each run of bytes that has been walked over since the last. */
static int on_regex_step(pcre2_callout_block *block, void *data)
{
    struct budget *budget = data;
    size_t at = block->current_position;
    size_t cost = 1 + (at > budget->at ? at - budget->at : budget->at - at) / REGEX_STEP_BYTES;
    budget->at = at;
    if (cost > budget->left)
        return PCRE2_ERROR_MATCHLIMIT;
    budget->left -= cost;
    return 0;
}

/* A regular expression is one over characters; a binary message that is no UTF-8 is a row of bytes, and each stands for itself there. */
static const pcre2_code *regex_for_bytes(struct match *match)
{
    int code;
    PCRE2_SIZE offset;
    if (!match->regex_bytes && !match->regex_no_bytes)
        match->regex_bytes = pcre2_compile((PCRE2_SPTR)match->regex_text, PCRE2_ZERO_TERMINATED,
                                           PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
    match->regex_no_bytes = !match->regex_bytes;
    return match->regex_bytes;
}

static bool is_utf_error(int rc)
{
    return rc <= PCRE2_ERROR_UTF8_ERR1 && rc >= PCRE2_ERROR_UTF8_ERR21;
}

/* A flood of messages that each cost all steps would take the whole loop: each one halves what the next may cost. */
static void note_cost(struct match *match, int rc)
{
    if (rc == PCRE2_ERROR_MATCHLIMIT) {
        match->regex_steps = match->regex_steps / 2 > REGEX_STEPS_MIN ? match->regex_steps / 2 : REGEX_STEPS_MIN;
        match->regex_easy = 0;
    } else if (match->regex_steps < REGEX_STEPS_MAX && ++match->regex_easy == REGEX_EASIER) {
        match->regex_steps = match->regex_steps * 2 < REGEX_STEPS_MAX ? match->regex_steps * 2 : REGEX_STEPS_MAX;
        match->regex_easy = 0;
    }
}

/* PCRE2's answer, under the budget of steps. */
static int run_regex(struct match *match, struct slice message, pcre2_match_data *found)
{
    struct budget budget = { match->regex_steps, 0 };
    pcre2_set_callout(match->regex_limits, on_regex_step, &budget);
    PCRE2_SPTR text = message.len ? message.data : (PCRE2_SPTR) "";
    int rc = pcre2_match(match->regex, text, message.len, 0, 0, found, match->regex_limits);
    if (is_utf_error(rc) && regex_for_bytes(match)) {
        budget = (struct budget){ match->regex_steps, 0 };
        rc = pcre2_match(match->regex_bytes, text, message.len, 0, 0, found, match->regex_limits);
    }
    note_cost(match, rc);
    return rc;
}

static bool try_regex(struct match *match, struct slice message, struct err *why)
{
    char got[SHOWN_BYTES], want[SHOWN_BYTES];
    /* Made for each message: PCRE2 keeps the largest workspace that it ever needed in it. */
    pcre2_match_data *found = pcre2_match_data_create(1, NULL);
    panic_if(!found);
    int rc = run_regex(match, message, found);
    pcre2_match_data_free(found);
    if (rc >= 0 || !why)
        return rc >= 0;
    show(slice_str(match->regex_text), want);
    if (rc == PCRE2_ERROR_NOMATCH) {
        err_set(why, REASON_NONE, 0, "text is \"%s\", want a match of /%s/", show(message, got), want);
    } else if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT) {
        err_set(why, REASON_NONE, 0, "regex /%s/ takes too many steps on the %zu bytes that came", want, message.len);
    } else {
        PCRE2_UCHAR reason[256];
        pcre2_get_error_message(rc, reason, sizeof reason);
        err_set(why, REASON_NONE, 0, "text is \"%s\", regex /%s/ cannot be tried on it: %s", show(message, got), want,
                (const char *)reason);
    }
    return false;
}

/* RFC 6901, 4: an index is 0 or has no leading zero; "-" is behind the end. */
static json_t *element_at(json_t *array, const char *token)
{
    int64_t index;
    if (token[0] < '0' || token[0] > '9' || (token[0] == '0' && token[1]) || text_parse_int(token, &index))
        return NULL;
    return json_array_get(array, (size_t)index);
}

/* dash_is_last: "-" is an array's last element; in RFC 6901 it is the one behind that, which is never there. */
static json_t *resolve(json_t *value, const struct pointer *pointer, bool dash_is_last)
{
    for (size_t i = 0; i < pointer->token_count && value; i++) {
        if (json_is_object(value))
            value = json_object_get(value, pointer->tokens[i]);
        else if (dash_is_last && json_is_array(value) && strcmp(pointer->tokens[i], "-") == 0) /* NULL where it is empty */
            value = json_array_get(value, json_array_size(value) - 1);
        else
            value = json_is_array(value) ? element_at(value, pointer->tokens[i]) : NULL;
    }
    return value;
}

/* As json_equal, but 1 and 1.0 are the same number: the peer's serialiser decides how it is written. */
static bool equal(json_t *a, json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a) && json_is_integer(b) ? json_integer_value(a) == json_integer_value(b)
                                                        : json_number_value(a) == json_number_value(b);
    if (json_is_array(a) && json_is_array(b)) {
        bool same = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; same && i < json_array_size(a); i++)
            same = equal(json_array_get(a, i), json_array_get(b, i));
        return same;
    }
    if (json_is_object(a) && json_is_object(b)) {
        bool same = json_object_size(a) == json_object_size(b);
        for (void *at = json_object_iter(a); same && at; at = json_object_iter_next(a, at)) {
            json_t *other = json_object_get(b, json_object_iter_key(at));
            same = other && equal(json_object_iter_value(at), other);
        }
        return same;
    }
    return json_equal(a, b) != 0;
}

/* A value as JSON, cut. Strings as they are: in their escaped form a secret would not be recognised. */
static const char *show_value(const json_t *value, char out[SHOWN_BYTES])
{
    char part[SHOWN_BYTES - 2];
    if (json_is_string(value)) {
        text_excerpt(slice_make(json_string_value(value), json_string_length(value)), SHOWN_CHARS, part, sizeof part);
        snprintf(out, SHOWN_BYTES, "\"%s\"", part);
        return out;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    show(slice_str(text), out);
    free(text);
    return out;
}

static bool try_json(const struct match *match, struct slice message, struct err *why)
{
    char got[SHOWN_BYTES], want[SHOWN_BYTES];
    json_error_t error;
    if (message.len > MATCH_JSON_MAX) {
        err_set(why, REASON_NONE, 0, "%zu bytes are too long to be read as JSON, at most %d", message.len, MATCH_JSON_MAX);
        return false;
    }
    json_t *root = parse(message.len ? message : slice_str(""), &error);
    if (!root) {
        if (why)
            err_set(why, REASON_NONE, 0, "text is \"%s\", want JSON (%s)", show(message, got), error.text);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < match->pointer_count; i++) {
        const struct pointer *pointer = &match->pointers[i];
        json_t *value = resolve(root, pointer, false);
        ok = value && (equal(pointer->want, value) || (pointer->want_number && equal(pointer->want_number, value)));
        if (ok || !why)
            continue;
        show(slice_str(pointer->want_text), want);
        if (value)
            err_set(why, REASON_NONE, 0, "json %s is %s, want %s", pointer->text, show_value(value, got), want);
        else
            err_set(why, REASON_NONE, 0, "json %s is missing, want %s", pointer->text, want);
    }
    json_decref(root);
    return ok;
}

bool match_try(struct match *match, struct slice message, struct err *why)
{
    return try_texts(match, message, why) && (!match->regex || try_regex(match, message, why)) &&
           (!match->pointer_count || try_json(match, message, why));
}

/* --- taking out --- */

static int put_value(const json_t *value, struct buf *out)
{
    if (json_is_string(value))
        return buf_append(out, json_string_value(value), json_string_length(value));
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    int rc = text ? buf_append_str(out, text) : -1;
    free(text);
    return rc;
}

static int extract(struct slice message, const char *pointer, bool word, struct buf *out)
{
    struct pointer compiled = { 0 };
    struct err err;
    json_error_t error;
    json_t *root = NULL, *value = NULL;
    if (message.len && message.len <= MATCH_JSON_MAX && !compile_tokens(&compiled, pointer, &err))
        root = parse(message, &error);
    if (root)
        value = resolve(root, &compiled, true);
    if (word && !json_is_string(value) && !json_is_number(value))
        value = NULL;
    int rc = value ? put_value(value, out) : -1;
    json_decref(root);
    pointer_fini(&compiled);
    return rc;
}

int match_extract(struct slice message, const char *pointer, struct buf *out)
{
    return extract(message, pointer, false, out);
}

int match_extract_word(struct slice message, const char *pointer, struct buf *out)
{
    return extract(message, pointer, true, out);
}

/* --- describing --- */

/* What group 1 took: 1, or 0 where it took no part in the match. */
static int put_group(pcre2_match_data *found, struct slice message, struct buf *out)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(found);
    if (ends[2] == PCRE2_UNSET || ends[2] > ends[3]) /* \K in a lookahead may turn them round */
        return 0;
    return buf_append(out, message.data + ends[2], ends[3] - ends[2]) < 0 ? 0 : 1;
}

int match_group(const char *regex, struct slice message, struct buf *out, struct err *err)
{
    char *copy = mem_strdup(regex);
    const struct match_spec spec = { .regex = copy };
    struct match *match = match_new(&spec, err);
    uint32_t groups = 0;
    int rc = -1;
    if (match)
        pcre2_pattern_info(match->regex, PCRE2_INFO_CAPTURECOUNT, &groups);
    if (match && !groups)
        err_set(err, REASON_NONE, 0, "regex: no group in it, want such as id=(\\d+)");
    if (groups) {
        pcre2_match_data *found = pcre2_match_data_create(2, NULL);
        panic_if(!found);
        int got = run_regex(match, message, found); /* 0: there are more groups than places for them */
        rc = got == 0 || got >= 2 ? put_group(found, message, out) : 0;
        pcre2_match_data_free(found);
    }
    match_free(match);
    mem_free(copy);
    return rc;
}

void match_describe(const struct match_spec *spec, char *out, size_t size)
{
    struct buf text = BUF_INIT(4096); /* past it nothing would be shown anyway */
    char part[SHOWN_BYTES];
    const char *and = "";
    if (spec->equals) {
        buf_printf(&text, "equal to \"%s\"", show(slice_str(spec->equals), part));
        and = " and ";
    }
    if (spec->contains) {
        buf_printf(&text, "%scontaining \"%s\"", and, show(slice_str(spec->contains), part));
        and = " and ";
    }
    if (spec->regex) {
        buf_printf(&text, "%smatching /%s/", and, show(slice_str(spec->regex), part));
        and = " and ";
    }
    for (size_t i = 0; i < spec->json_count; i++) {
        const struct match_pointer *json = &spec->json[i];
        const char *lead = i == 0 ? "JSON with " : "";
        buf_printf(&text, "%s%s%s = %s", and, lead, *json->pointer ? json->pointer : "the whole",
                   show(slice_str(json->value), part));
        and = " and ";
    }
    if (text.len == 0)
        buf_append_str(&text, "any message");
    text_excerpt(buf_slice(&text), size, out, size);
    buf_fini(&text);
}

bool match_value_is_hole(const char *value)
{
    size_t len = strlen(value);
    return len > 6 && strncmp(value, "\"{{", 3) == 0 && strcmp(value + len - 3, "}}\"") == 0 && !strstr(value + 3, "{{") &&
           !strchr("#^/", value[3]) && strstr(value, "}}") == value + len - 3;
}

void match_spec_fini(struct match_spec *spec)
{
    mem_free(spec->equals);
    mem_free(spec->contains);
    mem_free(spec->regex);
    for (size_t i = 0; i < spec->json_count; i++) {
        mem_free(spec->json[i].pointer);
        mem_free(spec->json[i].value);
    }
    *spec = (struct match_spec){ 0 };
}

bool match_spec_empty(const struct match_spec *spec)
{
    return !spec->equals && !spec->contains && !spec->regex && spec->json_count == 0;
}
