/*
 * The schema as JSON Schema 2020-12, for editors. Called by `config schema`. Promises to accept what the loader accepts, as far as a
 * schema can tell: values with ${…} in them, and keys without a value, are let through.
 */
#include "agent/conf/conf_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/conf/broker_type.h"
#include "agent/conf/dialect.h"
#include "agent/conf/receiver_type.h"
#include "agent/proto/json_out.h"

static void key_string(struct json_out *json, const char *key, const char *value)
{
    json_out_key(json, key);
    json_out_string(json, value);
}

static void key_int(struct json_out *json, const char *key, int64_t value)
{
    json_out_key(json, key);
    json_out_int(json, value);
}

static void put_ref(struct json_out *json, const char *ref)
{
    json_out_object(json);
    key_string(json, "$ref", ref);
    json_out_object_end(json);
}

static void put_pattern(struct json_out *json, const char *pattern)
{
    json_out_object(json);
    key_string(json, "type", "string");
    key_string(json, "pattern", pattern);
    json_out_object_end(json);
}

/* "1.2" may also be written without quotes, and is a number then. */
static void put_enum(struct json_out *json, const char *const *words)
{
    json_out_object(json);
    json_out_key(json, "enum");
    json_out_array(json);
    for (; *words; words++) {
        json_out_string(json, *words);
        if ((*words)[strspn(*words, "0123456789.")] == 0)
            json_out_double(json, strtod(*words, NULL), 1);
    }
    json_out_array_end(json);
    json_out_object_end(json);
}

static void put_integer(struct json_out *json, const struct opt *row)
{
    json_out_object(json);
    key_string(json, "type", "integer");
    key_int(json, "minimum", row->min);
    if (row->max)
        key_int(json, "maximum", row->max);
    json_out_object_end(json);
}

static void put_array(struct json_out *json, const struct opt *row)
{
    json_out_object(json);
    key_string(json, "type", "array");
    json_out_key(json, "items");
    if (row->kind == OPT_SET)
        put_enum(json, row->words);
    else
        put_ref(json, "#/$defs/scalar");
    if (row->kind == OPT_STRINGS && row->min)
        key_int(json, "minItems", row->min);
    if (row->kind == OPT_STRINGS && row->max)
        key_int(json, "maxItems", row->max);
    json_out_object_end(json);
}

static void put_properties(struct json_out *json, const struct opt *rows);
static void put_kind(struct json_out *json, const struct opt *row);

static void put_section(struct json_out *json, const struct opt *rows)
{
    json_out_object(json);
    key_string(json, "type", "object");
    json_out_key(json, "additionalProperties");
    json_out_bool(json, false);
    json_out_key(json, "properties");
    json_out_object(json);
    put_properties(json, rows);
    json_out_object_end(json);
    json_out_key(json, "required");
    json_out_array(json);
    for (const struct opt *row = rows; row && row->name; row++)
        if (row->flags & OPT_REQUIRED)
            json_out_string(json, row->name);
    json_out_array_end(json);
    json_out_object_end(json);
}

/* A section, or what stands for the whole of it. For an anyOf. */
static void put_struct(struct json_out *json, const struct opt *rows)
{
    const struct opt *inner = opt_short(rows);
    put_section(json, rows);
    if (inner)
        put_kind(json, inner);
}

/* An entry of a list or of a mapping. */
static void put_item(struct json_out *json, const struct opt *row)
{
    json_out_object(json);
    json_out_key(json, "anyOf");
    json_out_array(json);
    put_struct(json, row->rows);
    if (opt_short(row->rows))
        put_ref(json, "#/$defs/variable");
    if (row->kind == OPT_MAP)
        put_ref(json, "#/$defs/unset");
    json_out_array_end(json);
    json_out_object_end(json);
}

static void put_items(struct json_out *json, const struct opt *row)
{
    const bool map = row->kind == OPT_MAP;
    json_out_object(json);
    key_string(json, "type", map ? "object" : "array");
    json_out_key(json, map ? "additionalProperties" : "items");
    put_item(json, row);
    if (row->min)
        key_int(json, map ? "minProperties" : "minItems", row->min);
    key_int(json, map ? "maxProperties" : "maxItems", row->max ? row->max : OPT_ITEMS_MAX);
    json_out_object_end(json);
}

