/* Decode and prefill speed of a random-weight Llama of a given shape, through the operations of the
 * real forward pass in its order, beside the bandwidth of a plain read of the same weights. Prints
 * one JSON line. Weights lie in a mapped file, as the runtime's do.
 *
 * --device cuda: on the GPU, whose bandwidth bench-stream reads (read_GBps and share are null).
 * Steps are queued as in decoding, but nothing is read back between them.
 *
 * --sequences and --context decode so many sequences together, each with so many tokens stored, in
 * turns with one sequence of BASE_CONTEXT tokens: "ratio" is the median of the turns' ratios. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/ops.h"
#include "src/base/clock.h"
#include "src/base/half.h"
#include "src/base/memory.h"
#include "src/base/rng.h"
#include "src/model/block.h"

enum { PAGE_ROWS = 64, MAX_RUNS = 100, BASE_CONTEXT = 100 };

struct options {
    int hidden, ffn, heads, kv, layers, vocab, threads, prompt, tokens, runs, sequences, context;
    int bits, group; /* bits 16: F16, 17: BF16, 32: F32; group 0: per channel */
    bool fast_activations;
    const char *type;
    const char *level;
    const char *device; /* "cpu" or "cuda" */
};

struct model {
    struct options o;
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    vlmp_block *layers;
    vlmp_block_shape shape;
    vlmp_linear head;
    float *ones; /* norm weights */
    float *inv_freq;
    unsigned char *map; /* all weights */
    size_t map_bytes;
    size_t map_used;
    vlmp_f32 x, embedded, logits, norm;
    vlmp_block_work work;
    vlmp_kv *kv;
    vlmp_step *step;
    vlmp_replay *replay;    /* of decoding */
    int pages;              /* of a sequence */
    vlmp_segment *segments; /* [sequences] */
};

static void fail(const char *what)
{
    fprintf(stderr, "bench-decode: %s\n", what);
    exit(1);
}

static void *need(void *memory)
{
    if (memory == NULL) fail("out of memory");
    return memory;
}

static float *floats(size_t count)
{
    return need(vlmp_calloc(count, sizeof(float)));
}

static bool on_device(const struct options *o)
{
    return strcmp(o->device, "cuda") == 0;
}

static size_t round64(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static vlmp_scheme scheme_of(const struct options *o)
{
    return vlmp_scheme_make(vlmp_code_type_of_bits(o->bits), o->group, VLMP_ZEROS_NONE,
                            o->fast_activations);
}

static vlmp_packed_shape shape_of(const struct options *o, int n, int k)
{
    vlmp_scheme scheme = scheme_of(o);
    vlmp_packed_shape shape;
    if (!vlmp_packed_shape_of(&shape, n, k, &scheme)) fail("the group does not divide the inputs");
    return shape;
}

static size_t code_bytes(const struct options *o, int n, int k)
{
    if (o->bits <= 8) return shape_of(o, n, k).parts[VLMP_PACKED_CODES].bytes;
    return (size_t)n * (size_t)k * (o->bits == 32 ? 4 : 2);
}

/* Of the codes' second plane. */
static size_t high_bytes(const struct options *o, int n, int k)
{
    return o->bits <= 8 ? shape_of(o, n, k).parts[VLMP_PACKED_HIGH].bytes : 0;
}

static size_t scale_bytes(const struct options *o, int n, int k)
{
    return o->bits <= 8 ? shape_of(o, n, k).parts[VLMP_PACKED_SCALES].bytes : 0;
}

static size_t linear_bytes(const struct options *o, int n, int k)
{
    return round64(code_bytes(o, n, k)) + round64(high_bytes(o, n, k)) +
           round64(scale_bytes(o, n, k));
}

static size_t weight_bytes(const struct options *o)
{
    int kv = o->kv * (o->hidden / o->heads);
    const int shapes[][2] = {
        {o->hidden, o->hidden}, {kv, o->hidden},     {kv, o->hidden},     {o->hidden, o->hidden},
        {o->ffn, o->hidden},    {o->ffn, o->hidden}, {o->hidden, o->ffn},
    };
    size_t layer = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        layer += linear_bytes(o, shapes[i][0], shapes[i][1]);
    return layer * (size_t)o->layers + linear_bytes(o, o->vocab, o->hidden);
}

static void *take(struct model *m, size_t bytes)
{
    void *memory = m->map + m->map_used;
    m->map_used += round64(bytes);
    if (m->map_used > m->map_bytes) fail("weights exceed their map");
    return memory;
}

static uint8_t *take_random(struct model *m, vlmp_rng *rng, size_t bytes)
{
    uint8_t *codes = take(m, bytes);
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t random = vlmp_rng_next(rng);
        memcpy(codes + i, &random, 8);
    }
    return codes;
}

