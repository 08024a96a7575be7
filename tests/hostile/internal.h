/* What the files of the hostile implementation share. */
#pragma once

#include "kernels/host.h"
#include "tests/hostile/hostile.h"

/* A device's activations; every F32 has one, and zero is zero. */
typedef double vlmp_hostile_act;

typedef enum {
    VLMP_HOSTILE_MEMORY,
    VLMP_HOSTILE_WEIGHT,
    VLMP_HOSTILE_STEP,
    VLMP_HOSTILE_STORE
} vlmp_hostile_kind;

/* What an address of the context is of. A weight's, step's or store's is a page that never opens.
 */
struct vlmp_hostile_area {
    vlmp_hostile_kind kind;
    unsigned char *at;
    size_t bytes;
    bool freed;   /* by a call, which may still be queued */
    void *hidden; /* struct vlmp_hostile_weight, vlmp_hostile_step, vlmp_kv; NULL: memory */
};

struct vlmp_hostile_weight {
    vlmp_linear given; /* whose memory must stay */
    vlmp_linear copy;
};

struct vlmp_hostile_step {
    vlmp_step *step;     /* as the queued operations find it */
    vlmp_step_size size; /* that there is room for */
    vlmp_step_rows rows; /* a copy of the last that were set; segments NULL: none were */
};

struct vlmp_hostile_call;
typedef void vlmp_hostile_run(vlmp_ctx *ctx, void *args);

/* Memory that a call touches while it runs. */
struct vlmp_hostile_use {
    const unsigned char *at;
    size_t bytes;
    vlmp_act *act; /* in args: runs with F32 in place of activations; NULL: runs as it is */
};

enum { VLMP_HOSTILE_USES = 20 };

/* An operation that waits. */
struct vlmp_hostile_call {
    vlmp_ctx *ctx;
    const char *name;
    vlmp_hostile_run *run;
    void *args;
    struct vlmp_hostile_use uses[VLMP_HOSTILE_USES];
    int use_count;
    bool refused; /* reported, and not to run */
};

/* The replay whose calls are being made, of replay.c; NULL: none is. Reports calls that may not be
 * among them. */
vlmp_replay **vlmp_hostile_open_replay(vlmp_ctx *ctx);
void vlmp_hostile_outside_replay(vlmp_ctx *ctx, const char *name);

/* Calls that wait, and the area of an address; NULL: none. */
const struct vlmp_hostile_call *vlmp_hostile_waiting(const vlmp_ctx *ctx, size_t *count);
struct vlmp_hostile_area *vlmp_hostile_area_of(const vlmp_ctx *ctx, const void *at);

/* Queues a copy of args, whose size is given. */
struct vlmp_hostile_call *vlmp_hostile_queue(vlmp_ctx *ctx, const char *name, vlmp_hostile_run *run,
                                             const void *args, size_t size);

/* Declares that the call touches so many bytes or values from an address on; VLMP_HOSTILE_REST: all
 * that the allocation has. what: the argument, for reports. */
#define VLMP_HOSTILE_REST SIZE_MAX
void vlmp_hostile_use(struct vlmp_hostile_call *call, const char *what, const void *at,
                      size_t bytes);
void vlmp_hostile_use_act(struct vlmp_hostile_call *call, const char *what, vlmp_act *act,
                          size_t count);

/* Checks a handle and gives what it stands for; NULL: the call is refused. */
const vlmp_linear *vlmp_hostile_weight(struct vlmp_hostile_call *call, const vlmp_linear *w);
struct vlmp_hostile_step *vlmp_hostile_step(struct vlmp_hostile_call *call, const vlmp_step *step);
vlmp_kv *vlmp_hostile_store(struct vlmp_hostile_call *call, const vlmp_kv *kv);

/* The area that a handle stands for; NULL, reported: it is none of this kind. */
struct vlmp_hostile_area *vlmp_hostile_handle(struct vlmp_hostile_call *call,
                                              vlmp_hostile_kind kind, const void *at);

/* A new area, NULL: the address space is used up; the end of one, queued; its hidden part's. */
void *vlmp_hostile_add_area(vlmp_ctx *ctx, vlmp_hostile_kind kind, size_t bytes, void *hidden);
void vlmp_hostile_drop(vlmp_ctx *ctx, const char *name, vlmp_hostile_kind kind, const void *at);
void vlmp_hostile_free_hidden(vlmp_ctx *ctx, const struct vlmp_hostile_area *area);

/* Memory of the test itself, which must be there: what it is given, and a copy. */
void *vlmp_hostile_must(void *memory);
void *vlmp_hostile_copy(const void *from, size_t bytes);

/* Reports what is wrong with a call and drops it. */
__attribute__((format(printf, 2, 3))) void vlmp_hostile_refuse(struct vlmp_hostile_call *call,
                                                               const char *fmt, ...);

/* Runs what is queued. */
void vlmp_hostile_drain(vlmp_ctx *ctx);

/* Whether an address is of the context's memory. */
bool vlmp_hostile_owns(const vlmp_ctx *ctx, const void *at);

/* The table, of operations.c, and the entries that are in other files. */
extern const vlmp_ops vlmp_hostile_ops;
void vlmp_hostile_destroy(vlmp_ctx *ctx);
void vlmp_hostile_range(vlmp_ctx *ctx, const char *name);
int vlmp_hostile_alloc(vlmp_ctx *ctx, void **at, size_t bytes, const char *what, vlmp_error *err);
void vlmp_hostile_free(vlmp_ctx *ctx, void *at);
void vlmp_hostile_write(vlmp_ctx *ctx, void *to, const void *from, size_t bytes);
int vlmp_hostile_read(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err);
int vlmp_hostile_sync(vlmp_ctx *ctx, vlmp_error *err);
void vlmp_hostile_write_act(vlmp_ctx *ctx, vlmp_act to, const float *from, size_t count);
int vlmp_hostile_read_act(vlmp_ctx *ctx, float *to, vlmp_act from, size_t count, vlmp_error *err);
int vlmp_hostile_prepare(vlmp_ctx *ctx, vlmp_linear *w, vlmp_error *err);
void vlmp_hostile_release(vlmp_ctx *ctx, void *own);
int vlmp_hostile_step_create(vlmp_ctx *ctx, vlmp_step **step, const vlmp_step_size *size,
                             vlmp_error *err);
void vlmp_hostile_step_set(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *rows);
void vlmp_hostile_step_free(vlmp_ctx *ctx, vlmp_step *step);
bool vlmp_hostile_replay(vlmp_ctx *ctx, vlmp_replay **replay, const vlmp_step *step);
void vlmp_hostile_replay_end(vlmp_ctx *ctx, vlmp_replay *replay);
void vlmp_hostile_replay_free(vlmp_ctx *ctx, vlmp_replay *replay);
int vlmp_hostile_kv_create(vlmp_ctx *ctx, vlmp_kv **kv, const vlmp_kv_shape *shape,
                           vlmp_error *err);
void vlmp_hostile_kv_free(vlmp_ctx *ctx, vlmp_kv *kv);
