#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/table.h"
#include "tools/cli.h"
#include "tools/progress.h"

typedef struct {
    const char *out, *method;
    int64_t bits;
    double temperature;
    uint64_t memory;
    bool force, sequential;
    vlmp_cli_list gates;
    vlmp_cli_args args;
    vlmp_error err;
} run;

/* Parses up to 12 words as the command line of a made-up program. */
static int parse(run *r, const char *const *words)
{
    *r = (run){.bits = 4, .sequential = true};
    const vlmp_cli_option options[] = {
        {"output", 'o', "FILE", "the output", .string = &r->out},
        {"method", 0, "M", "the method", .string = &r->method, .choices = "gptq|awq|awq+gptq|rtn"},
        {"bits", 0, "N", "bits", .integer = &r->bits, .low = 4, .high = 8},
        {"temperature", 0, "T", "temperature", .number = &r->temperature},
        {"memory", 0, "SIZE", "memory", .bytes = &r->memory},
        {"force", 'f', NULL, "replace", .flag = &r->force},
        {"no-sequential", 0, NULL, "original inputs", .flag = &r->sequential, .off = true},
        {"gate", 0, "EXPR", "a gate", .list = &r->gates},
        {0}};
    const vlmp_cli_command command = {.name = "vlm-test",
                                      .summary = "Tests.",
                                      .usage = "MODEL [options]",
                                      .positional = "MODEL",
                                      .min_positionals = 1,
                                      .max_positionals = 2,
                                      .options = options};
    char *argv[14] = {(char[]){"vlm-test"}};
    char copies[13][64];
    int argc = 1;
    for (; *words != NULL; words++, argc++) {
        strncpy(copies[argc - 1], *words, 63);
        copies[argc - 1][63] = '\0';
        argv[argc] = copies[argc - 1];
    }
    int status = vlmp_cli_parse(&command, argc, argv, &r->args, &r->err);
    const char *exclusive[] = {"force", "bits", NULL};
    if (status == 0) status = vlmp_cli_exclusive(&command, &r->args, exclusive, &r->err);
    /* The words die with this function: only the numbers and counts are looked at by callers,
     * except these two, which are checked here. */
    if (status == 0 && r->out != NULL) assert_string_equal(r->out, "out.vlmp");
    if (status == 0 && r->gates.count == 2) {
        assert_string_equal(r->gates.items[0], "kl.mean<=0.02");
        assert_string_equal(r->gates.items[1], "bleu.4>=0.3");
    }
    return status;
}

static void reads_all_forms(void **state)
{
    (void)state;
    run r;
    assert_int_equal(parse(&r, (const char *const[]){"model", "-o", "out.vlmp", "--bits=8",
                                                     "--method", "awq+gptq", "--gate",
                                                     "kl.mean<=0.02", "--gate=bleu.4>=0.3", NULL}),
                     0);
    assert_int_equal(r.bits, 8);
    assert_string_equal(r.method, "awq+gptq");
    assert_int_equal(r.gates.count, 2);
    assert_int_equal(r.args.positional_count, 1);
    vlmp_cli_free(&r.args);

    assert_int_equal(
        parse(&r, (const char *const[]){"-vvfoout.vlmp", "--no-sequential", "--memory", "1.5GiB",
                                        "--device=cuda:3", "--", "-x", "--seed", NULL}),
        0);
    assert_int_equal(r.args.verbose, 2);
    assert_true(r.force);
    assert_false(r.sequential);
    assert_int_equal(r.memory, 3u << 29);
    assert_int_equal(r.args.device, VLMP_DEVICE_CUDA);
    assert_int_equal(r.args.device_index, 3);
    assert_true(r.args.device_given);
    assert_int_equal(r.args.positional_count, 2);
    vlmp_cli_free(&r.args);

    assert_int_equal(parse(&r, (const char *const[]){"m", "--temperature", "-0.5", "--seed", "7",
                                                     "--threads=3", "-q", "--json", NULL}),
                     0);
    assert_true(r.temperature == -0.5 && r.args.seed == 7 && r.args.threads == 3);
    assert_true(r.args.quiet && r.args.json && r.sequential && r.bits == 4);
    vlmp_cli_free(&r.args);
}

