/*
 * The schema: one row for each option. Parsing, ranges, defaults, `config schema`, `config init`, the manual's option tables and
 * equality on reload all come from these rows. Values land in plain structs at `offset`.
 */
#ifndef WSHEALTHD_CONF_OPT_H
#define WSHEALTHD_CONF_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/proto/match.h"
#include "agent/proto/template.h"

enum opt_kind {               /* the field's type */
                OPT_BOOL,     /* bool */
                OPT_INT,      /* int64_t, within min..max */
                OPT_DURATION, /* int64_t, milliseconds, within min..max */
                OPT_SIZE,     /* int64_t, bytes, within min..max */
                OPT_PERCENT,  /* int64_t, 0..100 or 0..max, written "10%" */
                OPT_STRING,   /* char *, NULL where not set */
                OPT_ENUM,     /* int, index into words */
                OPT_SET,      /* unsigned, bit i for words[i]; a YAML list of words */
                OPT_WINDOW,   /* struct opt_window: "3" or "3/5" */
                OPT_STRINGS,  /* struct opt_strings: a YAML list */
                OPT_PAIRS,    /* struct opt_pairs: a YAML mapping of strings, in order */
                OPT_MATCH,    /* struct opt_match: equals, contains, regex, json; compiled when it is read */
                OPT_SPEC,     /* struct match_spec: as OPT_MATCH, but with holes ({{channel}}), so compiled where it is used */
                OPT_BYTES,    /* struct opt_bytes: a text with holes, or { base64: … } for a binary message */
                OPT_SECTION,  /* a nested struct, rows in `rows` */
                OPT_LIST,     /* struct opt_list: a YAML list of mappings. An item is a struct of `size` bytes, rows in `rows` */
                OPT_MAP,      /* struct opt_list: a YAML mapping NAME: { … }. An item begins with `char *name`, which is no row */
                OPT_JSON,     /* char *, the JSON text of any YAML value, NULL where not set */
                OPT_RATE,     /* struct opt_rate: "50% in 10s"; the percentage within min..max, from 1 */
                OPT_FACTOR,   /* int64_t, hundredths, within min..max: "3x", "1.5x" */
                OPT_RANGES,   /* struct opt_ranges: a YAML list of whole numbers and "4000-4999", within min..max */
};

struct opt_window {
    int64_t count, of; /* "3/5": 3 of the last 5; "3": three in a row, of == count */
};
struct opt_strings {
    char **items;
    size_t count;
};
struct opt_pairs {
    struct opt_pair {
        char *name, *value;
    } *items;
    size_t count;
};
struct opt_bytes {
    char *data; /* NULL: unset. May hold NUL bytes */
    size_t len;
    bool binary;
};
struct opt_list {
    void *items; /* an array of structs of the row's `size`; each has the defaults of the row's `rows` */
    size_t count;
};
struct opt_rate {
    int64_t percent, in_ms; /* in_ms 0: unset */
};
struct opt_ranges {
    struct opt_range {
        int64_t low, high; /* a single number: both */
    } *items;
    size_t count;
};
struct opt_match {
    struct match_spec spec;
    struct match *match; /* NULL where nothing is configured */
};

enum opt_flags {
    OPT_SECRET = 1, /* never shown; every value is registered with secret_add */
    OPT_REQUIRED = 2,
    OPT_DYNAMIC = 4,   /* may hold ${file:…}, re-read on every use with opt_expand; other strings read it once */
    OPT_TEMPLATE = 16, /* a string or JSON with holes: validated when it is read; OPT_SPEC and OPT_BYTES always have them */
    OPT_POINTER = 32,  /* a string that is a JSON pointer */
    OPT_REPEATS = 128, /* OPT_STRINGS in which a text may be there twice */
    OPT_LITERAL = 64,  /* OPT_BYTES without holes: {{ stands for itself */
    /* On one row of a section, or of the rows of items: a text or a list in place of the mapping sets this row. `fds: 90%` means
     * `fds: { high: 90% }`. */
    OPT_SHORT = 256,
    OPT_SECRET_PATH = 1024, /* a URL whose path is a secret, as of a chat's webhook: only scheme and host are shown */
    OPT_NAMES = 512,        /* holes may have names that only the check type knows: its `validate` looks at them */
};

struct opt {
    const char *name;
    enum opt_kind kind;
    size_t offset;
    const char *default_text; /* the default as it would be written; NULL: unset (NULL, 0, empty) */
    int64_t min, max;         /* numbers, durations, sizes; both 0: any that is not negative. Strings and lists: the length.
                               * OPT_LIST and OPT_MAP: the fewest and the most items, by default at most OPT_ITEMS_MAX */
    const char *const *words; /* enums and sets, ends with NULL */
    const struct opt *rows;   /* sections, items of lists and mappings; ends with a row without name */
    const char *const
        *holes;  /* texts with holes: the only names that have a value in it, ends with NULL. NULL: all of template.h */
    size_t size; /* of an item of OPT_LIST and OPT_MAP */
    unsigned flags;
    const char *help; /* one sentence, no full stop */
};

/* Fills a zeroed struct with the rows' defaults. Defaults are checked by a unit test, so it cannot fail at run time. */
void opt_defaults(const struct opt *rows, void *base);
void opt_fini(const struct opt *rows, void *base); /* frees what the fields own */
bool opt_equal(const struct opt *rows, const void *a, const void *b);
bool opt_is_set(const struct opt *row,
                const void *base); /* texts, lists, matches: is there one? Numbers: is it not 0? Others: true */