/* Numbers, and ranges of them; one of them alone, too. */
static void put_ranges(struct json_out *json, const struct opt *row)
{
    static const char pattern[] = "^[0-9]+(-[0-9]+)?$";
    put_integer(json, row);
    put_pattern(json, pattern);
    json_out_object(json);
    key_string(json, "type", "array");
    json_out_key(json, "items");
    json_out_object(json);
    json_out_key(json, "anyOf");
    json_out_array(json);
    put_integer(json, row);
    put_pattern(json, pattern);
    put_ref(json, "#/$defs/variable");
    json_out_array_end(json);
    json_out_object_end(json);
    key_int(json, "maxItems", OPT_RANGES_MAX);
    json_out_object_end(json);
}

/* For keys that the loader takes as not set where they have no value. */
static void put_scalar_or_unset(struct json_out *json)
{
    json_out_object(json);
    json_out_key(json, "anyOf");
    json_out_array(json);
    put_ref(json, "#/$defs/scalar");
    put_ref(json, "#/$defs/unset");
    json_out_array_end(json);
    json_out_object_end(json);
}

static void put_pairs(struct json_out *json, const struct opt *row)
{
    json_out_object(json);
    key_string(json, "type", "object");
    if (row->max)
        key_int(json, "maxProperties", row->max);
    json_out_key(json, "additionalProperties");
    put_scalar_or_unset(json);
    json_out_object_end(json);
}

static void put_kind(struct json_out *json, const struct opt *row)
{
    switch (row->kind) {
    case OPT_BOOL:
        json_out_object(json);
        key_string(json, "type", "boolean");
        json_out_object_end(json);
        break;
    case OPT_INT:
        put_integer(json, row);
        break;
    case OPT_DURATION:
        put_ref(json, "#/$defs/duration");
        break;
    case OPT_SIZE:
        put_ref(json, "#/$defs/size");
        break;
    case OPT_PERCENT:
        put_ref(json, "#/$defs/percent");
        break;
    case OPT_STRING:
        put_ref(json, "#/$defs/scalar");
        break;
    case OPT_ENUM:
        put_enum(json, row->words);
        break;
    case OPT_WINDOW:
        put_integer(json, row);
        put_pattern(json, "^[0-9]+(/[0-9]+)?$");
        break;
    case OPT_SET:
    case OPT_STRINGS:
        put_array(json, row);
        break;
    case OPT_PAIRS:
        put_pairs(json, row);
        break;
    case OPT_MATCH:
    case OPT_SPEC:
        put_ref(json, "#/$defs/match");
        break;
    case OPT_BYTES:
        put_ref(json, "#/$defs/scalar");
        put_ref(json, "#/$defs/bytes");
        break;
    case OPT_SECTION:
        put_struct(json, row->rows);
        break;
    case OPT_LIST:
    case OPT_MAP:
        put_items(json, row);
        break;
    case OPT_JSON:
        json_out_bool(json, true);
        break;
    case OPT_RATE:
        put_pattern(json, "^[0-9]+% in +[0-9][0-9a-z]*$");
        break;
    case OPT_FACTOR:
        put_pattern(json, "^[0-9]+(\\.[0-9]{1,2})?x$");
        break;
    case OPT_RANGES:
        put_ranges(json, row);
        break;
    }
}

static void put_default(struct json_out *json, const struct opt *row)
{
    if (!row->default_text || row->kind == OPT_STRINGS || row->kind == OPT_SET || row->kind == OPT_RANGES || row->kind == OPT_JSON)
        return;
    json_out_key(json, "default");
    if (row->kind == OPT_BOOL)
        json_out_bool(json, row->default_text[0] == 't');
    else if (row->kind == OPT_INT)
        json_out_int(json, strtoll(row->default_text, NULL, 10));
    else
        json_out_string(json, row->default_text);
}

static void put_properties(struct json_out *json, const struct opt *rows)
{
    for (const struct opt *row = rows; row && row->name; row++) {
        json_out_key(json, row->name);
        json_out_object(json);
        key_string(json, "description", row->help);
        put_default(json, row);
        json_out_key(json, "anyOf");
        json_out_array(json);
        put_kind(json, row);
        if (!(row->flags & OPT_REQUIRED))
            put_ref(json, "#/$defs/unset");
        put_ref(json, "#/$defs/variable");
        json_out_array_end(json);
        json_out_object_end(json);
    }
}

