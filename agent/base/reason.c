/*
 * The names and properties of reasons, phases, scopes and results, as tables made from the lists of the header. Used everywhere;
 * nothing is decided here. A value outside its set is an error of this program.
 */
#include "agent/base/reason.h"

#include "agent/base/mem.h"

struct reason_row {
    const char *name, *help;
    enum phase phase;
    enum scope scope;
};

#define REASON_ROW(id, name, phase, scope, help) [REASON_##id] = { name, help, PHASE_##phase, SCOPE_##scope },
#define NAME_ROW(id, name) name,

static const struct reason_row reasons[REASON_COUNT] = { [REASON_NONE] = { "", "nothing is wrong", PHASE_NONE, SCOPE_NONE },
                                                         REASON_LIST(REASON_ROW) };
static const char *const phases[PHASE_COUNT] = { PHASE_LIST(NAME_ROW) };
static const char *const scopes[SCOPE_COUNT] = { SCOPE_LIST(NAME_ROW) };
static const char *const results[RESULT_COUNT] = { RESULT_LIST(NAME_ROW) };

static const struct reason_row *row_of(enum reason reason)
{
    panic_if((unsigned)reason >= REASON_COUNT);
    return &reasons[reason];
}

const char *reason_name(enum reason reason)
{
    return row_of(reason)->name;
}

const char *reason_help(enum reason reason)
{
    return row_of(reason)->help;
}

enum phase reason_phase(enum reason reason)
{
    return row_of(reason)->phase;
}

enum scope reason_scope(enum reason reason)
{
    return row_of(reason)->scope;
}

const char *phase_name(enum phase phase)
{
    panic_if((unsigned)phase >= PHASE_COUNT);
    return phases[phase];
}

const char *scope_name(enum scope scope)
{
    panic_if((unsigned)scope >= SCOPE_COUNT);
    return scopes[scope];
}

const char *result_name(enum result result)
{
    panic_if((unsigned)result >= RESULT_COUNT);
    return results[result];
}
