/*
 * YAML text to a tree of nodes with positions, by libyaml's events. Called by the loader (agent/conf/conf.c). Promises bounded
 * depth, a bounded number of nodes, one document, no aliases and no tags, and an error with line and column for everything else.
 * What the nodes mean is left to agent/conf/conf_read.c.
 *
 * It reads libyaml's events and not its document: there an alias has no
 * position of its own, and a document that refers to itself never ends.
 */
#include "agent/conf/conf_impl.h"

#include <string.h>
#include <yaml.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/utf8.h"

enum { DIRECTIVES_MAX = 16 };

struct builder {
    struct conf_error_list *errors;
    struct slice text;
    struct node *root;
    struct node *open[CONF_DEPTH_MAX]; /* the lists and mappings that are open */
    size_t depth, nodes;
    char *key; /* the key whose value comes next */
    struct mark key_mark;
    bool failed;
};

void node_free(struct node *node)
{
    while (node) {
        struct node *next = node->next;
        node_free(node->first);
        mem_free(node->text);
        mem_free(node->key);
        mem_free(node);
        node = next;
    }
}

bool node_is_null(const struct node *node)
{
    return node->kind == NODE_SCALAR && !node->quoted &&
           (!*node->text || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

const struct node *node_get(const struct node *map, const char *key)
{
    for (const struct node *node = map->first; node; node = node->next)
        if (node->key && strcmp(node->key, key) == 0)
            return node;
    return NULL;
}

const char *node_kind_name(const struct node *node)
{
    return node->kind == NODE_LIST ? "a list" : node->kind == NODE_MAP ? "a mapping" : node_is_null(node) ? "nothing" : "a text";
}

static struct mark mark_of(yaml_mark_t mark)
{
    return (struct mark){ (unsigned)mark.line + 1, (unsigned)mark.column + 1 };
}

static void fail(struct builder *builder, struct mark mark, const char *text)
{
    conf_error_at(builder->errors, mark, NULL, "%s", text);
    builder->failed = true;
}

/* Line and column of a byte, counting characters as libyaml does. */
static struct mark mark_at(struct slice text, size_t offset)
{
    struct mark mark = { 1, 1 };
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.data[i] == '\n')
            mark = (struct mark){ mark.line + 1, 1 };
        else if ((text.data[i] & 0xc0) != 0x80)
            mark.column++;
    }
    return mark;
}

static char char_at(struct slice text, yaml_mark_t mark)
{
    size_t line = 0, i = 0;
    for (; i < text.len && line < mark.line; i++)
        line += text.data[i] == '\n';
    i += mark.column; /* exact where a tab matters: behind blanks only */
    return i < text.len ? (char)text.data[i] : 0;
}

/* Does a ${ come before the mark on its line? Inside { } and [ ] its brace is part of YAML's own syntax. */
static bool has_variable(struct slice text, yaml_mark_t mark)
{
    size_t line = 0, i = 0;
    for (; i < text.len && line < mark.line; i++)
        line += text.data[i] == '\n';
    for (size_t column = 0; column < mark.column && i + 1 < text.len && text.data[i] != '\n'; column++, i++)
        if (text.data[i] == '$' && text.data[i + 1] == '{')
            return true;
    return false;
}

/* The messages of libyaml, and what each means to somebody who has only written a file. */
static const struct {
    const char *problem, *context, *plain;
} sayings[] = {
    { "mapping values are not allowed", "",
      "a key and its value in the wrong place: a line that is indented further than the one above it, or a second ': ' on a line, "
      "which needs quotes around the value" },
    { "did not find expected key", "block mapping",
      "this line's indentation fits no key above it: keys that belong together begin in the same column" },
    { "did not find expected '-' indicator", "",
      "this line's indentation fits nothing above it: the entries of a list begin with '- ' in the same column" },
    { "could not find expected ':'", "",
      "a key without ': ' behind it, or a value that goes on in the next line without being indented" },
    { "block sequence entries are not allowed", "",
      "a list cannot begin here: put its first '- ' on a line of its own, below its key" },
    { "cannot start any token", "", "a value cannot begin with this character: put quotes around it" },
    { "unexpected end of stream", "quoted", "a quote that was opened is not closed" },
    { "did not find expected ',' or '}'", "", "want , or } here" },
    { "did not find expected ',' or ']'", "", "want , or ] here" },
    { "did not find expected node content", "", "a value is missing here" },
    { "unknown escape character", "",
      "a backslash in double quotes that YAML does not know; in single quotes it stands for itself" },
    { "unexpected document indicator", "quoted", "a quote that was opened is not closed" },
};

