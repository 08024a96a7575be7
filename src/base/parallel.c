#include "src/base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(__x86_64__)
#    include <immintrin.h>
#endif

#include "src/base/memory.h"

/* Workers spin this many times before they sleep: decoding issues a task batch every few tens of
 * microseconds, and a futex round trip costs as much as a small product. */
#define SPIN_ROUNDS 20000

struct worker {
    vlmp_pool *pool;
    pthread_t thread;
    int index;
};

/* A batch is one word: generation, number of tasks, next task not yet taken. Taking a task is a
 * compare-and-swap of that word, so a worker that wakes late takes from the batch that is current
 * then, and nobody waits for a worker that took nothing. */
#define TASK_BITS       24
#define TASK_MASK       (((uint64_t)1 << TASK_BITS) - 1)
#define NEXT_OF(batch)  ((batch)&TASK_MASK)
#define TASKS_OF(batch) ((batch) >> TASK_BITS & TASK_MASK)

struct vlmp_pool {
    int threads;
    struct worker *workers; /* threads-1 of them; the caller is thread 0 */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_int sleepers;
    atomic_bool stop;
    _Atomic uint64_t batch;
    atomic_int done;  /* tasks of the batch that are finished */
    vlmp_task_fn *fn; /* of the batch; read only after a task of it was taken */
    void *arg;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

/* false: none is left. The caller of the batch cannot return, and fn and arg cannot change, before
 * a task that was taken is done. */
static bool run_one_task(vlmp_pool *pool, int thread)
{
    uint64_t batch = atomic_load(&pool->batch);
    do {
        if (NEXT_OF(batch) >= TASKS_OF(batch)) return false;
    } while (!atomic_compare_exchange_weak(&pool->batch, &batch, batch + 1));
    pool->fn(pool->arg, (int)NEXT_OF(batch), thread);
    atomic_fetch_add(&pool->done, 1);
    return true;
}

static bool has_tasks(vlmp_pool *pool)
{
    uint64_t batch = atomic_load(&pool->batch);
    return NEXT_OF(batch) < TASKS_OF(batch);
}

static void wait_for_tasks(vlmp_pool *pool)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (has_tasks(pool) || atomic_load(&pool->stop)) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!has_tasks(pool) && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    while (!atomic_load(&worker->pool->stop)) {
        if (!run_one_task(worker->pool, worker->index)) wait_for_tasks(worker->pool);
    }
    return NULL;
}

static void wake_sleepers(vlmp_pool *pool)
{
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

int vlmp_pool_create(vlmp_pool **out, int threads, vlmp_error *err)
{
    *out = NULL;
    vlmp_pool *pool = vlmp_calloc(1, sizeof *pool);
    if (pool == NULL) return vlmp_fail_memory(err, "thread pool");
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = 1;
    pool->workers = vlmp_calloc((size_t)threads, sizeof *pool->workers);
    if (pool->workers == NULL) {
        vlmp_pool_free(pool);
        return vlmp_fail_memory(err, "thread pool");
    }
    for (int i = 1; i < threads; i++) {
        struct worker *worker = &pool->workers[i - 1];
        *worker = (struct worker){.pool = pool, .index = i};
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            vlmp_pool_free(pool);
            return vlmp_fail(err, VLMP_ERR_SYSTEM, "cannot start thread %d of %d", i + 1, threads);
        }
        pool->threads++;
    }
    *out = pool;
    return VLMP_OK;
}

void vlmp_pool_free(vlmp_pool *pool)
{
    if (pool == NULL) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < pool->threads - 1; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    free(pool->workers);
    free(pool);
}

int vlmp_pool_threads(const vlmp_pool *pool)
{
    return pool->threads;
}

static void run_batch(vlmp_pool *pool, int tasks, vlmp_task_fn *fn, void *arg)
{
    uint64_t generation = (atomic_load(&pool->batch) >> 2 * TASK_BITS) + 1;
    pool->fn = fn;
    pool->arg = arg;
    atomic_store(&pool->done, 0);
    atomic_store(&pool->batch, generation << 2 * TASK_BITS | (uint64_t)tasks << TASK_BITS);
    wake_sleepers(pool);
    while (run_one_task(pool, 0)) {
    }
    for (int spins = 0; atomic_load(&pool->done) != tasks; spins++) {
        if (spins < SPIN_ROUNDS)
            pause_briefly();
        else
            sched_yield();
    }
}

struct shifted {
    vlmp_task_fn *fn;
    void *arg;
    int offset;
};

static void run_shifted(void *arg, int task, int thread)
{
    const struct shifted *s = arg;
    s->fn(s->arg, s->offset + task, thread);
}

void vlmp_parallel_for(vlmp_pool *pool, int tasks, vlmp_task_fn *fn, void *arg)
{
    if (pool->threads == 1 || tasks == 1) {
        for (int task = 0; task < tasks; task++)
            fn(arg, task, 0);
        return;
    }
    for (int done = 0; done < tasks; done += (int)TASK_MASK) {
        int part = tasks - done < (int)TASK_MASK ? tasks - done : (int)TASK_MASK;
        struct shifted shifted = {.fn = fn, .arg = arg, .offset = done};
        run_batch(pool, part, run_shifted, &shifted);
    }
}

struct shares {
    vlmp_share_fn *fn;
    void *arg;
    int items, count;
};

static int share_start(const struct shares *s, int share)
{
    return (int)((int64_t)s->items * share / s->count);
}

static void run_share(void *arg, int task, int thread)
{
    const struct shares *s = arg;
    s->fn(s->arg, share_start(s, task), share_start(s, task + 1), thread);
}

void vlmp_parallel_shares(vlmp_pool *pool, int items, vlmp_share_fn *fn, void *arg)
{
    struct shares shares = {fn, arg, items, pool->threads < items ? pool->threads : items};
    vlmp_parallel_for(pool, shares.count, run_share, &shares);
}

int vlmp_available_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}
