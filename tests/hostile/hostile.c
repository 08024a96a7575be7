/* Memory that the host cannot touch, and the queue.
 *
 * All addresses come from one stretch of address space, upwards and never twice. */
#include "tests/hostile/hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/base/memory.h"
#include "tests/hostile/internal.h"

enum { PAGE = 4096, ALIGN = 16 };

static const size_t stretch = (size_t)64 << 30; /* bytes of address space */

struct hostile {
    vlmp_ctx base;
    vlmp_hostile_report *report;
    void *report_arg;
    int ranges; /* open */
    unsigned char *start;
    size_t used;
    struct vlmp_hostile_area *areas; /* by rising addresses */
    size_t area_count, area_capacity;
    struct vlmp_hostile_call *calls;
    size_t call_count, call_capacity;
    int reads;
    int fail_at;         /* the number of the read that fails; 0: none */
    vlmp_replay *replay; /* open */
};

static struct hostile *of(const vlmp_ctx *ctx)
{
    return (struct hostile *)(uintptr_t)ctx;
}

static void fail(const char *what)
{
    perror(what);
    abort();
}

void *vlmp_hostile_copy(const void *from, size_t bytes)
{
    void *copy = vlmp_hostile_must(malloc(bytes + 1));
    if (bytes > 0) memcpy(copy, from, bytes);
    return copy;
}

void *vlmp_hostile_must(void *memory)
{
    if (memory == NULL) fail("hostile");
    return memory;
}

static void abort_with(void *arg, const char *message)
{
    (void)arg;
    fprintf(stderr, "hostile: %s\n", message);
    abort();
}

