/* The options that every command has (private to the cli files). */
#pragma once

#include "tools/cli.h"

enum { VLMP_CLI_COMMON_COUNT = 9 };

/* args may be NULL when only the names and help texts are wanted. */
void vlmp_cli_common_options(vlmp_cli_option options[VLMP_CLI_COMMON_COUNT], vlmp_cli_args *args,
                             const char **device, bool *verbose);
