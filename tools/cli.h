/* The command line of every program: one table of options drives parsing, --help, --version, the
 * messages of usage errors (exit 2), and through vlmp_cli_describe the manual and completions.
 *
 *     struct { const char *out; int64_t bits; bool force; } opt = {.bits = 4};
 *     const vlmp_cli_option options[] = {
 *         {"output", 'o', "OUT.vlmp", "packed file to write", .string = &opt.out, .required =
 * true},
 *         {"bits", 0, "N", "bits per weight", .integer = &opt.bits, .low = 4, .high = 8},
 *         {"force", 0, NULL, "replace an existing output", .flag = &opt.force},
 *         {0}};
 *     const vlmp_cli_command command = {
 *         .name = "vlm-quantize", .summary = "…", .usage = "MODEL -o OUT.vlmp [options]",
 *         .min_positionals = 1, .max_positionals = 1, .positional = "MODEL", .options = options};
 *     vlmp_cli_args args;
 *     if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
 *     vlmp_error err = {0};
 *     int status = run(&args, &opt, &err);
 *     return vlmp_cli_finish(&command, &args, status, &err); */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/memory.h"
#include "src/base/nearest.h"

/* Values of a repeated option, in order; they point into argv. */
typedef struct {
    const char **items; /* owned by vlmp_cli_args; released by vlmp_cli_finish */
    size_t count;
} vlmp_cli_list;

/* Exactly one target pointer is set; it decides how the value is read. The target holds the default
 * before parsing. */
typedef struct {
    const char *name;  /* without dashes; NULL ends the table */
    char letter;       /* 0: no short form */
    const char *value; /* placeholder in --help: "FILE", "N"; NULL for flags */
    const char *help;  /* one line; the default is said here */
    bool *flag;
    bool off;            /* a flag that sets false ("--no-sequential") */
    const char **string; /* with choices: one of them */
    int64_t *integer;    /* in low … high; both 0: 0 … INT64_MAX */
    const char *word;    /* that an integer option takes for 0, which low may exclude: "all" */
    double *number;      /* finite, in low … high; both 0: any */
    uint64_t *bytes;     /* "1500", "512M", "24G", "1.5GiB": powers of 1024; never 0 */
    vlmp_cli_list *list; /* may be given more than once */
    const char *choices; /* "gptq|awq|int8" */
    int64_t low, high;
    bool required;
} vlmp_cli_option;

typedef struct {
    const char *name;                     /* "vlm-quantize" */
    const char *summary;                  /* one sentence */
    const char *usage;                    /* after the name: "MODEL -o OUT.vlmp [options]" */
    const char *positional;               /* what positional arguments are called in messages */
    int min_positionals, max_positionals; /* max < 0: any number */
    const vlmp_cli_option *options;       /* ends with {0} */
    bool computes_nothing;                /* and so refuses --device cuda */
    const char *notes;                    /* in --help, after the options; may be NULL */
    const char *examples; /* command lines of the source tree, one a line, for --help and manual;
                           * tests/e2e/manual.sh runs them, those of vlm-calibrate first */
} vlmp_cli_command;

typedef enum { VLMP_DEVICE_AUTO, VLMP_DEVICE_CPU, VLMP_DEVICE_CUDA } vlmp_device_kind;

typedef struct {
    /* The options that all commands share. */
    bool help, version, json, quiet;
    int verbose;     /* how often -v was given */
    int64_t threads; /* ≥ 1; by default the processors this process may use */
    int64_t seed;    /* by default 0 */
    int64_t events;  /* --json-progress: the descriptor; 0: none */
    vlmp_device_kind device;
    int device_index; /* of cuda:N */
    bool device_given;

    const char **positionals; /* point into argv */
    size_t positional_count;
    int exit_code; /* set when vlmp_cli_begin returns false */

    bool *given; /* per option of the table, see vlmp_cli_given */
    vlmp_arena arena;
} vlmp_cli_args;

/* Parses, prints --help and --version on stdout and errors on stderr. false: return
 * args->exit_code from main; nothing is left to free. */
bool vlmp_cli_begin(const vlmp_cli_command *command, int argc, char **argv, vlmp_cli_args *args);

/* Prints "NAME: error: message" if status is not 0, flushes stdout (a failure is an error of its
 * own), frees args and returns the exit code: status, 128 + signal after an interrupt. */
int vlmp_cli_finish(const vlmp_cli_command *command, vlmp_cli_args *args, int status,
                    const vlmp_error *err);

/* Whether the user gave the option (by its name without dashes). */
bool vlmp_cli_given(const vlmp_cli_command *command, const vlmp_cli_args *args, const char *name);

/* VLMP_ERR_USAGE when more than one of the NULL-terminated names was given. */
int vlmp_cli_exclusive(const vlmp_cli_command *command, const vlmp_cli_args *args,
                       const char *const *names, vlmp_error *err);

/* "NAME: warning: …" on stderr, unless -q. */
__attribute__((format(printf, 3, 4))) void
vlmp_cli_warn(const vlmp_cli_command *command, const vlmp_cli_args *args, const char *fmt, ...);

/* The parts without printing, for tests. After a failed parse, too, vlmp_cli_free is called. */
int vlmp_cli_parse(const vlmp_cli_command *command, int argc, char **argv, vlmp_cli_args *args,
                   vlmp_error *err);
void vlmp_cli_help(const vlmp_cli_command *command, vlmp_buffer *out);
void vlmp_cli_free(vlmp_cli_args *args);

/* All of the command as JSON, for scripts/manual.py, which the build makes the manual page and the
 * completions with; asked for by --dump-options, alone on the command line. */
void vlmp_cli_describe(const vlmp_cli_command *command, vlmp_buffer *out);