const struct opt *opt_find(const struct opt *rows, const char *name);
/* Sets one option from text, as the command line does; err: "timeout: '2s x', want a duration such as 250ms or 1m30s". A dotted name goes
 * into sections, matches and items of mappings ("tls.ca_file", "expect.contains", "peers.db"). A section or an item without a dot is its
 * OPT_SHORT row. Lists grow by one item, pairs by one "Name: value", sets and ranges take "a,b". A dynamic string that is "${file:PATH}"
 * as a whole reads that file at every use; any other text is taken as it is. */
int opt_set(const struct opt *rows, void *base, const char *name, const char *text, struct err *err);

/*
 * ${file:…} in a dynamic string is kept as a marker and read at every use; one trailing newline is dropped. Whatever came from a file is
 * registered as a secret. Without a marker it copies. Files have a ceiling of 64 KiB.
 */
int opt_expand(const char *value, struct buf *out, struct err *err);
bool opt_is_dynamic(const char *value);
enum { OPT_FILE_MAX = 64 << 10 };
/* How the marker is stored: a byte that no such value may hold, the path, and another. Control characters are refused in dynamic values. */
#define OPT_MARK_BEGIN '\x01'
#define OPT_MARK_END '\x02'

/* Lists and mappings of structs (agent/conf/opt_list.c). */
enum { OPT_ITEMS_MAX = 256, OPT_RANGES_MAX = 64 };
void *opt_item(const struct opt *row, const struct opt_list *list, size_t index);
void *opt_item_named(const struct opt *row, const struct opt_list *list, const char *name); /* of an OPT_MAP; NULL: none */
/* One more item with the defaults of its rows; `name` for an OPT_MAP, else NULL. NULL and *err: too many, or no name. */
void *opt_add_item(const struct opt *row, struct opt_list *list, const char *name, struct err *err);
void opt_drop_last(const struct opt *row, struct opt_list *list);
void opt_list_fini(const struct opt *row, struct opt_list *list);
bool opt_list_equal(const struct opt *row, const struct opt_list *a, const struct opt_list *b);
const struct opt *opt_short(const struct opt *rows); /* the row with OPT_SHORT; NULL: none */

/* Numbers in forms of their own (agent/conf/opt_numbers.c). */
bool opt_in_ranges(const struct opt_ranges *ranges, int64_t value);
void opt_format_rate(const struct opt_rate *rate, char *out, size_t size);       /* "50% in 10s"; size is at least 64 */
void opt_format_ranges(const struct opt_ranges *ranges, char *out, size_t size); /* "1008, 4000-4999", cut to size */
void opt_format_range(const struct opt_range *range, char *out, size_t size);    /* "1008", "4000-4999"; size is at least 64 */

/* For the reader of YAML (agent/conf/conf_read.c). `field` is the row's field; `shown` is the text as errors may quote it (NULL: it is
 * secret). Errors do not name the row. */
int opt_parse(const struct opt *row, void *field, const char *text, const char *shown, struct err *err);
int opt_add_string(const struct opt *row, struct opt_strings *list, const char *text, const char *shown, struct err *err);
int opt_add_pair(const struct opt *row, struct opt_pairs *pairs, const char *name, const char *value, struct err *err);
int opt_add_word(const struct opt *row, unsigned *set, const char *word, const char *shown, struct err *err);
int opt_add_range(const struct opt *row, struct opt_ranges *ranges, const char *text, const char *shown, struct err *err);
const char *opt_want(const struct opt *row, char *out, size_t size);          /* "a duration such as 250ms or 1m30s" */
int opt_bad_value(const struct opt *row, const char *shown, struct err *err); /* "'x', want a duration such as …". Returns -1 */
int opt_parse_rate(const struct opt *row, struct opt_rate *field, const char *text, const char *shown, struct err *err);
int opt_parse_factor(const char *text, int64_t *hundredths);
int opt_parse_ranges(const struct opt *row, struct opt_ranges *field, const char *text, const char *shown, struct err *err);
int opt_validate_range(const struct opt *row, int64_t value, const char *shown, struct err *err); /* within min..max */
/* `{ base64: … }` */
int opt_parse_base64(const struct opt *row, struct opt_bytes *field, const char *text, struct err *err);
/* Does the match of the row compile with a sample in each hole? err begins with the part: "regex: …". */
int opt_spec_validate(const struct opt *row, const struct match_spec *spec, struct err *err);
/* Are all names of its holes known? vars->names are those beside the usual. err begins with the part. */
int opt_spec_validate_names(const struct match_spec *spec, const struct template_vars *vars, struct err *err);
bool opt_spec_mentions(const struct match_spec *spec, const char *hole); /* "channel", in any part */
/* Does a text below these rows have {{token}}, or a function of it? */
bool opt_mentions_token(const struct opt *rows, const void *base);
/* "1m30s", "64KiB", "10%": a number as this row would be written. */
void opt_format_number(const struct opt *row, int64_t value, char *out, size_t size);
void *opt_field(const struct opt *row, void *base);

const char *opt_pairs_get(const struct opt_pairs *pairs, const char *name); /* by a name in any case; NULL: none */
bool opt_name_is_secret(const char *name); /* Authorization, Cookie, and what has token, secret, key, password or auth in it */
/* Reads a whole file up to max bytes. Whatever is not a regular file is refused; unless `regular`, a pipe that
 * is open already (/dev/stdin, /dev/fd/N) is taken and waited for at most 2 s. */
int opt_read_file(const char *path, size_t max, bool regular, struct buf *out, struct err *err);

#endif
