/*
 * Finds the server's processes and reads their figures (probes/server_look.h): by the sockets that listen, by a pid file, or by a systemd unit.
 * Runs on the look's thread. A search reads every process's descriptors, so what was found is kept as long as it is true.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static bool lives(const struct look_process *process)
{
    struct proc_figures figures;

    proc_read(process->pid, &figures);
    return figures.exists && figures.started == process->started;
}

static bool all_alive(const struct look_find *find)
{
    for (size_t i = 0; i < find->count; i++)
        if (!lives(&find->items[i]))
            return false;
    return find->count > 0;
}

static size_t members(const struct look_find *find)
{
    size_t count = 0;

    for (size_t i = 0; i < find->count; i++)
        count += !find->items[i].former;
    return count;
}

static bool is_time(const struct look_find *find, const struct look_plan *plan, const uint32_t *inodes, size_t inode_count,
                    uint64_t now_ns)
{
    uint64_t age_ns = now_ns - find->found_ns;
    bool same =
        find->inode_count == inode_count && (!inode_count || memcmp(find->inodes, inodes, inode_count * sizeof *inodes) == 0);

    if (!find->found_ns)
        return true;
    if (plan->pid_file || plan->unit)
        return age_ns >= UNIT_AGAIN_S * NS_PER_S || !all_alive(find);
    if (!members(find))
        return !same || age_ns >= RETRY_S * NS_PER_S || (find->count && !all_alive(find));
    return !same || age_ns >= AGAIN_S * NS_PER_S || !all_alive(find);
}

/* The process of the file and those that it has started: many servers do their work in children (nginx, gunicorn). */
static void search_file(const char *path, struct proc_pids *pids, int *file_pid, struct err *err)
{
    *file_pid = 0;
    if (proc_read_pid_file(path, file_pid, err) < 0)
        err_prefix(err, "%s", path);
    else if (*file_pid == (int)getpid())
        err_set(err, REASON_AGENT_ERROR, 0, "%s names the agent's own process: the file was written in another pid namespace",
                path);
    else
        proc_find_family(*file_pid, SEARCH_MS * NS_PER_MS, pids);
}

static void search(struct look_find *find, const struct look_plan *plan, const uint32_t *inodes, size_t inode_count,
                   struct proc_pids *pids, struct err *err)
{
    pids->count = 0;
    if (plan->pid_file)
        search_file(plan->pid_file, pids, &find->file_pid, err);
    else if (plan->unit)
        proc_find_by_unit(plan->unit, SEARCH_MS * NS_PER_MS, pids);
    else if (inode_count)
        proc_find_by_sockets(inodes, inode_count, SEARCH_MS * NS_PER_MS, pids);
}

/* systemd keeps a socket that it activates a service by open, while the service runs too. It is not the server. */
static bool is_manager(const struct look_plan *plan, const struct proc_figures *figures)
{
    return !plan->pid_file && !plan->unit && strcmp(figures->name, "systemd") == 0;
}

/* One that has handed the socket on (a worker of nginx that finishes after a reload) keeps its connections, and takes them with it. */
static void keep_former(struct look_find *find, const struct look_find *before)
{
    for (size_t i = 0; i < before->count && find->count < PROC_PIDS_MAX; i++) {
        const struct look_process *old = &before->items[i];

        if (known(find, old->pid, old->started) || !lives(old))
            continue;
        find->items[find->count] = *old;
        find->items[find->count++].former = true;
    }
}

/* Those that were known keep what is known of their CPU time. True: there were some, and none of them is left. */
static bool take(struct look_find *find, const struct look_plan *plan, const struct proc_pids *pids)
{
    struct look_find before = *find;
    bool kept = false;

    find->count = 0;
    find->manager = false;
    for (size_t i = 0; i < pids->count; i++) {
        struct proc_figures figures;
        const struct look_process *old;

        proc_read(pids->items[i], &figures);
        if (!figures.exists)
            continue;
        if (is_manager(plan, &figures)) {
            find->manager = true;
            continue;
        }
        old = known(&before, pids->items[i], figures.started);
        kept = kept || old;
        find->items[find->count] = old ? *old : (struct look_process){ .pid = pids->items[i], .started = figures.started };
        find->items[find->count++].former = false;
    }
    bool some = find->count > 0, replaced = some && !kept && (before.count || before.vacant);
    keep_former(find, &before);
    find->vacant = !find->count && (before.count || before.vacant);
    return replaced;
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

/* The file is small, and read in each look: a new process is known at once. */
static bool file_names_another(const struct look_find *find, const char *path)
{
    struct err err;
    int pid = 0;

    return proc_read_pid_file(path, &pid, &err) < 0 || pid != find->file_pid;
}

bool look_find(struct look_find *find, const struct look_plan *plan, const uint32_t *inodes, size_t inode_count,
               struct look_seen *seen)
{
    struct proc_pids pids = { .count = 0 };
    bool replaced = false;

    seen->process_ended = find->count && !all_alive(find);
    bool file_changed = plan->pid_file && file_names_another(find, plan->pid_file);
    if (file_changed || is_time(find, plan, inodes, inode_count, seen->at_ns)) {
        err_clear(&find->err);
        search(find, plan, inodes, inode_count, &pids, &find->err);
        replaced = take(find, plan, &pids);
        find->found_ns = seen->at_ns;
        find->hidden = pids.hidden > 0;
        find->inode_count = inode_count;
        if (inode_count)
            memcpy(find->inodes, inodes, inode_count * sizeof *inodes);
    }
    seen->hidden = find->hidden;
    seen->manager = find->manager && !members(find);
    seen->hidepid = !members(find) && proc_is_hidden();
    seen->process_err = find->err;
    for (size_t i = 0; i < find->count; i++) {
        struct proc_figures figures;

        if (find->items[i].former)
            continue;
        proc_read(find->items[i].pid, &figures);
        if (figures.exists && figures.started == find->items[i].started)
            add(&find->items[i], &figures, seen);
    }
    return replaced;
}
