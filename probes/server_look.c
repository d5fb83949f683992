/* The looking thread (probes/server_look.h): takes a request, looks, answers; ends when its mailbox is closed. */
#include "probes/server_look.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/own_sockets.h"
#include "agent/net/thread.h"

enum { MAILS_MAX = 2, BYTES_MAX = 1 << 20, ROWS_MAX = 4096, PEER_ROWS_MAX = 1024, OURS_MAX = 256, PERCENT = 100 };

struct look_mail {
    struct mail base;
    struct look_ask ask;
    struct look_seen seen;
};

struct look {
    struct mailbox *box;
    void (*on_seen)(void *user, const struct look_seen *seen);
    void *user;
    bool looking;
};

/* The thread's own. */
struct looker {
    struct mailbox *box;
    struct look_plan plan; /* its texts are owned */
    struct sock_row listeners[LOOK_LISTENERS_MAX];
    size_t listener_count;
    uint32_t inodes[LOOK_LISTENERS_MAX], old_inodes[LOOK_LISTENERS_MAX]; /* sorted */
    size_t old_count;
    size_t known_count;
    struct sock_row known[LOOK_LISTENERS_MAX]; /* with count_only: those of the last look that has found any */
    bool known_any;
    bool any_address; /* one of them takes connections to every address */
    struct look_count count;
    struct look_find find;
    uint32_t ours[OURS_MAX],
        theirs[OURS_MAX]; /* inodes: of the agent's sockets, sorted; and the server's connections to its peers */
    size_t our_count, their_count;
    const struct look_ask *ask;
};

/* --- the sockets that listen --- */

static bool in(const struct look_addresses *addresses, const struct sock_end *end)
{
    for (unsigned i = 0; i < addresses->count; i++)
        if (sock_end_same_address(&addresses->items[i], end))
            return true;
    return false;
}

void look_add_end(struct look_addresses *addresses, const struct sock_end *end)
{
    if (!in(addresses, end) && addresses->count < LOOK_ADDRESSES_MAX)
        addresses->items[addresses->count++] = *end;
}

void look_add(struct look_addresses *addresses, const struct sockaddr_storage *address)
{
    struct sock_end end;

    if (sock_end_from(&end, (const struct sockaddr *)(const void *)address))
        look_add_end(addresses, &end);
}

static void on_listener(void *user, const struct sock_row *row)
{
    struct looker *looker = user;
    const struct look_addresses *target = &looker->ask->target;
    bool any = looker->plan.unix_path || sock_end_is_any(&row->local);

    if (looker->listener_count == LOOK_LISTENERS_MAX || (!any && target->count && !in(target, &row->local)))
        return;
    looker->any_address = looker->any_address || any;
    looker->listeners[looker->listener_count++] = *row;
}

/* Several sockets of one port (SO_REUSEPORT) have a queue each: the fullest one is judged, as clients that come into it are lost. */
static void note_queues(const struct looker *looker, struct look_seen *seen)
{
    seen->listeners = (unsigned)looker->listener_count;
    seen->have_limit = looker->listener_count > 0;
    for (size_t i = 0; i < looker->listener_count; i++) {
        const struct sock_row *row = &looker->listeners[i];
        unsigned percent = row->out ? (unsigned)((uint64_t)row->in * PERCENT / row->out) : 0;

        seen->queue += row->in;
        seen->limit += row->out;
        seen->have_limit = seen->have_limit && row->out;
        seen->fullest_percent = percent > seen->fullest_percent ? percent : seen->fullest_percent;
    }
}

/* True: there were others before, and none of those is left. */
static bool listeners_changed(struct looker *looker)
{
    bool kept = false;

    for (size_t i = 0; i < looker->listener_count; i++)
        looker->inodes[i] = looker->listeners[i].inode;
    if (!looker->listener_count)
        return false;
    qsort(looker->inodes, looker->listener_count, sizeof looker->inodes[0], look_compare_inodes);
    for (size_t i = 0; i < looker->old_count; i++)
        kept = kept || bsearch(&looker->old_inodes[i], looker->inodes, looker->listener_count, sizeof looker->inodes[0],
                               look_compare_inodes);
    bool changed = looker->old_count && !kept;
    looker->old_count = looker->listener_count;
    memcpy(looker->old_inodes, looker->inodes, looker->listener_count * sizeof looker->inodes[0]);
    return changed;
}

