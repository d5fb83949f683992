/*
 * Finds the server's processes and reads their figures (probes/server_look.h): by the sockets that listen, by a pid file, or by a systemd unit.
 * Runs on the look's thread. A search reads every process's descriptors, so what was found is kept as long as it is true.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "probes/server_look.h"

enum { SEARCH_MS = 500, AGAIN_S = 60, RETRY_S = 10, UNIT_AGAIN_S = 5, CPU_WINDOW_S = 10 };

int look_compare_inodes(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static struct look_process *known(struct look_find *find, int pid, uint64_t started)
{
    for (size_t i = 0; i < find->count; i++)
        if (find->items[i].pid == pid && find->items[i].started == started)
            return &find->items[i];
    return NULL;
}

static bool all_alive(const struct look_find *find)
{
    for (size_t i = 0; i < find->count; i++) {
        struct proc_figures figures;

        proc_read(find->items[i].pid, &figures);
        if (!figures.exists || figures.started != find->items[i].started)
            return false;
    }
    return find->count > 0;
}

static bool is_time(const struct look_find *find, const struct look_plan *plan, const uint32_t *inodes, size_t inode_count,
                    uint64_t now_ns)
{
    uint64_t age_ns = now_ns - find->found_ns;
    bool same =
        find->inode_count == inode_count && (!inode_count || memcmp(find->inodes, inodes, inode_count * sizeof *inodes) == 0);

    if (!find->found_ns || plan->pid_file)
        return true;
    if (plan->unit)
        return age_ns >= UNIT_AGAIN_S * NS_PER_S || !all_alive(find);
    if (!find->count)
        return !same || age_ns >= RETRY_S * NS_PER_S;
    return !same || age_ns >= AGAIN_S * NS_PER_S || !all_alive(find);
}

static void search(const struct look_plan *plan, const uint32_t *inodes, size_t inode_count, struct proc_pids *pids,
                   struct err *err)
{
    pids->count = 0;
    if (plan->pid_file) {
        if (proc_read_pid_file(plan->pid_file, &pids->items[0], err) < 0)
            err_prefix(err, "%s", plan->pid_file);
        else
            pids->count = 1;
    } else if (plan->unit) {
        proc_find_by_unit(plan->unit, SEARCH_MS * NS_PER_MS, pids);
    } else if (inode_count) {
        proc_find_by_sockets(inodes, inode_count, SEARCH_MS * NS_PER_MS, pids);
    }
}

/* Those that were known keep what is known of their CPU time. True: there were some, and none of them is left. */
static bool take(struct look_find *find, const struct proc_pids *pids)
{
    struct look_find before = *find;
    bool kept = false;

    find->count = 0;
    for (size_t i = 0; i < pids->count; i++) {
        struct proc_figures figures;
        const struct look_process *old;

        proc_read(pids->items[i], &figures);
        if (!figures.exists)
            continue;
        old = known(&before, pids->items[i], figures.started);
        kept = kept || old;
        find->items[find->count++] = old ? *old : (struct look_process){ .pid = pids->items[i], .started = figures.started };
    }
    return before.count && find->count && !kept;
}

/* Of the last ten to twenty seconds: shorter, and the collection of garbage would be a fault. */
static void note_cpu(struct look_process *process, double cpu, struct look_seen *seen)
{
    if (!process->next_ns || seen->at_ns - process->next_ns >= CPU_WINDOW_S * NS_PER_S) {
        process->base_ns = process->next_ns;
        process->base_cpu = process->next_cpu;
        process->next_ns = seen->at_ns;
        process->next_cpu = cpu;
    }
    if (!process->base_ns)
        return;
    uint64_t ms = (seen->at_ns - process->base_ns) / NS_PER_MS;
    bool busier = !seen->busiest_ms ||
                  (cpu - process->base_cpu) * (double)seen->busiest_ms > (seen->busiest[1] - seen->busiest[0]) * (double)ms;
    if (!ms || !busier)
        return;
    seen->busiest[0] = process->base_cpu;
    seen->busiest[1] = cpu;
    seen->busiest_ms = ms;
}

static void note_fds(const struct proc_figures *figures, struct look_seen *seen)
{
    bool fuller = !seen->have_fds || (figures->have_max_fds && seen->have_max_fds &&
                                      (double)figures->fds * (double)seen->max_fds > (double)seen->fds * (double)figures->max_fds);

    if (!figures->have_fds || !fuller)
        return;
    seen->fds = figures->fds;
    seen->max_fds = figures->max_fds;
    seen->have_fds = true;
    seen->have_max_fds = figures->have_max_fds;
}

static void add(struct look_process *process, const struct proc_figures *figures, struct look_seen *seen)
{
    if (!seen->processes++) {
        seen->pid = process->pid;
        snprintf(seen->name, sizeof seen->name, "%s", figures->name);
        seen->have_resident = seen->have_cpu = seen->have_threads = true;
    }
    seen->have_resident = seen->have_resident && figures->have_resident;
    seen->have_cpu = seen->have_cpu && figures->have_cpu;
    seen->have_threads = seen->have_threads && figures->have_threads;
    seen->resident_bytes += figures->resident_bytes;
    seen->cpu_seconds += figures->cpu_seconds;
    seen->threads += figures->threads;
    note_fds(figures, seen);
    if (figures->have_cpu)
        note_cpu(process, figures->cpu_seconds, seen);
}

bool look_find(struct look_find *find, const struct look_plan *plan, const uint32_t *inodes, size_t inode_count,
               struct look_seen *seen)
{
    struct proc_pids pids = { .count = 0 };
    bool replaced = false;

    err_clear(&seen->process_err);
    seen->process_ended = find->count && !all_alive(find);
    if (is_time(find, plan, inodes, inode_count, seen->at_ns)) {
        search(plan, inodes, inode_count, &pids, &seen->process_err);
        replaced = take(find, &pids);
        find->found_ns = seen->at_ns;
        find->hidden = pids.hidden > 0;
        find->inode_count = inode_count;
        if (inode_count)
            memcpy(find->inodes, inodes, inode_count * sizeof *inodes);
    }
    seen->hidden = find->hidden;
    for (size_t i = 0; i < find->count; i++) {
        struct proc_figures figures;

        proc_read(find->items[i].pid, &figures);
        if (figures.exists && figures.started == find->items[i].started)
            add(&find->items[i], &figures, seen);
    }
    return replaced;
}
