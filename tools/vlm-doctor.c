/* vlm-doctor: what this machine has for the other commands, and what to do about what it lacks. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/json.h"
#include "src/base/table.h"
#include "tools/cli.h"
#include "tools/doctor.h"
#include "tools/terminal.h"

static const struct {
    const char *word, *colour;
} states[] = {{"good", "\033[32m"}, {"note", "\033[33m"}, {"bad", "\033[1;31m"}};

/* Broken at spaces, under the findings. */
static void print_advice(const char *text)
{
    enum { INDENT = 19 };
    int room = vlmp_terminal_width(STDOUT_FILENO) - INDENT;
    while (*text != '\0') {
        size_t length = strlen(text), fits = vlmp_text_cut(text, room < 20 ? 20 : room);
        while (fits < length && fits > 0 && text[fits] != ' ')
            fits--;
        if (fits == 0) fits = length; /* a path longer than a line */
        vlmp_show_line(stdout, "%*s%.*s", INDENT, "", (int)fits, text);
        text += fits + strspn(text + fits, " ");
    }
}

static void print_text(const vlmp_findings *findings)
{
    bool coloured = vlmp_terminal_colour(STDOUT_FILENO);
    for (int i = 0; i < findings->count; i++) {
        const vlmp_finding *f = &findings->items[i];
        printf("%s%-4s%s  %-11s  ", coloured ? states[f->state].colour : "", states[f->state].word,
               coloured ? "\033[0m" : "", f->name);
        vlmp_show_line(stdout, "%s", f->text);
        print_advice(f->advice);
    }
}

static int print_json(const vlmp_findings *findings, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "schema", 1);
    vlmp_json_pair_string(&w, "version", VLMP_VERSION);
    vlmp_json_pair_open(&w, "findings", '[');
    for (int i = 0; i < findings->count; i++) {
        const vlmp_finding *f = &findings->items[i];
        vlmp_json_open(&w, '{');
        vlmp_json_pair_string(&w, "name", f->name);
        vlmp_json_pair_string(&w, "state", states[f->state].word);
        vlmp_json_pair_string(&w, "text", f->text);
        vlmp_json_pair_string(&w, "advice", f->advice[0] != '\0' ? f->advice : NULL);
        vlmp_json_pair_open(&w, "values", '{');
        for (int v = 0; v < f->value_count; v++)
            vlmp_json_pair_double(&w, f->values[v].key, f->values[v].value);
        vlmp_json_close(&w, '}');
        vlmp_json_close(&w, '}');
    }
    vlmp_json_close(&w, ']');
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "findings") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}

static int run(const vlmp_cli_args *args, vlmp_error *err)
{
    vlmp_findings findings = {0};
    vlmp_pool *pool;
    VLMP_TRY(vlmp_pool_create(&pool, (int)args->threads, err));
    vlmp_doctor_host(&findings, (int)args->threads);
    vlmp_doctor_kernels(&findings, pool, args->device_index, args->device == VLMP_DEVICE_CUDA);
    vlmp_pool_free(pool);
    if (!args->json) print_text(&findings);
    if (args->json) VLMP_TRY(print_json(&findings, err));
    for (int i = 0; i < findings.count; i++)
        if (findings.items[i].state == VLMP_FINDING_BAD)
            return vlmp_fail(err, VLMP_ERR_SYSTEM, "%s: %s", findings.items[i].name,
                             findings.items[i].advice);
    return VLMP_OK;
}

int main(int argc, char **argv)
{
    const vlmp_cli_option options[] = {{0}};
    const vlmp_cli_command command = {
        .name = "vlm-doctor",
        .summary = "Says what this machine has for the other commands, and what to do about what "
                   "it lacks.",
        .usage = "[options]",
        .positional = "nothing",
        .options = options,
        .examples = "vlm-doctor\nvlm-doctor --json"};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    vlmp_error err = {0};
    return vlmp_cli_finish(&command, &args, run(&args, &err), &err);
}
