#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kcheck/kcheck.h"

typedef struct {
    const char *name;
    void (*run)(kc *k);
    bool is_long; /* its list of cases */
} test;

static const test tests[] = {
    {"self", kc_check_self, false},
    {"linear.dense", kc_check_dense, true},
    {"linear.packed", kc_check_packed, true},
    {"linear.floats", kc_check_floats, true},
    {"linear.int8", kc_check_int8, true},
    {"linear.wide", kc_check_wide, false},
    {"linear.shared", kc_check_shared, false},
    {"linear.added", kc_check_added, false},
    {"linear.neighbours", kc_check_neighbours, false},
    {"embed", kc_check_embed, false},
    {"norms", kc_check_norms, false},
    {"activations", kc_check_activations, true},
    {"elementwise", kc_check_elementwise, false},
    {"rope", kc_check_rope, false},
    {"kv_write", kc_check_kv_write, false},
    {"attention", kc_check_attention, false},
    {"moved", kc_check_moved, false},
    {"measures", kc_check_measures, false},
    {"gram", kc_check_gram, false},
    {"cross", kc_check_cross, false},
    {"gemm", kc_check_gemm, false},
    {"quant", kc_check_quant, false},
    {"linalg", kc_check_linalg, false},
};

static const char *const levels[] = {"portable", "avx2", "avx512", "avx512vnni", "avx512bf16"};

static const char cuda[] = "cuda"; /* a level for who asks */

enum { TESTS = sizeof tests / sizeof *tests, LEVELS = sizeof levels / sizeof *levels };

struct counts {
    int passed, failed, skipped;
};

static void usage(void)
{
    puts("kcheck [--list] [--test PATTERN] [--level LEVEL] [--every N] [--bench] [--seed N]\n"
         "Checks every operation against the reference. Exit 0: all passed, 1: a check failed,\n"
         "77: nothing was checked.");
}

static void list(void)
{
    for (int i = 0; i < TESTS; i++)
        puts(tests[i].name);
}

/* A device has no threads that the self-test could count. */
static bool wanted(const kc *k, const test *t)
{
    if (k->half && t->run == kc_check_self) return false;
    return k->filter == NULL || fnmatch(k->filter, t->name, 0) == 0;
}

static void run_tests(kc *k, struct counts *counts)
{
    for (int i = 0; i < TESTS; i++) {
        if (!wanted(k, &tests[i])) continue;
        int checks = k->checks;
        int failures = k->failures;
        k->cases = 0;
        k->step = tests[i].is_long ? k->every : 1;
        tests[i].run(k);
        kc_begin(k, "");
        bool passed = k->failures == failures;
        *(passed ? &counts->passed : &counts->failed) += 1;
        printf("%s %s %s (%d cases)\n", passed ? "ok    " : "FAILED", k->level, tests[i].name,
               k->checks - checks);
        fflush(stdout);
    }
}

static void skip_level(const kc *k, const char *level, const char *why, struct counts *counts)
{
    for (int i = 0; i < TESTS; i++)
        counts->skipped += wanted(k, &tests[i]);
    printf("skipped %s: %s\n", level, why);
}

static int open_context(const kc *k, const char *level, vlmp_pool *pool, vlmp_ctx **ctx,
                        vlmp_error *err)
{
    if (!k->half) return vlmp_ctx_create(ctx, VLMP_BACKEND_CPU, level, pool, err);
    bool installed;
    VLMP_TRY(vlmp_ctx_create_cuda(ctx, 0, pool, &installed, err));
    *ctx = kc_device(*ctx);
    return VLMP_OK;
}

/* 0, or an exit status. */
static int run_level(kc *k, const char *level, vlmp_pool **pools, bool asked, struct counts *counts)
{
    vlmp_error err = {0};
    k->level = level;
    k->bf16 = strstr(level, "bf16") != NULL;
    k->half = strcmp(level, cuda) == 0;
    k->context_count = k->half ? 1 : KC_THREAD_COUNTS;
    for (int i = 0; i < k->context_count; i++) {
        int status = open_context(k, level, pools[i], &k->contexts[i], &err);
        if (status == VLMP_ERR_USAGE && !asked) {
            skip_level(k, level, err.message, counts);
            return 0;
        }
        if (status != 0) {
            fprintf(stderr, "kcheck: %s\n", err.message);
            return asked && status == VLMP_ERR_USAGE ? 77 : 1;
        }
    }
    if (k->half && vlmp_ctx_create(&k->processor, VLMP_BACKEND_CPU, NULL, pools[0], &err) != 0) {
        fprintf(stderr, "kcheck: %s\n", err.message);
        return 1;
    }
    printf("%s\n", vlmp_ctx_describe(k->contexts[0]));
    int failed = counts->failed;
    run_tests(k, counts);
    if (k->bench && counts->failed == failed) kc_bench(k);
    for (int i = 0; i < k->context_count; i++)
        vlmp_ctx_free(k->contexts[i]);
    vlmp_ctx_free(k->processor);
    k->processor = NULL;
    return 0;
}

static const char *parse(kc *k, int argc, char **argv)
{
    const char *level = NULL;
    k->seed = 1;
    k->every = 1;
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--list") == 0) {
            list();
            exit(0);
        } else if (strcmp(argv[i], "--bench") == 0) {
            k->bench = true;
        } else if (strcmp(argv[i], "--test") == 0 && value) {
            k->filter = argv[++i];
        } else if (strcmp(argv[i], "--level") == 0 && value) {
            level = argv[++i];
        } else if (strcmp(argv[i], "--every") == 0 && value) {
            k->every = atoi(argv[++i]) > 0 ? atoi(argv[i]) : 1;
        } else if (strcmp(argv[i], "--seed") == 0 && value) {
            k->seed = strtoull(argv[++i], NULL, 0);
        } else {
            usage();
            exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
        }
    }
    if (k->bench && level != NULL && strcmp(level, cuda) == 0) {
        fprintf(stderr, "kcheck: --bench times kernels on memory of the host; not --level cuda\n");
        exit(2);
    }
    return level;
}

int main(int argc, char **argv)
{
    static kc k;
    const char *level = parse(&k, argc, argv);
    struct counts counts = {0};
    vlmp_pool *pools[KC_THREAD_COUNTS];
    vlmp_error err = {0};
    for (int i = 0; i < KC_THREAD_COUNTS; i++) {
        if (vlmp_pool_create(&pools[i], i + 1, &err) != 0) {
            fprintf(stderr, "kcheck: %s\n", err.message);
            return 1;
        }
    }
    if (vlmp_ctx_create(&k.reference, VLMP_BACKEND_REF, NULL, pools[0], &err) != 0) {
        fprintf(stderr, "kcheck: %s\n", err.message);
        return 1;
    }
    printf("seed %llu\n", (unsigned long long)k.seed);
    int status = 0;
    if (level != NULL)
        status = run_level(&k, level, pools, true, &counts);
    else
        for (int i = 0; i < LEVELS && status == 0; i++)
            status = run_level(&k, levels[i], pools, false, &counts);
    kc_begin(&k, "");
    vlmp_ctx_free(k.reference);
    for (int i = 0; i < KC_THREAD_COUNTS; i++)
        vlmp_pool_free(pools[i]);
    printf("%d passed, %d failed, %d skipped\n", counts.passed, counts.failed, counts.skipped);
    if (status != 0) return status;
    return counts.failed > 0 ? 1 : counts.passed > 0 ? 0 : 77;
}
