/* server/table_committer.c: one thread, one memtable, one transaction. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/table_committer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"

struct table_committer {
    struct table_lmdb *lmdb;
    pthread_t thread;
    pthread_mutex_t mutex; /* Over the next three. */
    pthread_cond_t changed;
    const struct memtable *memtable; /* NULL: nothing is to be written. */
    bool is_disposing;               /* Then there is no memtable. */
    bool is_stopping;
    /* Set by the owner with the memtable, cleared by the thread when it has written it: what each
     * of them wrote before is then seen by the other. */
    atomic_bool is_busy;
    uint64_t hash;
    enum error error;
    const struct memtable_entry *entries[]; /* The thread's own: in key order. */
};

static void lock(struct table_committer *committer)
{
    int code = pthread_mutex_lock(&committer->mutex);

    ASSERT_VALUES(code == 0, code, 0);
}

static void unlock(struct table_committer *committer)
{
    int code = pthread_mutex_unlock(&committer->mutex);

    ASSERT_VALUES(code == 0, code, 0);
}

/* --- The thread's side ------------------------------------------------------------------------ */

struct task {
    const struct memtable *memtable; /* NULL: dispose. */
};

/* Waits for a task; false: stop. */
static bool next(struct table_committer *committer, struct task *task)
{
    lock(committer);
    while (committer->memtable == NULL && !committer->is_disposing && !committer->is_stopping) {
        pthread_cond_wait(&committer->changed, &committer->mutex);
    }
    *task = (struct task){.memtable = committer->memtable};
    bool goes_on = committer->memtable != NULL || committer->is_disposing;
    unlock(committer);
    return goes_on;
}

static enum error carry_out(struct table_committer *committer, const struct task *task)
{
    if (task->memtable == NULL) {
        return table_lmdb_dispose(committer->lmdb);
    }
    uint32_t count = memtable_collect(task->memtable, committer->entries);

    return table_lmdb_write(committer->lmdb, committer->entries, count, committer->hash);
}

static void *run(void *argument)
{
    struct table_committer *committer = argument;
    struct task task;

    while (next(committer, &task)) {
        committer->error = carry_out(committer, &task);
        lock(committer);
        committer->memtable = NULL;
        committer->is_disposing = false;
        atomic_store_explicit(&committer->is_busy, false, memory_order_release);
        unlock(committer);
        pthread_cond_signal(&committer->changed);
    }
    return NULL;
}

/* --- The owner's side ------------------------------------------------------------------------- */

void table_committer_start(struct table_committer *committer, const struct memtable *memtable,
                           uint64_t hash)
{
    ASSERT(memtable != NULL);
    ASSERT(table_committer_is_idle(committer));
    committer->hash = hash;
    atomic_store_explicit(&committer->is_busy, true, memory_order_relaxed);
    lock(committer);
    committer->memtable = memtable;
    unlock(committer);
    pthread_cond_signal(&committer->changed);
}

void table_committer_dispose(struct table_committer *committer)
{
    ASSERT(table_committer_is_idle(committer));
    atomic_store_explicit(&committer->is_busy, true, memory_order_relaxed);
    lock(committer);
    committer->is_disposing = true;
    unlock(committer);
    pthread_cond_signal(&committer->changed);
}

bool table_committer_is_idle(const struct table_committer *committer)
{
    return !atomic_load_explicit(&committer->is_busy, memory_order_acquire);
}

void table_committer_wait(struct table_committer *committer)
{
    lock(committer);
    while (committer->memtable != NULL || committer->is_disposing) {
        pthread_cond_wait(&committer->changed, &committer->mutex);
    }
    unlock(committer);
    ASSERT(table_committer_is_idle(committer));
}

enum error table_committer_error(const struct table_committer *committer)
{
    ASSERT(table_committer_is_idle(committer));
    return committer->error;
}

/* --- Opening and closing ---------------------------------------------------------------------- */

/* Threads leave all signals to the loop. */
static int thread_start(struct table_committer *committer)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&committer->thread, NULL, run, committer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

enum error table_committer_open(struct table_committer **opened, struct table_lmdb *lmdb,
                                uint32_t count_max)
{
    struct table_committer *committer = calloc(1, sizeof(*committer) + count_max * sizeof(void *));

    if (committer == NULL) {
        errno = ENOMEM;
        return ERR_IO;
    }
    committer->lmdb = lmdb;
    committer->error = ERR_OK;
    ASSERT(pthread_mutex_init(&committer->mutex, NULL) == 0);
    ASSERT(pthread_cond_init(&committer->changed, NULL) == 0);
    int code = thread_start(committer);
    if (code != 0) {
        pthread_cond_destroy(&committer->changed);
        pthread_mutex_destroy(&committer->mutex);
        free(committer);
        errno = code;
        return ERR_IO;
    }
    *opened = committer;
    return ERR_OK;
}

void table_committer_close(struct table_committer *committer)
{
    if (committer == NULL) {
        return;
    }
    table_committer_wait(committer);
    lock(committer);
    committer->is_stopping = true;
    unlock(committer);
    pthread_cond_signal(&committer->changed);
    ASSERT(pthread_join(committer->thread, NULL) == 0);
    pthread_cond_destroy(&committer->changed);
    pthread_mutex_destroy(&committer->mutex);
    free(committer);
}