int vlmp_hostile_ctx_create(vlmp_ctx **ctx, vlmp_pool *pool, vlmp_hostile_report *report, void *arg,
                            vlmp_error *err)
{
    *ctx = NULL;
    struct hostile *h = vlmp_calloc(1, sizeof *h);
    if (h == NULL) return vlmp_fail_memory(err, "kernel context");
    h->base.ops = &vlmp_hostile_ops;
    h->base.pool = pool;
    h->report = report != NULL ? report : abort_with;
    h->report_arg = arg;
    h->start = mmap(NULL, stretch, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (h->start == MAP_FAILED) {
        free(h);
        return vlmp_fail_errno(err, "no address space for the hostile context");
    }
    *ctx = &h->base;
    return VLMP_OK;
}

void vlmp_hostile_refuse(struct vlmp_hostile_call *call, const char *fmt, ...)
{
    char what[256], message[384];
    va_list args;
    struct hostile *h = of(call->ctx);
    if (call->refused) return;
    call->refused = true;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    snprintf(message, sizeof message, "%s: %s", call->name, what);
    h->report(h->report_arg, message);
}

bool vlmp_hostile_owns(const vlmp_ctx *ctx, const void *at)
{
    const unsigned char *byte = at;
    return byte >= of(ctx)->start && byte < of(ctx)->start + stretch;
}

/* Pages of an area, whose data ends where the next page, which stays closed, begins. */
static unsigned char *first_page(const struct vlmp_hostile_area *area)
{
    return area->at - (uintptr_t)area->at % PAGE;
}

static size_t page_bytes(const struct vlmp_hostile_area *area)
{
    size_t bytes = (uintptr_t)area->at % PAGE + area->bytes;
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void protect(const struct vlmp_hostile_area *area, int protection)
{
    if (mprotect(first_page(area), page_bytes(area), protection) != 0) fail("mprotect");
}

/* The last area that begins at or before an address; NULL: none. */
struct vlmp_hostile_area *vlmp_hostile_area_of(const vlmp_ctx *ctx, const void *at)
{
    struct hostile *h = of(ctx);
    size_t low = 0, high = h->area_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (h->areas[middle].at <= (const unsigned char *)at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || !vlmp_hostile_owns(ctx, at)) return NULL;
    struct vlmp_hostile_area *area = &h->areas[low - 1];
    return (const unsigned char *)at < area->at + (area->bytes > 0 ? area->bytes : 1) ? area : NULL;
}

void *vlmp_hostile_add_area(vlmp_ctx *ctx, vlmp_hostile_kind kind, size_t bytes, void *hidden)
{
    struct hostile *h = of(ctx);
    size_t room = (bytes > 0 ? bytes + ALIGN - 1 : ALIGN) / ALIGN * ALIGN;
    size_t pages = (room + PAGE - 1) / PAGE * PAGE;
    if (bytes > stretch / 2 || pages + PAGE > stretch - h->used) return NULL;
    if (h->area_count == h->area_capacity) {
        h->area_capacity = 2 * h->area_capacity + 64;
        h->areas = vlmp_hostile_must(realloc(h->areas, h->area_capacity * sizeof *h->areas));
    }
    struct vlmp_hostile_area *area = &h->areas[h->area_count++];
    *area = (struct vlmp_hostile_area){
        .kind = kind, .at = h->start + h->used + pages - room, .bytes = bytes, .hidden = hidden};
    h->used += pages + PAGE;
    return area->at;
}

vlmp_replay **vlmp_hostile_open_replay(vlmp_ctx *ctx)
{
    return &of(ctx)->replay;
}

void vlmp_hostile_outside_replay(vlmp_ctx *ctx, const char *name)
{
    if (of(ctx)->replay != NULL)
        vlmp_hostile_refuse(&(struct vlmp_hostile_call){.ctx = ctx, .name = name},
                            "not between replay and replay_end");
}

const struct vlmp_hostile_call *vlmp_hostile_waiting(const vlmp_ctx *ctx, size_t *count)
{
    *count = of(ctx)->call_count;
    return of(ctx)->calls;
}

int vlmp_hostile_alloc(vlmp_ctx *ctx, void **at, size_t bytes, const char *what, vlmp_error *err)
{
    vlmp_hostile_outside_replay(ctx, "alloc");
    *at = vlmp_hostile_add_area(ctx, VLMP_HOSTILE_MEMORY, bytes, NULL);
    return *at != NULL ? VLMP_OK : vlmp_fail_memory(err, what);
}

struct vlmp_hostile_call *vlmp_hostile_queue(vlmp_ctx *ctx, const char *name, vlmp_hostile_run *run,
                                             const void *args, size_t size)
{
    struct hostile *h = of(ctx);
    if (h->call_count == h->call_capacity) {
        h->call_capacity = 2 * h->call_capacity + 64;
        h->calls = vlmp_hostile_must(realloc(h->calls, h->call_capacity * sizeof *h->calls));
    }
    struct vlmp_hostile_call *call = &h->calls[h->call_count++];
    *call = (struct vlmp_hostile_call){
        .ctx = ctx, .name = name, .run = run, .args = vlmp_hostile_copy(args, size)};
    return call;
}

void vlmp_hostile_use(struct vlmp_hostile_call *call, const char *what, const void *at,
                      size_t bytes)
{
    if (bytes == 0 || call->refused) return;
    const struct vlmp_hostile_area *area = vlmp_hostile_area_of(call->ctx, at);
    if (area == NULL || area->kind != VLMP_HOSTILE_MEMORY) {
        vlmp_hostile_refuse(call, "%s is no address of the context's memory", what);
        return;
    }
    size_t there = (size_t)(area->at + area->bytes - (const unsigned char *)at);
    if (bytes == VLMP_HOSTILE_REST) bytes = there;
    if (area->freed)
        vlmp_hostile_refuse(call, "%s was freed", what);
    else if (bytes > there)
        vlmp_hostile_refuse(call, "%s needs %zu bytes of %zu", what, bytes, there);
    else if (call->use_count == VLMP_HOSTILE_USES)
        vlmp_hostile_refuse(call, "more addresses than a test has");
    else
        call->uses[call->use_count++] = (struct vlmp_hostile_use){.at = at, .bytes = bytes};
}

void vlmp_hostile_use_act(struct vlmp_hostile_call *call, const char *what, vlmp_act *act,
                          size_t count)
{
    int before = call->use_count;
    vlmp_hostile_use(call, what, act->at,
                     count == VLMP_HOSTILE_REST ? VLMP_HOSTILE_REST
                                                : count * sizeof(vlmp_hostile_act));
    if (call->use_count > before) call->uses[before].act = act;
}

/* Opens what a call uses and gives it F32 for activations; closes it again. */
static void begin(struct vlmp_hostile_call *call)
{
    for (int i = 0; i < call->use_count; i++) {
        struct vlmp_hostile_use *use = &call->uses[i];
        protect(vlmp_hostile_area_of(call->ctx, use->at), PROT_READ | PROT_WRITE);
        if (use->act == NULL) continue;
        size_t count = use->bytes / sizeof(vlmp_hostile_act);
        const vlmp_hostile_act *from = use->act->at;
        float *values = vlmp_hostile_must(malloc(count * sizeof *values));
        for (size_t n = 0; n < count; n++)
            values[n] = (float)from[n];
        use->act->at = values;
    }
}

static void end(struct vlmp_hostile_call *call)
{
    for (int i = 0; i < call->use_count; i++) {
        struct vlmp_hostile_use *use = &call->uses[i];
        if (use->act == NULL) continue;
        float *values = use->act->at;
        vlmp_hostile_act *to = (vlmp_hostile_act *)(uintptr_t)use->at;
        for (size_t n = 0; n < use->bytes / sizeof *to; n++)
            to[n] = values[n];
        free(values);
    }
    for (int i = 0; i < call->use_count; i++)
        protect(vlmp_hostile_area_of(call->ctx, call->uses[i].at), PROT_NONE);
}

void vlmp_hostile_drain(vlmp_ctx *ctx)
{
    struct hostile *h = of(ctx);
    for (size_t i = 0; i < h->call_count; i++) {
        struct vlmp_hostile_call *call = &h->calls[i];
        if (!call->refused) {
            begin(call);
            call->run(ctx, call->args);
            end(call);
        }
        free(call->args);
    }
    h->call_count = 0;
}

struct move {
    void *at;
    unsigned char *bytes; /* of the call's own; NULL: to the host, by moved */
    size_t count;
    void *host;
};

static void run_move(vlmp_ctx *ctx, void *args)
{
    (void)ctx;
    struct move *m = args;
    if (m->host != NULL)
        memcpy(m->host, m->at, m->count);
    else
        memcpy(m->at, m->bytes, m->count);
    free(m->bytes);
}

void vlmp_hostile_write(vlmp_ctx *ctx, void *to, const void *from, size_t bytes)
{
    vlmp_hostile_outside_replay(ctx, "write");
    if (bytes == 0) return;
    if (vlmp_hostile_owns(ctx, from)) {
        vlmp_hostile_refuse(&(struct vlmp_hostile_call){.ctx = ctx, .name = "write"},
                            "from is memory of the context");
        return;
    }
    const struct move m = {.at = to, .bytes = vlmp_hostile_copy(from, bytes), .count = bytes};
    struct vlmp_hostile_call *call = vlmp_hostile_queue(ctx, "write", run_move, &m, sizeof m);
    vlmp_hostile_use(call, "to", to, bytes);
    if (call->refused) free(m.bytes);
}

/* What waiting comes to: the device's error, if it is this one's turn. */
static int finish(vlmp_ctx *ctx, vlmp_error *err)
{
    struct hostile *h = of(ctx);
    vlmp_hostile_outside_replay(ctx, "read");
    vlmp_hostile_drain(ctx);
    if (++h->reads != h->fail_at) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_SYSTEM, VLMP_HOSTILE_ERROR);
}

int vlmp_hostile_read(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err)
{
    const struct move m = {.at = (void *)(uintptr_t)from, .count = bytes, .host = to};
    if (bytes > 0)
        vlmp_hostile_use(vlmp_hostile_queue(ctx, "read", run_move, &m, sizeof m), "from", from,
                         bytes);
    int status = finish(ctx, err);
    if (status != VLMP_OK && bytes > 0) memset(to, 0xff, bytes);
    return status;
}

int vlmp_hostile_sync(vlmp_ctx *ctx, vlmp_error *err)
{
    return finish(ctx, err);
}

void vlmp_hostile_write_act(vlmp_ctx *ctx, vlmp_act to, const float *from, size_t count)
{
    vlmp_hostile_act *values = vlmp_hostile_must(malloc(count * sizeof *values + 1));
    for (size_t i = 0; i < count; i++)
        values[i] = from[i];
    vlmp_hostile_write(ctx, to.at, values, count * sizeof *values);
    free(values);
}

int vlmp_hostile_read_act(vlmp_ctx *ctx, float *to, vlmp_act from, size_t count, vlmp_error *err)
{
    vlmp_hostile_act *values = vlmp_hostile_must(malloc(count * sizeof *values + 1));
    int status = vlmp_hostile_read(ctx, values, from.at, count * sizeof *values, err);
    for (size_t i = 0; i < count; i++)
        to[i] = (float)values[i];
    free(values);
    return status;
}

void vlmp_hostile_fail_after(vlmp_ctx *ctx, int reads)
{
    of(ctx)->fail_at = reads > 0 ? of(ctx)->reads + reads : 0;
}

int vlmp_hostile_reads(const vlmp_ctx *ctx)
{
    return of(ctx)->reads;
}

/* The area that a call's handle stands for; NULL, reported: it is none of this kind. */
struct vlmp_hostile_area *vlmp_hostile_handle(struct vlmp_hostile_call *call,
                                              vlmp_hostile_kind kind, const void *at)
{
    static const char *const names[] = {"memory", "weight", "step", "store"};
    struct vlmp_hostile_area *area = vlmp_hostile_area_of(call->ctx, at);
    if (area == NULL || area->at != at || area->kind != kind) {
        vlmp_hostile_refuse(call, "no %s of this context", names[kind]);
        return NULL;
    }
    if (!area->freed) return area;
    vlmp_hostile_refuse(call, "a %s that was freed", names[kind]);
    return NULL;
}

/* Pages that are mapped anew are closed, empty, and never opened again. */
static void run_drop(vlmp_ctx *ctx, void *args)
{
    const struct vlmp_hostile_area *area = args;
    vlmp_hostile_free_hidden(ctx, area);
    void *closed = mmap(first_page(area), page_bytes(area), PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (closed == MAP_FAILED) fail("mmap");
}

void vlmp_hostile_drop(vlmp_ctx *ctx, const char *name, vlmp_hostile_kind kind, const void *at)
{
    struct vlmp_hostile_area *area, none = {0};
    vlmp_hostile_outside_replay(ctx, name);
    struct vlmp_hostile_call *call = vlmp_hostile_queue(ctx, name, run_drop, &none, sizeof none);
    area = vlmp_hostile_handle(call, kind, at);
    if (area == NULL) return;
    memcpy(call->args, area, sizeof *area);
    area->freed = true;
}

void vlmp_hostile_free(vlmp_ctx *ctx, void *at)
{
    vlmp_hostile_drop(ctx, "free", VLMP_HOSTILE_MEMORY, at);
}

void vlmp_hostile_range(vlmp_ctx *ctx, const char *name)
{
    of(ctx)->ranges += name != NULL ? 1 : -1;
    if (of(ctx)->ranges < 0)
        vlmp_hostile_refuse(&(struct vlmp_hostile_call){.ctx = ctx, .name = "range"},
                            "none is open that could end");
}

void vlmp_hostile_destroy(vlmp_ctx *ctx)
{
    struct hostile *h = of(ctx);
    size_t left[4] = {0}, all = 0;
    vlmp_hostile_drain(ctx);
    for (size_t i = 0; i < h->area_count; i++) {
        const struct vlmp_hostile_area *area = &h->areas[i];
        if (area->freed) continue;
        left[area->kind]++;
        all++;
        vlmp_hostile_free_hidden(ctx, area);
    }
    if (all > 0)
        vlmp_hostile_refuse(&(struct vlmp_hostile_call){.ctx = ctx, .name = "destroy"},
                            "%zu allocations, %zu weights, %zu steps and %zu stores were not freed",
                            left[VLMP_HOSTILE_MEMORY], left[VLMP_HOSTILE_WEIGHT],
                            left[VLMP_HOSTILE_STEP], left[VLMP_HOSTILE_STORE]);
    if (h->ranges > 0)
        vlmp_hostile_refuse(&(struct vlmp_hostile_call){.ctx = ctx, .name = "destroy"},
                            "%d ranges have not ended", h->ranges);
    munmap(h->start, stretch);
    free(h->areas);
    free(h->calls);
    free(h);
}
