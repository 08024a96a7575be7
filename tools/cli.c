#include "tools/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/parallel.h"
#include "tools/cli_common.h"

typedef struct {
    const vlmp_cli_command *command;
    vlmp_cli_args *args;
    vlmp_cli_option common[VLMP_CLI_COMMON_COUNT];
    size_t option_count; /* of the command's table */
    const char *device;
    bool verbose;
    int argc;
    char **argv;
    int at; /* next argument */
    vlmp_error *err;
} parser;

static size_t count_options(const vlmp_cli_option *options)
{
    size_t n = 0;
    while (options[n].name != NULL)
        n++;
    return n;
}

static int parse_integer(const parser *p, const vlmp_cli_option *option, const char *text)
{
    int64_t low = option->low, high = option->high;
    if (low == 0 && high == 0) high = INT64_MAX;
    char *end;
    if (option->word != NULL && strcmp(text, option->word) == 0) {
        *option->integer = 0;
        return VLMP_OK;
    }
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || text[0] == ' ' || text[0] == '+')
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s: '%s' is not a whole number%s%s",
                         option->name, text, option->word != NULL ? " or " : "",
                         option->word != NULL ? option->word : "");
    if (errno == ERANGE || value < low || value > high) {
        if (high == INT64_MAX)
            return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s: %s must be at least %lld", option->name,
                             text, (long long)low);
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s: %s is outside %lld … %lld", option->name,
                         text, (long long)low, (long long)high);
    }
    *option->integer = value;
    return VLMP_OK;
}

static int parse_number(const parser *p, const vlmp_cli_option *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || text[0] == ' ' || !isfinite(value))
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s: '%s' is not a number", option->name, text);
    bool bounded = option->low != 0 || option->high != 0;
    if (bounded && (value < (double)option->low || value > (double)option->high))
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s: %s is outside %lld … %lld", option->name,
                         text, (long long)option->low, (long long)option->high);
    *option->number = value;
    return VLMP_OK;
}

static int parse_bytes(const parser *p, const vlmp_cli_option *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    bool digits = text[0] >= '0' && text[0] <= '9';
    static const char units[] = "KMGT";
    const char *unit = *end != '\0' ? strchr(units, *end & ~0x20) : NULL;
    double scale = 1;
    if (unit != NULL) {
        scale = ldexp(1, 10 * (int)(unit - units + 1));
        end++;
        if (*end == 'i') end++;
    }
    if (*end == 'B') end++;
    if (!digits || *end != '\0' || !(value * scale >= 1 && value * scale < 0x1p62))
        return vlmp_fail(p->err, VLMP_ERR_USAGE,
                         "--%s: '%s' is not a size; write 512M or 24G, for example", option->name,
                         text);
    *option->bytes = (uint64_t)(value * scale);
    return VLMP_OK;
}

/* "a|b|c" to names; the text is copied to the arena. */
static size_t split_choices(vlmp_arena *arena, const char *choices, const char **names, size_t most)
{
    char *copy = vlmp_arena_copy(arena, choices, strlen(choices));
    size_t n = 0;
    while (copy != NULL && n < most) {
        names[n++] = copy;
        copy = strchr(copy, '|');
        if (copy != NULL) *copy++ = '\0';
    }
    return n;
}

static int parse_choice(const parser *p, const vlmp_cli_option *option, const char *text)
{
    const char *names[32];
    size_t n = split_choices(&p->args->arena, option->choices, names, 32);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], text) == 0) {
            *option->string = names[i];
            return VLMP_OK;
        }
    }
    const char *near = vlmp_nearest_name(text, names, n);
    if (near != NULL)
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s: unknown '%s'; did you mean '%s'? (%s)",
                         option->name, text, near, option->choices);
    return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s: unknown '%s'; choose one of %s", option->name,
                     text, option->choices);
}

static int append(const parser *p, vlmp_cli_list *list, const char *text)
{
    /* The arena can't grow a block, so each list gets room for every argument once. */
    if (list->items == NULL || list->count == 0) {
        list->items = vlmp_arena_alloc(&p->args->arena, (size_t)p->argc, sizeof *list->items);
        list->count = 0;
    }
    if (list->items == NULL) return vlmp_fail_memory(p->err, "command line");
    list->items[list->count++] = text;
    return VLMP_OK;
}

