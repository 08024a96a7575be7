/* A thread pool with one operation: run numbered tasks. What a task computes must not depend on
 * which thread runs it, so results are the same for every thread count. */
#pragma once

#include "src/base/error.h"

typedef struct vlmp_pool vlmp_pool;

/* thread is 0 … threads-1, for per-thread scratch only. */
typedef void vlmp_task_fn(void *arg, int task, int thread);

/* threads ≥ 1; the caller is one of them. Free with vlmp_pool_free (NULL is allowed). */
int vlmp_pool_create(vlmp_pool **pool, int threads, vlmp_error *err);
void vlmp_pool_free(vlmp_pool *pool);
int vlmp_pool_threads(const vlmp_pool *pool);

/* Runs fn for task = 0 … tasks-1 and returns when all are done. Not re-entrant. */
void vlmp_parallel_for(vlmp_pool *pool, int tasks, vlmp_task_fn *fn, void *arg);

/* Items first … end-1. */
typedef void vlmp_share_fn(void *arg, int first, int end, int thread);

/* Runs fn over 0 … items-1, cut into one contiguous share a thread: for work that streams through
 * memory. What an item gives must not depend on where its share begins or ends. Not re-entrant. */
void vlmp_parallel_shares(vlmp_pool *pool, int items, vlmp_share_fn *fn, void *arg);

/* The processors this process may use. */
int vlmp_available_processors(void);
