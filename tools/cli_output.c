#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/table.h"
#include "tools/abnormal_end.h"
#include "tools/cli.h"
#include "tools/cli_common.h"
#include "tools/events.h"
#include "tools/interrupt.h"
#include "tools/terminal.h"

void vlmp_cli_common_options(vlmp_cli_option options[VLMP_CLI_COMMON_COUNT], vlmp_cli_args *args,
                             const char **device, bool *verbose)
{
    static vlmp_cli_args unused;
    if (args == NULL) args = &unused;
    vlmp_cli_option table[VLMP_CLI_COMMON_COUNT] = {
        {"help", 'h', NULL, "print this help", .flag = &args->help},
        {"version", 0, NULL, "print the version", .flag = &args->version},
        {"json", 0, NULL, "print one JSON document on stdout", .flag = &args->json},
        {"quiet", 'q', NULL, "no progress, no warnings", .flag = &args->quiet},
        {"verbose", 'v', NULL, "say more; may be repeated", .flag = verbose},
        {"threads", 0, "N", "processor threads (default: all)", .integer = &args->threads, .low = 1,
         .high = 1024},
        {"device", 0, "DEV", "auto, cpu, cuda or cuda:N (default: auto)", .string = device},
        {"seed", 0, "N", "seed where there is chance (default: 0)", .integer = &args->seed},
        {"json-progress", 0, "FD",
         "progress as JSON, an event a line, on this descriptor (2: in "
         "place of the text on standard error)",
         .integer = &args->events, .low = 2, .high = 1023},
    };
    memcpy(options, table, sizeof table);
}

static void option_left(char *out, size_t capacity, const vlmp_cli_option *option)
{
    char short_form[8] = "    ";
    if (option->letter != 0) snprintf(short_form, sizeof short_form, "-%c, ", option->letter);
    bool value = option->value != NULL;
    snprintf(out, capacity, "  %s--%s%s%s", short_form, option->name, value ? " " : "",
             value ? option->value : "");
}

/* Wraps text at spaces into the columns from indent to 100. */
static void wrapped(vlmp_buffer *out, const char *text, int indent)
{
    int at = indent;
    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        char word[256];
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        int width = vlmp_text_width(word);
        if (at > indent && at + 1 + width > 100) {
            vlmp_buffer_printf(out, "\n%*s", indent, "");
            at = indent;
        }
        if (at > indent) {
            vlmp_buffer_text(out, " ");
            at++;
        }
        vlmp_buffer_text(out, word);
        at += width;
        text += length;
        text += strspn(text, " ");
    }
    vlmp_buffer_text(out, "\n");
}

static void option_lines(vlmp_buffer *out, const vlmp_cli_option *option, int column)
{
    char left[160];
    option_left(left, sizeof left, option);
    int width = vlmp_text_width(left);
    vlmp_buffer_text(out, left);
    if (width + 2 > column)
        vlmp_buffer_printf(out, "\n%*s", column, "");
    else
        vlmp_buffer_printf(out, "%*s", column - width, "");
    vlmp_buffer help = {0};
    vlmp_buffer_text(&help, option->help);
    if (option->required) vlmp_buffer_text(&help, " (required)");
    if (option->list != NULL) vlmp_buffer_text(&help, "; may be repeated");
    wrapped(out, help.data != NULL ? help.data : "", column);
    vlmp_buffer_free(&help);
}

void vlmp_cli_help(const vlmp_cli_command *command, vlmp_buffer *out)
{
    vlmp_cli_option common[VLMP_CLI_COMMON_COUNT];
    vlmp_cli_common_options(common, NULL, NULL, NULL);
    int column = 0;
    char left[160];
    for (size_t i = 0; command->options[i].name != NULL; i++) {
        option_left(left, sizeof left, &command->options[i]);
        int width = vlmp_text_width(left) + 2;
        if (width > column && width <= 36) column = width;
    }
    if (column < 22) column = 22;
    vlmp_buffer_printf(out, "%s: %s\n\nusage: %s %s\n", command->name, command->summary,
                       command->name, command->usage);
    if (command->options[0].name != NULL) vlmp_buffer_text(out, "\noptions:\n");
    for (size_t i = 0; command->options[i].name != NULL; i++)
        option_lines(out, &command->options[i], column);
    vlmp_buffer_text(out, "\ncommon options:\n");
    for (size_t i = 0; i < VLMP_CLI_COMMON_COUNT; i++)
        option_lines(out, &common[i], column);
    vlmp_buffer_text(out,
                     "\nexit status: 0 done, 1 the environment failed, 2 usage, 3 a gate failed,"
                     "\n  4 input rejected, 130 or 143 interrupted\n");
    if (command->notes != NULL) {
        vlmp_buffer_text(out, "\n");
        wrapped(out, command->notes, 0);
    }
    if (command->examples != NULL) vlmp_buffer_text(out, "\nexamples:\n");
    for (const char *at = command->examples; at != NULL && *at != '\0';) {
        int length = (int)strcspn(at, "\n");
        vlmp_buffer_printf(out, "  %.*s\n", length, at);
        at += length + (at[length] == '\n');
    }
}