/* An entry of a list whose `type` says which further keys it has. */
struct entry {
    const char *name, *summary;
    const struct opt *shared, *own;
    const char *shared_ref; /* where the shared rows are described */
    bool type_required;
};

static void put_entry(struct json_out *json, const struct entry *entry)
{
    json_out_object(json);
    key_string(json, "type", "object");
    if (entry->summary)
        key_string(json, "description", entry->summary);
    json_out_key(json, "additionalProperties");
    json_out_bool(json, false);
    json_out_key(json, "properties");
    json_out_object(json);
    json_out_key(json, "type");
    json_out_object(json);
    key_string(json, "const", entry->name);
    json_out_object_end(json);
    for (const struct opt *row = entry->shared; row->name; row++) {
        char ref[64];
        snprintf(ref, sizeof ref, "%s%s", entry->shared_ref, row->name);
        json_out_key(json, row->name);
        put_ref(json, ref);
    }
    put_properties(json, entry->own);
    json_out_object_end(json);
    json_out_key(json, "required");
    json_out_array(json);
    if (entry->type_required)
        json_out_string(json, "type");
    for (const struct opt *row = entry->own; row && row->name; row++)
        if (row->flags & OPT_REQUIRED)
            json_out_string(json, row->name);
    json_out_array_end(json);
    json_out_object_end(json);
}

/* A list of entries, or nothing; the caller puts what is in it. `choice`: how many of the kinds an entry may be. */
static void open_list(struct json_out *json, const char *description, int64_t min, int64_t max, const char *choice)
{
    json_out_object(json);
    key_string(json, "description", description);
    json_out_key(json, "type");
    json_out_array(json);
    json_out_string(json, "array");
    json_out_string(json, "null");
    json_out_array_end(json);
    if (min)
        key_int(json, "minItems", min);
    key_int(json, "maxItems", max);
    json_out_key(json, "items");
    json_out_object(json);
    json_out_key(json, choice);
    json_out_array(json);
}

static void close_list(struct json_out *json)
{
    json_out_array_end(json);
    json_out_object_end(json);
    json_out_object_end(json);
}

static void put_checks(struct json_out *json, const struct conf_env *env)
{
    open_list(json, "the checks; without any: handshake, ping and hold", 1, CONF_CHECKS_MAX, "oneOf");
    for (const struct probe_type *const *type = env->probes; *type; type++)
        put_entry(json, &(struct entry){ (*type)->name, (*type)->summary, check_rows, (*type)->opts, "#/$defs/check/properties/",
                                         .type_required = true });
    close_list(json);
}

/* anyOf, and not oneOf: a broker without `type` has it from its URL's scheme, and may match several types here. */
static void put_brokers(struct json_out *json, const struct conf_env *env)
{
    open_list(json, "message brokers behind the server", 0, CONF_BROKERS_MAX, "anyOf");
    for (const struct broker_type *const *type = env->brokers; *type; type++)
        put_entry(json, &(struct entry){ (*type)->name, (*type)->summary, broker_rows, (*type)->opts, "#/$defs/broker/properties/",
                                         .type_required = false });
    close_list(json);
}

static void put_notifiers(struct json_out *json, const struct conf_env *env)
{
    open_list(json, "who is told of a fault", 0, CONF_NOTIFIERS_MAX, "oneOf");
    for (const struct receiver_type *const *type = env->receivers; *type; type++)
        put_entry(json, &(struct entry){ (*type)->name, (*type)->summary, notifier_rows, (*type)->opts,
                                         "#/$defs/notifier/properties/", .type_required = true });
    close_list(json);
}

static void put_dialects(struct json_out *json)
{
    json_out_object(json);
    key_string(json, "description", "dialects of your own, by their names");
    json_out_key(json, "type");
    json_out_array(json);
    json_out_string(json, "object");
    json_out_string(json, "null");
    json_out_array_end(json);
    key_int(json, "maxProperties", CONF_DIALECTS_MAX);
    json_out_key(json, "propertyNames");
    put_pattern(json, "^[A-Za-z0-9_.-]{1,64}$");
    json_out_key(json, "additionalProperties");
    json_out_object(json);
    json_out_key(json, "anyOf");
    json_out_array(json);
    put_ref(json, "#/$defs/dialect");
    put_ref(json, "#/$defs/unset");
    json_out_array_end(json);
    json_out_object_end(json);
    json_out_object_end(json);
}

