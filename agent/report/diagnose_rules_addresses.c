/*
 * Owns the rules of the diagnosis about the addresses of one name: some of them fail, and others do not (`each_address`,
 * agent/core/check_each.c). Called by diagnose.c before all other rules: whatever fails there, other addresses of the same name do without,
 * so it is neither of the server as such nor of the way to it. What breaks is told by the check's own message, with the addresses.
 */
#include "agent/report/diagnose_rules.h"

const struct rule diagnose_address_rules[] = {
    {
        .cause = CAUSE_ONE_INSTANCE_STALE,
        .need = SOME_ADDRESSES | LOCAL_WORKS,
        .plain =
            "The server is well, and not all addresses of the public name are: an instance or proxy behind it is broken or out "
            "of date",
        .advice = { "Take the address that fails out of the name's records, or drain what listens there: resolvers hand it to "
                    "users",
                    "Compare it with the others: version, certificate, configuration; one that a deploy left out answers as before",
                    "`wshealthd check -c FILE --trace` shows what each address answers" },
    },
    {
        .cause = CAUSE_ONE_INSTANCE_STALE,
        .need = SOME_ADDRESSES,
        .plain = "Not all addresses of the name are well: one of the instances behind it is broken or out of date",
        .advice = { "Take the address that fails out of the name's records, or drain what listens there",
                    "Compare it with the others: version, certificate, configuration; one that a deploy left out answers as before",
                    "If the name is localhost: the server listens on one of 127.0.0.1 and ::1 only" },
    },
};
const size_t diagnose_address_rule_count = sizeof diagnose_address_rules / sizeof diagnose_address_rules[0];