static void refuse_plainly(struct builder *builder, const yaml_parser_t *parser, const char *problem)
{
    const char *context = parser->context ? parser->context : "", *plain = problem;
    struct mark begun = mark_of(parser->context_mark), mark = mark_of(parser->problem_mark);
    char where[64] = "";
    bool known = false;
    for (size_t i = 0; !known && i < sizeof sayings / sizeof sayings[0]; i++) {
        known = strstr(problem, sayings[i].problem) && strstr(context, sayings[i].context);
        plain = known ? sayings[i].plain : plain;
    }
    if (*context && (begun.line != mark.line || begun.column != mark.column))
        snprintf(where, sizeof where, " (what it belongs to begins at %u:%u)", begun.line, begun.column);
    conf_error_at(builder->errors, mark, NULL, "%s%s%s", plain, where,
                  strstr(context, "flow") && has_variable(builder->text, parser->problem_mark)
                      ? "; inside { } and [ ], ${…} needs quotes around it"
                      : "");
}

static void fail_syntax(struct builder *builder, const yaml_parser_t *parser)
{
    const char *problem = parser->problem ? parser->problem : "not YAML";
    builder->failed = true;
    if (parser->error == YAML_READER_ERROR)
        conf_error_at(builder->errors, mark_at(builder->text, parser->problem_offset), NULL, "%s (byte 0x%02x)", problem,
                      (unsigned)parser->problem_value & 0xff);
    else if (char_at(builder->text, parser->problem_mark) == '\t')
        conf_error_at(builder->errors, mark_of(parser->problem_mark), NULL, "a tab, want blanks for indentation");
    else
        refuse_plainly(builder, parser, problem);
}

/* A new node in its place: the root, the next of a list, or the value of the key before it. */
static struct node *add_node(struct builder *builder, enum node_kind kind, struct mark mark)
{
    struct node *parent = builder->depth ? builder->open[builder->depth - 1] : NULL;
    if (++builder->nodes > NODES_MAX) {
        fail(builder, mark, "too many values in one file");
        return NULL;
    }
    if (parent && parent->kind == NODE_MAP && parent->count >= KEYS_MAX) {
        fail(builder, mark, "too many keys in one mapping");
        return NULL;
    }
    struct node *node = mem_alloc(sizeof *node);
    node->kind = kind;
    node->mark = mark;
    node->key = builder->key;
    node->key_mark = builder->key ? builder->key_mark : mark;
    builder->key = NULL;
    if (!parent)
        builder->root = node;
    else if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    if (parent) {
        parent->last = node;
        parent->count++;
    }
    return node;
}

static bool awaits_key(const struct builder *builder)
{
    return builder->depth && builder->open[builder->depth - 1]->kind == NODE_MAP && !builder->key;
}

static void open_node(struct builder *builder, enum node_kind kind, const yaml_char_t *tag, struct mark mark)
{
    if (tag)
        return fail(builder, mark, "tags are not supported");
    if (awaits_key(builder))
        return fail(builder, mark, "a key must be a plain word");
    if (builder->depth >= CONF_DEPTH_MAX)
        return fail(builder, mark, "nested too deep");
    struct node *node = add_node(builder, kind, mark);
    if (node)
        builder->open[builder->depth++] = node;
}