static void look_at_listeners(struct looker *looker, struct look_seen *seen)
{
    struct sockdiag_query query = { .states = SOCK_BIT(SOCK_LISTEN),
                                    .local_port = looker->plan.port,
                                    .unix_path = looker->plan.unix_path,
                                    .max_rows = ROWS_MAX,
                                    .on_row = on_listener,
                                    .user = looker };

    looker->listener_count = 0;
    looker->any_address = false;
    uint64_t began_ns = sockdiag_now_ns();
    seen->refused = (looker->plan.unix_path ? sockdiag_unix(&query, &seen->err) : sockdiag_tcp(&query, &seen->err)) < 0;
    seen->listen_ns = sockdiag_now_ns() - began_ns;
    seen->slow_source = query.source == SOCK_FROM_PROC;
    seen->unsure = !seen->refused && query.cut;
    if (!seen->refused)
        note_queues(looker, seen);
    seen->restarted = !seen->unsure && listeners_changed(looker);
}

/* Is the target another host? Then a socket of this one with the same port is not the server's. */
static bool is_elsewhere(const struct look_addresses *target)
{
    return target->count && sock_ends_are_here(target->items, target->count) == 0;
}

/* --- what the server is connected to --- */

struct candidates {
    struct looker *looker;
    const struct look_addresses *addresses;
    struct sock_row rows[PEER_ROWS_MAX];
    size_t count;
};

static void on_own(void *user, uint32_t inode, const struct sock_end *local, const struct sock_end *remote)
{
    struct looker *looker = user;

    (void)local;
    for (unsigned i = 0; i < looker->ask->peer_count; i++)
        if (remote->port == looker->ask->peer_ports[i] && looker->our_count < OURS_MAX) {
            looker->ours[looker->our_count++] = inode;
            return;
        }
}

static bool has_inode(const uint32_t *inodes, size_t count, uint32_t inode)
{
    for (size_t i = 0; i < count; i++)
        if (inodes[i] == inode)
            return true;
    return false;
}

static void on_candidate(void *user, const struct sock_row *row)
{
    struct candidates *found = user;

    if (in(found->addresses, &row->remote) && row->inode && !has_inode(found->looker->ours, found->looker->our_count, row->inode) &&
        found->count < PEER_ROWS_MAX)
        found->rows[found->count++] = *row;
}

/* 1: the server's. 0: another process's. -1: the server's descriptors cannot be read. */
static int is_the_servers(struct looker *looker, uint32_t inode)
{
    int answer = looker->find.count ? 0 : -1;

    if (has_inode(looker->theirs, looker->their_count, inode))
        return 1;
    for (size_t i = 0; i < looker->find.count && answer == 0; i++)
        answer = proc_has_socket(looker->find.items[i].pid, &inode, 1);
    if (answer == 1) {
        if (looker->their_count == OURS_MAX)
            looker->their_count = 0;
        looker->theirs[looker->their_count++] = inode;
    }
    return answer;
}

/* Where descriptors cannot be read: those of the user whose socket listens; and if there are none, whatever there is. */
static bool same_user(const struct looker *looker, const struct candidates *found, const struct sock_row *row)
{
    bool any = false;

    for (size_t i = 0; i < found->count; i++)
        any = any || (looker->listener_count && found->rows[i].uid == looker->listeners[0].uid);
    return !any || row->uid == looker->listeners[0].uid;
}

static void note_peer(struct look_peer *peer, const struct sock_row *row)
{
    if (row->state == SOCK_SYN_SENT) {
        peer->connecting++;
        return;
    }
    peer->connections++;
    peer->unread += row->in;
    peer->unacknowledged += row->out;
    peer->retransmits += row->retransmits;
    peer->stuck = row->stuck > peer->stuck ? row->stuck : peer->stuck;
}

static void look_at_peer(struct looker *looker, unsigned index, struct look_seen *seen)
{
    struct candidates *found = mem_alloc(sizeof *found);
    struct sockdiag_query query = { .states = SOCK_BIT(SOCK_ESTABLISHED) | SOCK_BIT(SOCK_SYN_SENT),
                                    .remote_port = looker->ask->peer_ports[index],
                                    .info = true,
                                    .on_row = on_candidate,
                                    .user = found };
    struct err err;

    found->looker = looker;
    found->addresses = &looker->ask->peers[index];
    if (sockdiag_tcp(&query, &err) < 0 || query.cut)
        seen->have_peers = false;
    for (size_t i = 0; i < found->count; i++) {
        int answer = is_the_servers(looker, found->rows[i].inode);

        if (answer == 1 || (answer < 0 && same_user(looker, found, &found->rows[i])))
            note_peer(&seen->peers[index], &found->rows[i]);
    }
    mem_free(found);
}

static void look_at_peers(struct looker *looker, struct look_seen *seen)
{
    seen->have_peers = !seen->refused;
    if (!looker->ask->peer_count || seen->refused)
        return;
    looker->our_count = 0;
    own_sockets_each(on_own, looker);
    for (unsigned i = 0; i < looker->ask->peer_count; i++)
        look_at_peer(looker, i, seen);
}

/* --- a look --- */

