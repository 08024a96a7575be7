#include "src/base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
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

struct vlmp_pool {
    int threads;
    struct worker *workers; /* threads-1 of them; the caller is thread 0 */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint generation; /* counts batches; a change starts one */
    atomic_int next;        /* first task not yet taken */
    atomic_int running;     /* workers that have not finished the batch */
    atomic_bool stop;
    int tasks;
    vlmp_task_fn *fn;
    void *arg;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

static void run_tasks(vlmp_pool *pool, int thread)
{
    int task;
    while ((task = atomic_fetch_add(&pool->next, 1)) < pool->tasks)
        pool->fn(pool->arg, task, thread);
}

static void wait_for_batch(vlmp_pool *pool, unsigned seen)
{
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load(&pool->generation) != seen) return;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->generation) == seen)
        pthread_cond_wait(&pool->wake, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    vlmp_pool *pool = worker->pool;
    for (unsigned seen = 0;; seen++) {
        wait_for_batch(pool, seen);
        if (atomic_load(&pool->stop)) return NULL;
        run_tasks(pool, worker->index);
        atomic_fetch_sub(&pool->running, 1);
    }
}

static void start_batch(vlmp_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->generation, 1);
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
    atomic_store(&pool->stop, true);
    start_batch(pool);
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

void vlmp_parallel_for(vlmp_pool *pool, int tasks, vlmp_task_fn *fn, void *arg)
{
    if (tasks <= 0) return;
    if (pool->threads == 1 || tasks == 1) {
        for (int task = 0; task < tasks; task++)
            fn(arg, task, 0);
        return;
    }
    pool->tasks = tasks;
    pool->fn = fn;
    pool->arg = arg;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->running, pool->threads - 1);
    start_batch(pool);
    run_tasks(pool, 0);
    for (int spins = 0; atomic_load(&pool->running) != 0; spins++) {
        if (spins < SPIN_ROUNDS)
            pause_briefly();
        else
            sched_yield();
    }
}

int vlmp_available_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}