static vlmp_linear make_linear(struct model *m, vlmp_rng *rng, int n, int k)
{
    const struct options *o = &m->o;
    vlmp_linear w = {.n = n, .k = k};
    float size = sqrtf(3 / (float)k); /* variance 1/k */
    if (o->bits > 8) {
        uint8_t *codes = take(m, code_bytes(o, n, k));
        w.weight = codes;
        w.dtype = o->bits == 32 ? VLMP_F32 : o->bits == 16 ? VLMP_F16 : VLMP_BF16;
        for (size_t i = 0; i < (size_t)n * (size_t)k; i++) {
            float value = ((float)vlmp_rng_uniform(rng) * 2 - 1) * size;
            uint16_t half = o->bits == 16 ? vlmp_f32_to_f16(value) : vlmp_f32_to_bf16(value);
            if (o->bits == 32)
                memcpy(codes + i * 4, &value, 4);
            else
                memcpy(codes + i * 2, &half, 2);
        }
        return w;
    }
    w.scheme = scheme_of(o);
    w.codes = take_random(m, rng, code_bytes(o, n, k));
    if (high_bytes(o, n, k) > 0) w.high = take_random(m, rng, high_bytes(o, n, k));
    float scale = size / (float)(1 << (o->bits - 1));
    unsigned char *scales = take(m, scale_bytes(o, n, k));
    w.scales = scales;
    for (size_t i = 0; i < (size_t)n * (size_t)vlmp_linear_groups(&w); i++)
        vlmp_scale_put(scales, i, w.scheme.scales, scale);
    return w;
}