/* The sockets that listen now, or else those that did: their connections may outlive them. */
static void count_clients(struct looker *looker, struct look_seen *seen)
{
    if (looker->listener_count) {
        looker->known_count = looker->listener_count;
        looker->known_any = looker->any_address;
        memcpy(looker->known, looker->listeners, looker->listener_count * sizeof looker->listeners[0]);
    }
    seen->never = !looker->known_count;
    if (!seen->refused && !seen->never)
        look_count(&looker->count, &looker->plan, looker->known_any ? NULL : looker->known, looker->known_count, seen);
}

static void look_now(struct looker *looker, const struct look_ask *ask, struct look_seen *seen)
{
    looker->ask = ask;
    seen->at_ns = sockdiag_now_ns();
    seen->elsewhere = is_elsewhere(&ask->target);
    seen->unresolved = ask->unresolved;
    if (seen->elsewhere || seen->unresolved)
        return;
    look_at_listeners(looker, seen);
    if (looker->plan.count_only) {
        count_clients(looker, seen);
        return;
    }
    if (!seen->refused && looker->listener_count)
        look_count(&looker->count, &looker->plan, looker->any_address ? NULL : looker->listeners, looker->listener_count, seen);
    seen->restarted = look_find(&looker->find, &looker->plan, seen->unsure ? looker->old_inodes : looker->inodes,
                                seen->unsure ? looker->old_count : looker->listener_count, seen) ||
                      seen->restarted;
    if (seen->restarted)
        looker->their_count = 0;
    look_at_peers(looker, seen);
}

static void looker_free(struct looker *looker)
{
    look_count_fini(&looker->count);
    mem_free((char *)(uintptr_t)looker->plan.unix_path);
    mem_free((char *)(uintptr_t)looker->plan.pid_file);
    mem_free((char *)(uintptr_t)looker->plan.unit);
    mem_free(looker);
}

static void look_discard(struct mail *mail)
{
    mem_free((struct look_mail *)mail);
}

static uint64_t cpu_now_ns(void)
{
    struct timespec now = { 0 };

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void *look_run(void *arg)
{
    struct looker *looker = arg;
    struct mailbox *box = looker->box;

    for (struct mail *mail; (mail = mailbox_take(box));) {
        struct look_mail *look = (struct look_mail *)mail;

        uint64_t began_ns = cpu_now_ns();

        look_now(looker, &look->ask, &look->seen);
        look->seen.cpu_ns = cpu_now_ns() - began_ns;
        mail->owed = true;
        if (mailbox_post(box, mail) < 0)
            look_discard(mail);
    }
    looker_free(looker);
    mailbox_unref(box);
    return NULL;
}

/* --- the loop's side --- */

static void on_mail(void *user, struct mail *mail)
{
    struct look *look = user;
    struct look_mail *answer = (struct look_mail *)mail;

    look->looking = false;
    look->on_seen(look->user, &answer->seen);
    look_discard(mail);
}

static void on_closed(void *user)
{
    mem_free(user);
}

struct look *look_new(struct loop *loop, const struct look_plan *plan, void (*on_seen)(void *user, const struct look_seen *seen),
                      void *user, struct err *err)
{
    static const struct mailbox_type type = {
        .on_mail = on_mail, .on_closed = on_closed, .discard = look_discard, .max_mails = MAILS_MAX, .max_bytes = BYTES_MAX
    };
    struct look *look = mem_alloc(sizeof *look);
    struct looker *looker;
    int status;

    look->on_seen = on_seen;
    look->user = user;
    look->box = mailbox_new(loop, &type, look, err);
    if (!look->box) {
        mem_free(look);
        return NULL;
    }
    looker = mem_alloc(sizeof *looker);
    looker->box = mailbox_ref(look->box);
    looker->plan = (struct look_plan){ mem_strdup(plan->unix_path), plan->port, mem_strdup(plan->pid_file), mem_strdup(plan->unit),
                                       plan->count_only };
    status = thread_start(look_run, looker);
    if (status == 0)
        return look;
    err_set(err, REASON_AGENT_ERROR, status, "cannot start a thread that looks at the server: %s", strerror(status));
    mailbox_unref(looker->box);
    looker_free(looker);
    mailbox_close(look->box);
    return NULL;
}

int look_ask(struct look *look, const struct look_ask *ask)
{
    struct look_mail *mail;

    if (look->looking)
        return -1;
    mail = mem_alloc(sizeof *mail);
    mail->ask = *ask;
    mail->base.bytes = sizeof *mail;
    if (mailbox_send(look->box, &mail->base) < 0) {
        look_discard(&mail->base);
        return -1;
    }
    look->looking = true;
    return 0;
}

void look_free(struct look *look)
{
    if (look)
        mailbox_close(look->box);
}