static void put_match(struct json_out *json)
{
    static const char *const parts[] = { "equals", "contains", "regex" };
    json_out_object(json);
    key_string(json, "type", "object");
    key_int(json, "minProperties", 1);
    json_out_key(json, "additionalProperties");
    json_out_bool(json, false);
    json_out_key(json, "properties");
    json_out_object(json);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        json_out_key(json, parts[i]);
        put_scalar_or_unset(json);
    }
    json_out_key(json, "json");
    json_out_object(json);
    key_string(json, "type", "object");
    key_int(json, "minProperties", 1);
    key_int(json, "maxProperties", MATCH_POINTERS_MAX);
    json_out_key(json, "propertyNames");
    json_out_object(json);
    key_string(json, "pattern", "^(/.*)?$");
    json_out_object_end(json);
    json_out_object_end(json);
    json_out_object_end(json);
    json_out_object_end(json);
}

static void put_bytes(struct json_out *json)
{
    json_out_object(json);
    key_string(json, "type", "object");
    json_out_key(json, "additionalProperties");
    json_out_bool(json, false);
    json_out_key(json, "properties");
    json_out_object(json);
    json_out_key(json, "base64");
    json_out_object(json);
    key_string(json, "type", "string");
    json_out_object_end(json);
    json_out_object_end(json);
    json_out_key(json, "required");
    json_out_array(json);
    json_out_string(json, "base64");
    json_out_array_end(json);
    json_out_object_end(json);
}

static void put_defs(struct json_out *json)
{
    json_out_object(json);
    json_out_key(json, "duration");
    put_pattern(json, "^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$");
    json_out_key(json, "size");
    put_pattern(json, "^[0-9]+(B|KiB|MiB|GiB)$");
    json_out_key(json, "percent");
    put_pattern(json, "^[0-9]{1,6}%$");
    json_out_key(json, "variable");
    put_pattern(json, "\\$\\{");
    json_out_key(json, "unset");
    json_out_object(json);
    key_string(json, "type", "null");
    json_out_object_end(json);
    json_out_key(json, "scalar");
    json_out_object(json);
    json_out_key(json, "type");
    json_out_array(json);
    json_out_string(json, "string");
    json_out_string(json, "number");
    json_out_string(json, "boolean");
    json_out_array_end(json);
    json_out_object_end(json);
    json_out_key(json, "match");
    put_match(json);
    json_out_key(json, "bytes");
    put_bytes(json);
    json_out_key(json, "check");
    put_section(json, check_rows);
    json_out_key(json, "broker");
    put_section(json, broker_rows);
    json_out_key(json, "notifier");
    put_section(json, notifier_rows);
    json_out_key(json, "dialect");
    put_section(json, dialect_rows);
    json_out_object_end(json);
}

void conf_write_schema(const struct conf_env *env, struct buf *out)
{
    struct json_out json;
    json_out_begin(&json, out);
    json_out_object(&json);
    key_string(&json, "$schema", "https://json-schema.org/draft/2020-12/schema");
    key_string(&json, "title", "wshealthd.yaml");
    key_string(&json, "type", "object");
    json_out_key(&json, "additionalProperties");
    json_out_bool(&json, false);
    json_out_key(&json, "properties");
    json_out_object(&json);
    put_properties(&json, conf_rows);
    json_out_key(&json, "defaults");
    json_out_object(&json);
    key_string(&json, "description", "what every check takes unless it says otherwise");
    json_out_key(&json, "anyOf");
    json_out_array(&json);
    put_section(&json, default_rows);
    put_ref(&json, "#/$defs/unset");
    json_out_array_end(&json);
    json_out_object_end(&json);
    if (env->brokers && env->brokers[0]) {
        json_out_key(&json, "brokers");
        put_brokers(&json, env);
    }
    if (env->receivers && env->receivers[0]) {
        json_out_key(&json, "notify");
        put_notifiers(&json, env);
    }
    json_out_key(&json, "dialects");
    put_dialects(&json);
    json_out_key(&json, "checks");
    put_checks(&json, env);
    json_out_object_end(&json);
    json_out_key(&json, "required");
    json_out_array(&json);
    json_out_string(&json, "target");
    json_out_array_end(&json);
    json_out_key(&json, "$defs");
    put_defs(&json);
    json_out_object_end(&json);
    if (json_out_finish(&json) == 0)
        buf_append_char(out, '\n');
}