static void help_wins(void **state)
{
    (void)state;
    run r;
    assert_int_equal(parse(&r, (const char *const[]){"--help", NULL}), 0);
    assert_true(r.args.help);
    vlmp_cli_free(&r.args);
    assert_int_equal(parse(&r, (const char *const[]){"--version", NULL}), 0);
    assert_true(r.args.version);
    vlmp_cli_free(&r.args);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *words[5], *says;
    } table[] = {
        {{NULL}, "MODEL is missing; usage: vlm-test MODEL"},
        {{"a", "b", "c", NULL}, "unexpected argument 'c'"},
        {{"m", "--methd", "awq", NULL}, "unknown option --methd; did you mean --method?"},
        {{"m", "--ouptut=x", NULL}, "unknown option --ouptut; did you mean --output?"},
        {{"m", "--jsno", NULL}, "did you mean --json?"},
        {{"m", "--zzzzzz", NULL}, "unknown option --zzzzzz; vlm-test --help lists all"},
        {{"m", "-x", NULL}, "unknown option -x"},
        {{"m", "--method", "gptw", NULL}, "--method: unknown 'gptw'; did you mean 'gptq'?"},
        {{"m", "--method", "quip-sharp", NULL}, "choose one of gptq|awq|awq+gptq|rtn"},
        {{"m", "--bits", "3", NULL}, "--bits: 3 is outside 4 … 8"},
        {{"m", "--bits", "4x", NULL}, "--bits: '4x' is not a whole number"},
        {{"m", "--bits", "", NULL}, "is not a whole number"},
        {{"m", "--bits=99999999999999999999", NULL}, "is outside 4 … 8"},
        {{"m", "--bits", "4", "--bits=5", NULL}, "--bits is given twice"},
        {{"m", "--bits", NULL}, "--bits needs a value: --bits=N"},
        {{"m", "-o", "--force", NULL}, "--output needs a value"},
        {{"m", "--output=", NULL}, "the value is empty"},
        {{"m", "--force=yes", NULL}, "--force takes no value"},
        {{"m", "--force", "--bits=4", NULL}, "--force and --bits contradict each other"},
        {{"m", "--temperature=nan", NULL}, "'nan' is not a number"},
        {{"m", "--memory", "24X", NULL}, "'24X' is not a size"},
        {{"m", "--memory", "-1", NULL}, "'-1' is not a size"},
        {{"m", "--memory", "0", NULL}, "'0' is not a size"},
        {{"m", "--threads=0", NULL}, "--threads: 0 is outside 1 … 1024"},
        {{"m", "--seed=-1", NULL}, "--seed: -1 must be at least 0"},
        {{"m", "--device=gpu", NULL}, "--device: unknown 'gpu'"},
        {{"m", "--device=cuda:x", NULL}, "'x' is not a device number"},
        {{"m", "-q", "-v", NULL}, "-q and -v contradict each other"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        run r;
        assert_int_equal(parse(&r, table[i].words), VLMP_ERR_USAGE);
        if (strstr(r.err.message, table[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", r.err.message, table[i].says);
        vlmp_cli_free(&r.args);
    }
}

static void help_lists_the_table(void **state)
{
    (void)state;
    int64_t bits;
    const vlmp_cli_option options[] = {{"bits", 'b', "N", "bits per weight", .integer = &bits,
                                        .low = 4, .high = 8, .required = true},
                                       {0}};
    const vlmp_cli_command command = {.name = "vlm-test",
                                      .summary = "Tests.",
                                      .usage = "MODEL",
                                      .positional = "MODEL",
                                      .options = options,
                                      .notes = "The end.",
                                      .examples = "vlm-test a\nvlm-test b"};
    vlmp_buffer out = {0};
    vlmp_cli_help(&command, &out);
    assert_non_null(strstr(out.data, "vlm-test: Tests.\n\nusage: vlm-test MODEL\n"));
    assert_non_null(strstr(out.data, "  -b, --bits N"));
    assert_non_null(strstr(out.data, "bits per weight (required)\n"));
    assert_non_null(strstr(out.data, "      --threads N"));
    assert_non_null(strstr(out.data, "\nThe end.\n\nexamples:\n  vlm-test a\n  vlm-test b\n"));
    vlmp_buffer_free(&out);
}

static void tables_align_by_cells(void **state)
{
    (void)state;
    vlmp_column columns[] = {{"név", false, 0}, {"kl", true, 5}};
    const char *cells[] = {"日本", "1.5", "e\xcc\x81", "10", "\x1b", "\xff"};
    vlmp_buffer out = {0};
    vlmp_table_print(&out, columns, 2, cells, 3);
    assert_string_equal(out.data, "név      kl\n────  ─────\n日本    1.5\ne\xcc\x81        10\n"
                                  "\\x1b   \\xff\n");
    vlmp_buffer_free(&out);
    assert_int_equal(vlmp_text_cut("日本x", 3), 3);
    assert_int_equal(vlmp_text_cut("ab", 9), 2);
}

static void formats_times_and_sizes(void **state)
{
    (void)state;
    char text[128];
    static const struct {
        double value;
        const char *time, *size;
    } table[] = {
        {0, "0.0s", "0 B"},         {9.96, "10s", "10 B"},          {192, "3m12s", "192 B"},
        {7500, "2h05m", "7.50 kB"}, {999600, "277h40m", "1.00 MB"}, {59.6, "1m00s", "60 B"},
        {2e9, "?", "2.00 GB"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        vlmp_format_seconds(text, sizeof text, table[i].value);
        assert_string_equal(text, table[i].time);
        vlmp_format_bytes(text, sizeof text, table[i].value);
        assert_string_equal(text, table[i].size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_forms),
        cmocka_unit_test(help_wins),
        cmocka_unit_test(refuses),
        cmocka_unit_test(help_lists_the_table),
        cmocka_unit_test(tables_align_by_cells),
        cmocka_unit_test(formats_times_and_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
