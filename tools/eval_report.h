/* What the report of an evaluation needs beside the results. */
#pragma once

#include "src/base/memory.h"

/* The command as a shell reads it: words quoted where they must be. */
void vlmp_command_line(vlmp_buffer *out, int argc, char *const *argv);
