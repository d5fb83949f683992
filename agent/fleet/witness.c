/* What the others' checks say about a refusal (agent/fleet/witness.h). Called for each check with a probe fault. Walks the table. */
#include "agent/fleet/witness.h"

enum { REFUSED_PART = 10 };

bool witness_asks_for(enum reason reason)
{
    switch (reason) {
    case REASON_UPGRADE_UNAUTHORIZED:
    case REASON_LOGIN_REJECTED:
    case REASON_TLS_CLIENT_CERT_REJECTED:
    case REASON_TLS_CERT_EXPIRED:
    case REASON_TLS_CERT_NOT_YET_VALID:
    case REASON_TLS_CERT_UNTRUSTED:
    case REASON_TLS_HOSTNAME_MISMATCH:
        return true;
    default:
        return false;
    }
}

void witness_note(struct witness_own *own, unsigned kind, bool well, bool refused, bool left_alone)
{
    own->kinds |= kind;
    own->taken |= well ? kind : 0;
    own->refused = own->refused || refused;
    own->unsure = own->unsure || refused || left_alone;
}

unsigned witness_taken(const struct witness_own *own)
{
    return own->unsure ? 0 : own->taken;
}

unsigned witness_refused(const struct witness_own *own)
{
    return own->refused ? own->kinds : 0;
}

bool witness_judge(struct witness *witness, const struct members *members, unsigned kind, bool failing, uint64_t since_ms,
                   uint64_t now_ms)
{
    uint32_t known;

    witness->taken = witness->refused = 0;
    for (size_t i = 0; failing && i < members_count(members); i++) {
        const struct member *member = members_at(members, i);

        if (!member_counts(member) || !member_is_fresh(members, member, now_ms) || member->heard_ms < since_ms + WITNESS_MARGIN_MS)
            continue;
        if (member->refused & kind)
            witness->refused++;
        else if (member->taken & kind)
            witness->taken++;
    }
    known = witness->taken + witness->refused;
    if (witness->local)
        witness->local = failing && 2 * witness->taken > known;
    else
        witness->local = failing && witness->taken >= WITNESS_MEMBERS_MIN && witness->refused <= known / REFUSED_PART;
    return witness->local;
}