static void add_scalar(struct builder *builder, const yaml_event_t *event)
{
    struct mark mark = mark_of(event->start_mark);
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (event->data.scalar.tag)
        return fail(builder, mark, "tags are not supported");
    if (memchr(value, 0, len))
        return fail(builder, mark, "holds a NUL byte: write {{0x00}} where a text has holes, or { base64: ... }");
    if (awaits_key(builder)) {
        builder->key = mem_strndup(value, len);
        builder->key_mark = mark;
        return;
    }
    struct node *node = add_node(builder, NODE_SCALAR, mark);
    if (!node)
        return;
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = mem_strndup(value, len);
}

static void take_event(struct builder *builder, const yaml_event_t *event)
{
    struct mark mark = mark_of(event->start_mark);
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (builder->root)
            fail(builder, mark, "a second document, want one in a file");
        break;
    case YAML_ALIAS_EVENT:
        fail(builder, mark, "aliases are not supported, want the value itself");
        break;
    case YAML_SCALAR_EVENT:
        add_scalar(builder, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        open_node(builder, NODE_LIST, event->data.sequence_start.tag, mark);
        break;
    case YAML_MAPPING_START_EVENT:
        open_node(builder, NODE_MAP, event->data.mapping_start.tag, mark);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        builder->depth--;
        break;
    default:
        break;
    }
}

static void run_parser(struct builder *builder)
{
    yaml_parser_t parser;
    bool end = false;
    panic_if(!yaml_parser_initialize(&parser));
    /* libyaml asserts that it is not NULL, even for an empty file */
    yaml_parser_set_input_string(&parser, builder->text.len ? builder->text.data : (const uint8_t *)"", builder->text.len);
    while (!end && !builder->failed) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            fail_syntax(builder, &parser);
            break;
        }
        take_event(builder, &event);
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
}

static void refuse_duplicates(struct conf_error_list *found, struct node *node, struct trail *trail)
{
    size_t index = 0;
    for (struct node *child = node->first; child; child = child->next) {
        size_t cut = child->key ? trail_key(trail, child->key) : trail_index(trail, index++);
        const struct node *first = child->key ? node_get(node, child->key) : child;
        if (first != child) {
            child->duplicate = true;
            conf_error_at(found, child->key_mark, trail->text, "duplicate key, the first is at %u:%u", first->key_mark.line,
                          first->key_mark.column);
        } else {
            refuse_duplicates(found, child, trail);
        }
        trail_cut(trail, cut);
    }
}

/* The offset of the first byte that is not UTF-8, by binary search: utf8_feed only says whether there is one. */
static size_t bad_utf8_offset(struct slice text)
{
    uint32_t state = 0;
    size_t i = 0;
    while (i < text.len && utf8_feed(&state, slice_make(text.data + i, 1)))
        i++;
    return i;
}

/* libyaml compares each directive with all earlier ones, so their number is bounded. */
static bool too_many_directives(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '%' && (i == 0 || text.data[i - 1] == '\n');
    return count > DIRECTIVES_MAX;
}

struct node *node_load(struct slice text, struct conf_error_list *found)
{
    struct builder builder = { .errors = found, .text = text };
    struct trail trail = { "" };
    const uint8_t *nul = text.len ? memchr(text.data, 0, text.len) : NULL;
    if (text.len > CONF_FILE_MAX)
        fail(&builder, (struct mark){ 1, 1 }, "larger than 1 MiB");
    else if (nul)
        fail(&builder, mark_at(text, (size_t)(nul - text.data)), "holds a NUL byte, want UTF-8 text");
    else if (!utf8_valid(text))
        fail(&builder, mark_at(text, bad_utf8_offset(text)), "not UTF-8 text");
    else if (too_many_directives(text))
        fail(&builder, (struct mark){ 1, 1 }, "too many directives (lines that begin with %)");
    else
        run_parser(&builder);
    mem_free(builder.key);
    if (builder.failed) {
        node_free(builder.root);
        return NULL;
    }
    if (builder.root && node_is_null(builder.root)) {
        node_free(builder.root);
        builder.root = NULL;
    }
    if (!builder.root) {
        builder.root = mem_alloc(sizeof *builder.root);
        builder.root->kind = NODE_MAP;
        builder.root->mark = (struct mark){ 1, 1 };
    }
    refuse_duplicates(found, builder.root, &trail);
    return builder.root;
}
