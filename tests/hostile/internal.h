/* What the files of the hostile implementation share. */
#pragma once

#include "kernels/host.h"
#include "tests/hostile/hostile.h"

/* A device's activations; every F32 has one, and zero is zero. */
typedef double hostile_act;

typedef enum { HOSTILE_MEMORY, HOSTILE_WEIGHT, HOSTILE_STEP, HOSTILE_STORE } hostile_kind;

/* What an address of the context is of. A weight's, step's or store's is a page that never opens.
 */
struct hostile_area {
    hostile_kind kind;
    unsigned char *at;
    size_t bytes;
    bool freed;   /* by a call, which may still be queued */
    void *hidden; /* struct hostile_weight, hostile_step, vlmp_kv; NULL: memory */
};

struct hostile_weight {
    vlmp_linear given; /* whose memory must stay */
    vlmp_linear copy;
};

struct hostile_step {
    vlmp_step *step;     /* as the queued operations find it */
    vlmp_step_size size; /* that there is room for */
    vlmp_step_rows rows; /* a copy of the last that were set; segments NULL: none were */
};

struct hostile_call;
typedef void hostile_run(vlmp_ctx *ctx, void *args);

/* Memory that a call touches while it runs. */
struct hostile_use {
    const unsigned char *at;
    size_t bytes;
    vlmp_act *act; /* in args: runs with F32 in place of activations; NULL: runs as it is */
};

enum { HOSTILE_USES = 20 };

/* An operation that waits. */
struct hostile_call {
    vlmp_ctx *ctx;
    const char *name;
    hostile_run *run;
    void *args;
    struct hostile_use uses[HOSTILE_USES];
    int use_count;
    bool refused; /* reported, and not to run */
};

/* Queues a copy of args, whose size is given. */
struct hostile_call *hostile_queue(vlmp_ctx *ctx, const char *name, hostile_run *run,
                                   const void *args, size_t size);

/* Declares that the call touches so many bytes or values from an address on; HOSTILE_REST: all that
 * the allocation has. what: the argument, for reports. */
#define HOSTILE_REST SIZE_MAX
void hostile_use(struct hostile_call *call, const char *what, const void *at, size_t bytes);
void hostile_use_act(struct hostile_call *call, const char *what, vlmp_act *act, size_t count);

/* Checks a handle and gives what it stands for; NULL: the call is refused. */
const vlmp_linear *hostile_weight(struct hostile_call *call, const vlmp_linear *w);
struct hostile_step *hostile_step(struct hostile_call *call, const vlmp_step *step);
vlmp_kv *hostile_store(struct hostile_call *call, const vlmp_kv *kv);

/* The area that a handle stands for; NULL, reported: it is none of this kind. */
struct hostile_area *hostile_handle(struct hostile_call *call, hostile_kind kind, const void *at);

/* A new area, NULL: the address space is used up; the end of one, queued; its hidden part's. */
void *hostile_add_area(vlmp_ctx *ctx, hostile_kind kind, size_t bytes, void *hidden);
void hostile_drop(vlmp_ctx *ctx, const char *name, hostile_kind kind, const void *at);
void hostile_free_hidden(vlmp_ctx *ctx, const struct hostile_area *area);

/* Memory of the test itself, which must be there: what it is given, and a copy. */
void *hostile_must(void *memory);
void *hostile_copy(const void *from, size_t bytes);

/* Reports what is wrong with a call and drops it. */
__attribute__((format(printf, 2, 3))) void hostile_refuse(struct hostile_call *call,
                                                          const char *fmt, ...);

/* Runs what is queued. */
void hostile_drain(vlmp_ctx *ctx);

/* Whether an address is of the context's memory. */
bool hostile_owns(const vlmp_ctx *ctx, const void *at);

/* The table, of operations.c, and the entries that are in other files. */
extern const vlmp_ops hostile_ops;
void hostile_destroy(vlmp_ctx *ctx);
void *hostile_alloc(vlmp_ctx *ctx, size_t bytes);
void hostile_free(vlmp_ctx *ctx, void *at);
void hostile_write(vlmp_ctx *ctx, void *to, const void *from, size_t bytes);
int hostile_read(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err);
int hostile_sync(vlmp_ctx *ctx, vlmp_error *err);
void hostile_write_act(vlmp_ctx *ctx, vlmp_act to, const float *from, size_t count);
int hostile_read_act(vlmp_ctx *ctx, float *to, vlmp_act from, size_t count, vlmp_error *err);
int hostile_prepare(vlmp_ctx *ctx, vlmp_linear *w, vlmp_error *err);
void hostile_release(vlmp_ctx *ctx, void *own);
int hostile_step_create(vlmp_ctx *ctx, vlmp_step **step, const vlmp_step_size *size,
                        vlmp_error *err);
void hostile_step_set(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *rows);
void hostile_step_free(vlmp_ctx *ctx, vlmp_step *step);
int hostile_kv_create(vlmp_ctx *ctx, vlmp_kv **kv, const vlmp_kv_shape *shape, vlmp_error *err);
void hostile_kv_free(vlmp_ctx *ctx, vlmp_kv *kv);