static int take_value(const parser *p, const vlmp_cli_option *option, const char *text)
{
    if (option->list != NULL) return append(p, option->list, text);
    if (option->integer != NULL) return parse_integer(p, option, text);
    if (option->number != NULL) return parse_number(p, option, text);
    if (option->bytes != NULL) return parse_bytes(p, option, text);
    if (option->choices != NULL) return parse_choice(p, option, text);
    if (*text == '\0')
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s: the value is empty", option->name);
    *option->string = text;
    return VLMP_OK;
}

/* index: position in the command's table, option_count + position in the common one. */
static const vlmp_cli_option *option_at(const parser *p, size_t index)
{
    return index < p->option_count ? &p->command->options[index]
                                   : &p->common[index - p->option_count];
}

static int apply(parser *p, size_t index, const char *value)
{
    const vlmp_cli_option *option = option_at(p, index);
    bool again = p->args->given[index];
    p->args->given[index] = true;
    if (option->flag != NULL) {
        if (value != NULL)
            return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s takes no value", option->name);
        *option->flag = !option->off;
        if (option->flag == &p->verbose) p->args->verbose++;
        return VLMP_OK;
    }
    if (again && option->list == NULL)
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s is given twice", option->name);
    if (value == NULL) {
        const char *next = p->at < p->argc ? p->argv[p->at] : NULL;
        if (next == NULL || (next[0] == '-' && next[1] == '-'))
            return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s needs a value: --%s=%s", option->name,
                             option->name, option->value);
        value = next;
        p->at++;
    }
    return take_value(p, option, value);
}

static int unknown_long(const parser *p, const char *name, size_t length)
{
    char typed[64];
    if (length >= sizeof typed) length = sizeof typed - 1;
    memcpy(typed, name, length);
    typed[length] = '\0';
    const char *names[128];
    size_t n = 0, total = p->option_count + VLMP_CLI_COMMON_COUNT;
    for (size_t i = 0; i < total && n < 128; i++)
        names[n++] = option_at(p, i)->name;
    const char *near = vlmp_nearest_name(typed, names, n);
    if (near != NULL)
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "unknown option --%s; did you mean --%s?", typed,
                         near);
    return vlmp_fail(p->err, VLMP_ERR_USAGE, "unknown option --%s; %s --help lists all", typed,
                     p->command->name);
}

static int parse_long(parser *p, const char *name)
{
    const char *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    size_t total = p->option_count + VLMP_CLI_COMMON_COUNT;
    for (size_t i = 0; i < total; i++) {
        const char *have = option_at(p, i)->name;
        if (strlen(have) == length && memcmp(have, name, length) == 0)
            return apply(p, i, equals != NULL ? equals + 1 : NULL);
    }
    return unknown_long(p, name, length);
}

/* "-o FILE", "-oFILE", "-qv". */
static int parse_short(parser *p, const char *letters)
{
    size_t total = p->option_count + VLMP_CLI_COMMON_COUNT;
    for (; *letters != '\0'; letters++) {
        size_t i = 0;
        while (i < total && option_at(p, i)->letter != *letters)
            i++;
        if (i == total)
            return vlmp_fail(p->err, VLMP_ERR_USAGE, "unknown option -%c; %s --help lists all",
                             *letters, p->command->name);
        if (option_at(p, i)->flag != NULL) {
            VLMP_TRY(apply(p, i, NULL));
            continue;
        }
        return apply(p, i, letters[1] != '\0' ? letters + 1 : NULL);
    }
    return VLMP_OK;
}

static int parse_all(parser *p)
{
    bool options = true;
    while (p->at < p->argc) {
        const char *text = p->argv[p->at++];
        if (options && strcmp(text, "--") == 0) {
            options = false;
        } else if (options && text[0] == '-' && text[1] == '-') {
            VLMP_TRY(parse_long(p, text + 2));
        } else if (options && text[0] == '-' && text[1] != '\0') {
            VLMP_TRY(parse_short(p, text + 1));
        } else {
            p->args->positionals[p->args->positional_count++] = text;
        }
    }
    return VLMP_OK;
}

