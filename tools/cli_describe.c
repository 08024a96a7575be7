#include "src/base/json.h"
#include "tools/cli.h"
#include "tools/cli_common.h"

/* What an option takes, as far as completions are concerned. */
static const char *kind_of(const vlmp_cli_option *option)
{
    if (option->value == NULL) return "flag";
    if (option->choices != NULL) return "choice";
    return option->string != NULL || option->list != NULL ? "text" : "number";
}

static void describe_option(vlmp_json_writer *w, const vlmp_cli_option *option)
{
    const char letter[2] = {option->letter, '\0'};
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "name", option->name);
    vlmp_json_pair_string(w, "letter", option->letter != '\0' ? letter : NULL);
    vlmp_json_pair_string(w, "kind", kind_of(option));
    vlmp_json_pair_string(w, "value", option->value);
    vlmp_json_pair_string(w, "choices", option->choices);
    vlmp_json_pair_bool(w, "required", option->required);
    vlmp_json_pair_bool(w, "repeated", option->list != NULL);
    vlmp_json_pair_string(w, "help", option->help);
    vlmp_json_close(w, '}');
}

void vlmp_cli_describe(const vlmp_cli_command *command, vlmp_buffer *out)
{
    vlmp_cli_option common[VLMP_CLI_COMMON_COUNT];
    vlmp_cli_common_options(common, NULL, NULL, NULL);
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_pair_string(&w, "name", command->name);
    vlmp_json_pair_string(&w, "version", VLMP_VERSION);
    vlmp_json_pair_string(&w, "summary", command->summary);
    vlmp_json_pair_string(&w, "usage", command->usage);
    vlmp_json_pair_string(&w, "notes", command->notes);
    vlmp_json_pair_string(&w, "examples", command->examples);
    vlmp_json_pair_open(&w, "options", '[');
    for (size_t i = 0; command->options[i].name != NULL; i++)
        describe_option(&w, &command->options[i]);
    vlmp_json_close(&w, ']');
    vlmp_json_pair_open(&w, "common", '[');
    for (size_t i = 0; i < VLMP_CLI_COMMON_COUNT; i++)
        describe_option(&w, &common[i]);
    vlmp_json_close(&w, ']');
    vlmp_json_close(&w, '}');
    *out = w.out;
}