static void map_weights(struct model *m)
{
    FILE *file = tmpfile();
    m->map_bytes = weight_bytes(&m->o);
    if (file == NULL || ftruncate(fileno(file), (off_t)m->map_bytes) != 0)
        fail("cannot make a temporary file for the weights");
    m->map = mmap(NULL, m->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    if (m->map == MAP_FAILED) fail("cannot map the weights");
    fclose(file);
}

static void try(int status, const vlmp_error *err)
{
    if (status != VLMP_OK) fail(err->message);
}

static void make_shape(struct model *m)
{
    const struct options *o = &m->o;
    int dim = o->hidden / o->heads;
    m->inv_freq = floats((size_t)dim);
    for (int i = 0; i < dim / 2; i++)
        m->inv_freq[i] = powf(10000, -2 * (float)i / (float)dim);
    m->shape = (vlmp_block_shape){.norm = VLMP_NORM_RMS,
                                  .norm_eps = 1e-5f,
                                  .dim = o->hidden,
                                  .heads = o->heads,
                                  .kv_heads = o->kv,
                                  .head_dim = dim,
                                  .intermediate = o->ffn,
                                  .gated = true,
                                  .act = VLMP_SILU,
                                  .causal = true,
                                  .inv_freq = m->inv_freq};
}

static void make_weights(struct model *m)
{
    const struct options *o = &m->o;
    int kv = o->kv * (o->hidden / o->heads);
    vlmp_rng rng = {1};
    vlmp_error err = {0};
    map_weights(m);
    m->ones = floats((size_t)o->hidden);
    for (int i = 0; i < o->hidden; i++)
        m->ones[i] = 1;
    vlmp_vector ones = {.values = m->ones, .count = (size_t)o->hidden};
    m->layers = need(vlmp_calloc((size_t)o->layers, sizeof *m->layers));
    for (int i = 0; i < o->layers; i++) {
        vlmp_block l = {.norm1 = ones, .norm2 = ones};
        l.q = make_linear(m, &rng, o->hidden, o->hidden);
        l.k = make_linear(m, &rng, kv, o->hidden);
        l.v = make_linear(m, &rng, kv, o->hidden);
        l.o = make_linear(m, &rng, o->hidden, o->hidden);
        l.gate = make_linear(m, &rng, o->ffn, o->hidden);
        l.up = make_linear(m, &rng, o->ffn, o->hidden);
        l.down = make_linear(m, &rng, o->hidden, o->ffn);
        try(vlmp_block_prepare(&m->layers[i], m->ctx, &l, &err), &err);
    }
    m->head = make_linear(m, &rng, o->vocab, o->hidden);
    try(m->ctx->ops->prepare(m->ctx, &m->head, &err), &err);
    try(vlmp_vector_copy(&ones, m->ctx, "a norm", &err), &err);
    m->norm = ones.own;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* Sequence s has the pages s·pages … of the store. */
static void make_sequences(struct model *m)
{
    const struct options *o = &m->o;
    size_t count = (size_t)o->sequences;
    m->pages = (larger(larger(o->prompt, o->context), BASE_CONTEXT) + o->tokens) / PAGE_ROWS + 1;
    m->segments = need(vlmp_calloc(count, sizeof *m->segments));
    int32_t *pages = need(vlmp_alloc(count * (size_t)m->pages, sizeof *pages));
    for (int i = 0; i < o->sequences * m->pages; i++)
        pages[i] = i;
    for (int s = 0; s < o->sequences; s++)
        m->segments[s] =
            (vlmp_segment){.first_row = s, .pages = pages + s * m->pages, .page_count = m->pages};
}

/* Any keys and values: the work does not depend on them. A page at a time. */
static void fill_store(struct model *m)
{
    const struct options *o = &m->o;
    const vlmp_ops *ops = m->ctx->ops;
    size_t width = (size_t)o->kv * (size_t)(o->hidden / o->heads);
    vlmp_error err = {0};
    vlmp_act stored;
    float *rows = floats(PAGE_ROWS * width);
    for (size_t i = 0; i < PAGE_ROWS * width; i++)
        rows[i] = (float)(i * 37 % 101) / 50 - 1;
    try(vlmp_ctx_alloc(m->ctx, &stored, PAGE_ROWS * width, ops->act_bytes, "keys", &err), &err);
    ops->write_act(m->ctx, stored, rows, PAGE_ROWS * width);
    for (int32_t page = 0; page < o->sequences * m->pages; page++) {
        const vlmp_segment segment = {.rows = PAGE_ROWS, .pages = &page, .page_count = 1};
        ops->step_set(
            m->ctx, m->step,
            &(vlmp_step_rows){.rows = PAGE_ROWS, .segment_count = 1, .segments = &segment});
        for (int layer = 0; layer < o->layers; layer++)
            ops->kv_write(m->ctx, m->kv, layer, stored, stored, m->step);
    }
    vlmp_ctx_free_memory(m->ctx, stored.at);
    free(rows);
}

static void make_model(struct model *m)
{
    const struct options *o = &m->o;
    int rows = larger(larger(o->prompt, o->sequences), PAGE_ROWS);
    size_t hidden = (size_t)rows * (size_t)o->hidden, logits = (size_t)(o->vocab * o->sequences);
    vlmp_error err = {0};
    make_sequences(m);
    const vlmp_kv_shape kv = {.layers = o->layers,
                              .pages = o->sequences * m->pages,
                              .page_rows = PAGE_ROWS,
                              .kv_heads = o->kv,
                              .head_dim = o->hidden / o->heads,
                              .int16 = true};
    const vlmp_step_size size = {rows, o->sequences, kv.pages};
    make_shape(m);
    make_weights(m);
    try(vlmp_block_work_create(&m->work, m->ctx, &m->shape, rows, &err), &err);
    try(m->ctx->ops->kv_create(m->ctx, &m->kv, &kv, &err), &err);
    try(m->ctx->ops->step_create(m->ctx, &m->step, &size, &err), &err);
    try(vlmp_ctx_alloc(m->ctx, &m->x, hidden, sizeof(float), "rows", &err), &err);
    try(vlmp_ctx_alloc(m->ctx, &m->logits, logits, sizeof(float), "logits", &err), &err);
    try(vlmp_ctx_alloc(m->ctx, &m->embedded, hidden, sizeof(float), "embeddings", &err), &err);
    float *embedded = floats(hidden);
    for (size_t i = 0; i < hidden; i++) /* any embedding: the work does not depend on it */
        embedded[i] =
            (float)((i / (size_t)o->hidden * 31 + i % (size_t)o->hidden * 17) % 101) / 50 - 1;
    vlmp_ctx_write(m->ctx, m->embedded.at, embedded, hidden * sizeof *embedded);
    free(embedded);
    fill_store(m);
}

/* The next rows of the first `sequences` sequences behind position stored ones; logits of each
 * one's last. */
static void forward(struct model *m, int sequences, int rows, int position)
{
    const struct options *o = &m->o;
    const vlmp_ops *ops = m->ctx->ops;
    int all = sequences * rows;
    vlmp_block_run run = {.ctx = m->ctx,
                          .shape = &m->shape,
                          .work = &m->work,
                          .step = m->step,
                          .rows = {all, rows == 1},
                          .kv = m->kv};
    for (int s = 0; s < sequences; s++) {
        m->segments[s].rows = rows;
        m->segments[s].position = position;
    }
    ops->step_set(
        m->ctx, m->step,
        &(vlmp_step_rows){.rows = all, .segment_count = sequences, .segments = m->segments});
    if (rows == 1 && ops->replay(m->ctx, &m->replay, m->step)) return;
    ops->repeat(m->ctx, m->x, m->embedded, all, all, o->hidden); /* in place of embed */
    for (run.layer = 0; run.layer < o->layers; run.layer++)
        vlmp_block_forward(&run, &m->layers[run.layer], m->x, NULL, NULL);
    ops->rms_norm(m->ctx, m->work.h,
                  vlmp_f32_at(m->x, (size_t)(all - sequences) * (size_t)o->hidden), sequences,
                  o->hidden, m->norm, 1e-5f);
    ops->linear_f32(m->ctx, m->logits, m->work.h, (vlmp_rows){sequences, true}, &m->head, false);
    if (rows == 1) ops->replay_end(m->ctx, m->replay);
}

/* Seconds since start, once all that was asked for has happened. */
static double elapsed(struct model *m, double start)
{
    vlmp_error err = {0};
    try(vlmp_ctx_sync(m->ctx, &err), &err);
    return vlmp_seconds() - start;
}

/* Tokens a second of all sequences together. */
static double decode(struct model *m, int sequences, int context)
{
    double start = vlmp_seconds();
    for (int i = 0; i < m->o.tokens; i++)
        forward(m, sequences, 1, context + i);
    return m->o.tokens * sequences / elapsed(m, start);
}

struct read {
    const uint64_t *words;
    size_t count;
    int tasks;
    uint64_t sums[1024];
};

static void read_task(void *arg, int task, int thread)
{
    (void)thread;
    struct read *r = arg;
    size_t first = r->count / (size_t)r->tasks * (size_t)task / 16 * 16;
    size_t end = r->count / (size_t)r->tasks * (size_t)(task + 1) / 16 * 16;
    uint64_t sums[16] = {0};
    for (size_t i = first; i < end; i += 16)
        for (size_t j = 0; j < 16; j++)
            sums[j] ^= r->words[i + j];
    for (size_t j = 1; j < 16; j++)
        sums[0] ^= sums[j];
    r->sums[task] = sums[0];
}

/* Seconds for one read of all weights. */
static double read_weights(struct model *m)
{
    static struct read r;
    r.words = (const uint64_t *)(const void *)m->map;
    r.count = m->map_bytes / 8;
    r.tasks = 256;
    double start = vlmp_seconds();
    vlmp_parallel_for(m->pool, r.tasks, read_task, &r);
    double time = vlmp_seconds() - start;
    volatile uint64_t keep = r.sums[0];
    (void)keep;
    return time;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void parse_type(struct options *o)
{
    static const struct {
        const char *name;
        int bits, group;
    } types[] = {{"w3g32", 3, 32}, {"w3g64", 3, 64}, {"w3g128", 3, 128}, {"w3", 3, 0},
                 {"w4g32", 4, 32}, {"w4g64", 4, 64}, {"w4g128", 4, 128}, {"w4", 4, 0},
                 {"w8", 8, 0},     {"w8g32", 8, 32}, {"w8g128", 8, 128}, {"f16", 16, 0},
                 {"bf16", 17, 0},  {"f32", 32, 0}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(o->type, types[i].name) == 0) {
            o->bits = types[i].bits;
            o->group = types[i].group;
            return;
        }
    }
    fail("--type is w3 or w4, alone or with g32, g64, g128; w8, w8g32, w8g128, f16, bf16 or f32");
}

static void parse(struct options *o, int argc, char **argv)
{
    struct {
        const char *name;
        int *value;
    } numbers[] = {
        {"hidden", &o->hidden},   {"ffn", &o->ffn},         {"heads", &o->heads},
        {"kv", &o->kv},           {"layers", &o->layers},   {"vocab", &o->vocab},
        {"threads", &o->threads}, {"prompt", &o->prompt},   {"tokens", &o->tokens},
        {"runs", &o->runs},       {"context", &o->context}, {"sequences", &o->sequences}};
    for (int i = 1; i < argc; i++) {
        const char *name = strncmp(argv[i], "--", 2) == 0 ? argv[i] + 2 : "";
        if (strcmp(name, "fast-activations") == 0) {
            o->fast_activations = true;
            continue;
        }
        if (i + 1 >= argc) fail("an option is unknown or lacks its value");
        const char *value = argv[++i];
        bool known = true;
        if (strcmp(name, "type") == 0)
            o->type = value;
        else if (strcmp(name, "level") == 0)
            o->level = value;
        else if (strcmp(name, "device") == 0)
            o->device = value;
        else
            known = false;
        for (size_t j = 0; j < sizeof numbers / sizeof *numbers; j++) {
            if (strcmp(name, numbers[j].name) != 0) continue;
            *numbers[j].value = atoi(value);
            known = *numbers[j].value > 0;
        }
        if (!known) fail("an option is unknown or its value is not a positive number");
    }
    if (o->runs > MAX_RUNS) o->runs = MAX_RUNS;
    if (strcmp(o->device, "cpu") != 0 && strcmp(o->device, "cuda") != 0)
        fail("--device is cpu or cuda");
    parse_type(o);
}

/* The rate of the device's memory is not the host's to measure. */
static void print_share(const struct model *m, double used, double bandwidth)
{
    if (on_device(&m->o))
        printf("\"read_GBps\": null, \"share\": null}\n");
    else
        printf("\"read_GBps\": %.2f, \"share\": %.3f}\n", bandwidth, used / bandwidth);
}

static void measure(struct model *m)
{
    const struct options *o = &m->o;
    double decoded[MAX_RUNS], ratios[MAX_RUNS], prefill[MAX_RUNS], reads[MAX_RUNS];
    for (int run = -1; run < o->runs; run++) { /* the first is a warm-up */
        int slot = run < 0 ? 0 : run;
        reads[slot] = on_device(o) ? 0 : (double)m->map_bytes / read_weights(m) / 1e9;
        double start = vlmp_seconds();
        forward(m, 1, o->prompt, 0);
        prefill[slot] = o->prompt / elapsed(m, start);
        decoded[slot] = decode(m, o->sequences, o->context);
        ratios[slot] = decoded[slot] / decode(m, 1, BASE_CONTEXT);
    }
    double tokens = median(decoded, o->runs);
    double bandwidth = median(reads, o->runs);
    double used = tokens / o->sequences * (double)m->map_bytes / 1e9;
    printf("{\"engine\": \"vlmpack\", \"kernels\": \"%s\", \"type\": \"%s\", \"activations\": "
           "\"%s\", \"threads\": %d, \"shape\": [%d, %d, %d, %d, %d, %d], \"prompt\": %d, "
           "\"weight_bytes\": %zu, \"sequences\": %d, \"context\": %d, \"decode_tps\": %.2f, "
           "\"ratio\": %.3f, \"prefill_tps\": %.1f, \"GBps\": %.2f, ",
           vlmp_ctx_describe(m->ctx), o->type, o->fast_activations ? "int8" : "float", o->threads,
           o->hidden, o->ffn, o->heads, o->kv, o->layers, o->vocab, o->prompt, m->map_bytes,
           o->sequences, o->context, tokens, median(ratios, o->runs), median(prefill, o->runs),
           used);
    print_share(m, used, bandwidth);
}

static void free_model(struct model *m)
{
    vlmp_ctx *ctx = m->ctx;
    ctx->ops->replay_free(ctx, m->replay); /* before what it names */
    ctx->ops->step_free(ctx, m->step);
    ctx->ops->kv_free(ctx, m->kv);
    vlmp_block_work_free(&m->work);
    for (int i = 0; i < m->o.layers; i++)
        vlmp_block_release(&m->layers[i], ctx);
    if (m->head.own != NULL) ctx->ops->release(ctx, m->head.own);
    void *const memory[] = {m->norm.at, m->x.at, m->logits.at, m->embedded.at};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        vlmp_ctx_free_memory(ctx, memory[i]);
    vlmp_ctx_free(ctx);
    vlmp_pool_free(m->pool);
    free((void *)(uintptr_t)m->segments[0].pages);
    free(m->segments);
    free(m->layers);
    free(m->ones);
    free(m->inv_freq);
    munmap(m->map, m->map_bytes);
}

static int open_context(struct model *m, vlmp_error *err)
{
    bool installed;
    const struct options *o = &m->o;
    VLMP_TRY(vlmp_pool_create(&m->pool, o->threads, err));
    if (on_device(o))
        VLMP_TRY(vlmp_ctx_create_cuda(&m->ctx, 0, m->pool, &installed, err));
    else
        VLMP_TRY(vlmp_ctx_create(&m->ctx, VLMP_BACKEND_CPU, o->level, m->pool, err));
    return vlmp_ctx_reserve(m->ctx, larger(o->prompt, PAGE_ROWS), larger(o->ffn, o->hidden), err);
}

int main(int argc, char **argv)
{
    static struct model m;
    m.o = (struct options){.hidden = 2048,
                           .ffn = 5632,
                           .heads = 32,
                           .kv = 32,
                           .layers = 12,
                           .vocab = 4096,
                           .threads = 2,
                           .prompt = 64,
                           .tokens = 64,
                           .runs = 5,
                           .sequences = 1,
                           .context = BASE_CONTEXT,
                           .type = "w4g32",
                           .device = "cpu"};
    parse(&m.o, argc, argv);
    vlmp_error err = {0};
    try(open_context(&m, &err), &err);
    make_model(&m);
    measure(&m);
    free_model(&m);
    return 0;
}