static void print_message(const vlmp_cli_command *command, const char *kind, const char *colour,
                          const char *message)
{
    bool coloured = vlmp_terminal_colour(STDERR_FILENO);
    /* A live progress line may stand there. */
    if (vlmp_terminal_live(STDERR_FILENO)) fputs("\r\033[K", stderr);
    fprintf(stderr, "%s: %s%s:%s ", command->name, coloured ? colour : "", kind,
            coloured ? "\033[0m" : "");
    vlmp_show_line(stderr, "%s", message);
}

/* A closed stream would lend its number to the next file that is opened, and results or messages
 * would then be printed into that. */
static int check_streams(vlmp_error *err)
{
    int nothing = fcntl(STDERR_FILENO, F_GETFD) < 0 ? open("/dev/null", O_WRONLY) : -1;
    if (nothing >= 0 && nothing != STDERR_FILENO) dup2(nothing, STDERR_FILENO);
    if (fcntl(STDOUT_FILENO, F_GETFD) >= 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_SYSTEM,
                     "standard output is closed; give it a file, or /dev/null");
}

/* --help, or all of the table. */
static int print_about(const vlmp_cli_command *command, bool help, vlmp_error *err)
{
    vlmp_buffer text = {0};
    (help ? vlmp_cli_help : vlmp_cli_describe)(command, &text);
    int status = text.failed ? vlmp_fail_memory(err, "help") : VLMP_OK;
    if (status == VLMP_OK) fputs(text.data, stdout);
    vlmp_buffer_free(&text);
    return status;
}

bool vlmp_cli_begin(const vlmp_cli_command *command, int argc, char **argv, vlmp_cli_args *args)
{
    vlmp_error err = {0};
    vlmp_abnormal_end_watch(command->name);
    bool describe = argc == 2 && strcmp(argv[1], "--dump-options") == 0, done = true;
    int status = vlmp_cli_parse(command, describe ? 1 : argc, argv, args, &err);
    if (describe) status = VLMP_OK; /* whatever argument is missing */
    if (status == VLMP_OK) status = check_streams(&err);
    if (status == VLMP_OK && args->events != 0) status = vlmp_events_open((int)args->events, &err);
    if (status != VLMP_OK) args->events = 0;
    if (args->events == STDERR_FILENO) args->quiet = true;
    if (status == VLMP_OK && (args->help || describe)) {
        status = print_about(command, args->help, &err);
    } else if (status == VLMP_OK && args->version) {
        printf("%s %s\n", command->name, VLMP_VERSION);
    } else {
        done = status != VLMP_OK;
    }
    if (done) args->exit_code = vlmp_cli_finish(command, args, status, &err);
    return !done;
}

int vlmp_cli_finish(const vlmp_cli_command *command, vlmp_cli_args *args, int status,
                    const vlmp_error *err)
{
    const char *message = err->message;
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == VLMP_OK) {
        status = VLMP_ERR_SYSTEM;
        message = "cannot write to standard output";
    }
    if (status == VLMP_ERR_INTERRUPTED && vlmp_interrupted() != 0)
        status = 128 + vlmp_interrupted();
    if (status != VLMP_OK && message[0] != '\0' && args->events != STDERR_FILENO)
        print_message(command, "error", "\033[1;31m", message);
    if (args->events != 0) {
        vlmp_json_writer w;
        vlmp_event_begin(&w, "exit");
        vlmp_json_pair_int(&w, "status", status);
        vlmp_json_pair_string(&w, "error", status != VLMP_OK ? message : NULL);
        vlmp_event_send(&w, (int)args->events, VLMP_EVENT_WAIT);
    }
    vlmp_cli_free(args);
    vlmp_abnormal_end_stop();
    return status;
}

void vlmp_cli_warn(const vlmp_cli_command *command, const vlmp_cli_args *args, const char *fmt, ...)
{
    char message[1024];
    va_list list;
    va_start(list, fmt);
    vsnprintf(message, sizeof message, fmt, list);
    va_end(list);
    if (args->events != 0) {
        vlmp_json_writer w;
        vlmp_event_begin(&w, "warning");
        vlmp_json_pair_string(&w, "message", message);
        vlmp_event_send(&w, (int)args->events, VLMP_EVENT_WAIT);
    }
    if (args->quiet) return;
    print_message(command, "warning", "\033[1;33m", message);
}
