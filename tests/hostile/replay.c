/* Calls that come again: they are made again, and must be those of the last time. */
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/internal.h"

enum { SHAPES = 16 };

/* What was asked for between replay and replay_end, for a step of so many rows. */
struct shape {
    const vlmp_step *step; /* NULL: free */
    int rows;
    struct vlmp_hostile_call *calls; /* their names and uses alone */
    size_t count;
};

struct vlmp_replay {
    struct shape shapes[SHAPES];
    struct shape *at_work;
    size_t first; /* of its calls among those that wait */
};

static struct vlmp_hostile_call report_of(vlmp_ctx *ctx, const char *name)
{
    return (struct vlmp_hostile_call){.ctx = ctx, .name = name};
}

bool vlmp_hostile_replay(vlmp_ctx *ctx, vlmp_replay **replay, const vlmp_step *step)
{
    struct vlmp_hostile_call call = report_of(ctx, "replay");
    const struct vlmp_hostile_step *hidden = vlmp_hostile_step(&call, step);
    vlmp_hostile_outside_replay(ctx, "replay");
    if (hidden == NULL) return false;
    if (*replay == NULL) *replay = vlmp_hostile_must(calloc(1, sizeof **replay));
    vlmp_replay *r = *replay;
    int i = 0;
    while (i < SHAPES - 1 && r->shapes[i].step != NULL &&
           (r->shapes[i].step != step || r->shapes[i].rows != hidden->rows.rows))
        i++;
    r->at_work = &r->shapes[i];
    if (r->at_work->step != step || r->at_work->rows != hidden->rows.rows) {
        free(r->at_work->calls);
        *r->at_work = (struct shape){.step = step, .rows = hidden->rows.rows};
    }
    (void)vlmp_hostile_waiting(ctx, &r->first);
    *vlmp_hostile_open_replay(ctx) = r;
    return false;
}

static bool is_same(const struct vlmp_hostile_call *a, const struct vlmp_hostile_call *b)
{
    bool same = strcmp(a->name, b->name) == 0 && a->use_count == b->use_count;
    for (int i = 0; same && i < a->use_count; i++)
        same = a->uses[i].at == b->uses[i].at && a->uses[i].bytes == b->uses[i].bytes;
    return same;
}

void vlmp_hostile_replay_end(vlmp_ctx *ctx, vlmp_replay *replay)
{
    struct vlmp_hostile_call call = report_of(ctx, "replay_end");
    size_t count;
    const struct vlmp_hostile_call *calls = vlmp_hostile_waiting(ctx, &count);
    *vlmp_hostile_open_replay(ctx) = NULL;
    if (replay == NULL || replay->at_work == NULL) {
        vlmp_hostile_refuse(&call, "replay comes first");
        return;
    }
    struct shape *shape = replay->at_work;
    replay->at_work = NULL;
    if (count <= replay->first) return; /* they failed */
    calls += replay->first, count -= replay->first;
    if (shape->calls == NULL) {
        shape->calls = vlmp_hostile_copy(calls, count * sizeof *calls);
        shape->count = count;
    }
    if (shape->count != count)
        vlmp_hostile_refuse(&call, "%zu calls, and %zu the first time", count, shape->count);
    for (size_t i = 0; i < count && !call.refused; i++)
        if (!is_same(&calls[i], &shape->calls[i]))
            vlmp_hostile_refuse(&call, "call %zu is %s of other memory than the first time", i,
                                calls[i].name);
}

void vlmp_hostile_replay_free(vlmp_ctx *ctx, vlmp_replay *replay)
{
    struct vlmp_hostile_call call = report_of(ctx, "replay_free");
    for (int s = 0; replay != NULL && s < SHAPES; s++) {
        const struct shape *shape = &replay->shapes[s];
        if (shape->step != NULL) (void)vlmp_hostile_handle(&call, VLMP_HOSTILE_STEP, shape->step);
        for (size_t i = 0; i < shape->count; i++)
            for (int u = 0; u < shape->calls[i].use_count; u++)
                if (vlmp_hostile_area_of(ctx, shape->calls[i].uses[u].at)->freed)
                    vlmp_hostile_refuse(&call, "what %s uses was freed before",
                                        shape->calls[i].name);
        free(shape->calls);
    }
    free(replay);
}