static int check_counts(const parser *p)
{
    const vlmp_cli_command *command = p->command;
    size_t have = p->args->positional_count;
    if (have < (size_t)command->min_positionals)
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "%s is missing; usage: %s %s", command->positional,
                         command->name, command->usage);
    if (command->max_positionals >= 0 && have > (size_t)command->max_positionals)
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "unexpected argument '%s'; usage: %s %s",
                         p->args->positionals[command->max_positionals], command->name,
                         command->usage);
    for (size_t i = 0; i < p->option_count; i++)
        if (command->options[i].required && !p->args->given[i])
            return vlmp_fail(p->err, VLMP_ERR_USAGE, "--%s %s is missing; usage: %s %s",
                             command->options[i].name, command->options[i].value, command->name,
                             command->usage);
    if (p->args->quiet && p->args->verbose > 0)
        return vlmp_fail(p->err, VLMP_ERR_USAGE, "-q and -v contradict each other");
    return VLMP_OK;
}

static const char default_device[] = "auto";

static int parse_device(const parser *p)
{
    vlmp_cli_args *args = p->args;
    const char *text = p->device;
    args->device_index = 0;
    args->device_given = text != default_device;
    if (strcmp(text, "auto") == 0) {
        args->device = VLMP_DEVICE_AUTO;
    } else if (strcmp(text, "cpu") == 0) {
        args->device = VLMP_DEVICE_CPU;
    } else if (strncmp(text, "cuda", 4) == 0 && (text[4] == '\0' || text[4] == ':')) {
        args->device = VLMP_DEVICE_CUDA;
        if (p->command->computes_nothing)
            return vlmp_fail(p->err, VLMP_ERR_USAGE,
                             "%s computes nothing that --device cuda could take over; leave it out",
                             p->command->name);
        if (text[4] == '\0') return VLMP_OK;
        char *end;
        long index = strtol(text + 5, &end, 10);
        if (text[5] < '0' || text[5] > '9' || *end != '\0' || index > 1023)
            return vlmp_fail(p->err, VLMP_ERR_USAGE, "--device: '%s' is not a device number",
                             text + 5);
        args->device_index = (int)index;
    } else {
        return vlmp_fail(p->err, VLMP_ERR_USAGE,
                         "--device: unknown '%s'; choose one of auto, cpu, cuda, cuda:N", text);
    }
    return VLMP_OK;
}

int vlmp_cli_parse(const vlmp_cli_command *command, int argc, char **argv, vlmp_cli_args *args,
                   vlmp_error *err)
{
    *args = (vlmp_cli_args){.threads = vlmp_available_processors()};
    parser p = {.command = command,
                .args = args,
                .option_count = count_options(command->options),
                .device = default_device,
                .argc = argc,
                .argv = argv,
                .at = 1,
                .err = err};
    vlmp_cli_common_options(p.common, args, &p.device, &p.verbose);
    args->given =
        vlmp_arena_alloc(&args->arena, p.option_count + VLMP_CLI_COMMON_COUNT, sizeof(bool));
    args->positionals = vlmp_arena_alloc(&args->arena, (size_t)argc + 1, sizeof(char *));
    if (args->given == NULL || args->positionals == NULL)
        return vlmp_fail_memory(err, "command line");
    int status = parse_all(&p);
    /* --help and --version answer whatever else is missing. */
    if (status != VLMP_OK || args->help || args->version) return status;
    VLMP_TRY(parse_device(&p));
    return check_counts(&p);
}

void vlmp_cli_free(vlmp_cli_args *args)
{
    vlmp_arena_free(&args->arena);
    args->given = NULL;
    args->positionals = NULL;
}

bool vlmp_cli_given(const vlmp_cli_command *command, const vlmp_cli_args *args, const char *name)
{
    for (size_t i = 0; command->options[i].name != NULL; i++)
        if (strcmp(command->options[i].name, name) == 0) return args->given[i];
    size_t own = count_options(command->options);
    vlmp_cli_option common[VLMP_CLI_COMMON_COUNT];
    vlmp_cli_common_options(common, NULL, NULL, NULL);
    for (size_t i = 0; i < VLMP_CLI_COMMON_COUNT; i++)
        if (strcmp(common[i].name, name) == 0) return args->given[own + i];
    return false;
}

int vlmp_cli_exclusive(const vlmp_cli_command *command, const vlmp_cli_args *args,
                       const char *const *names, vlmp_error *err)
{
    const char *first = NULL;
    for (; *names != NULL; names++) {
        if (!vlmp_cli_given(command, args, *names)) continue;
        if (first != NULL)
            return vlmp_fail(err, VLMP_ERR_USAGE, "--%s and --%s contradict each other", first,
                             *names);
        first = *names;
    }
    return VLMP_OK;
}
